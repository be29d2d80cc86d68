"""What to write instead of a value of the wrong type: the one explainer for arguments of every kind."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

#: vLLM's command line takes `8k` (8000), `1K` (1024) and `25.6k`; model.json has no such units.
_NUMBER: Final = re.compile(r"([+-]?[0-9][0-9_,]*(?:\.[0-9]+)?)\s*([kKmMgGtT]?)(i?)[bB]?")
_POWERS: Final = "kmgt"
#: Text that YAML reads as text without quotes.
_WORD: Final = re.compile(r"(?!(?:true|false|yes|no|on|off|null)$)[A-Za-z][A-Za-z0-9_./-]*", re.IGNORECASE)
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
#: The key that a lone value means, where an argument takes a mapping.
_MEANT: Final[Mapping[str, str]] = {
    "attention_config": "backend",
    "compilation_config": "mode",
    "ec_transfer_config": "ec_connector",
    "eplb_config": "num_redundant_experts",
    "kernel_config": "moe_backend",
    "kv_transfer_config": "kv_connector",
    "mamba_config": "backend",
    "pooler_config": "pooling_type",
    "profiler_config": "profiler",
    "reasoning_config": "reasoning_parser",
    "speculative_config": "method",
    "structured_outputs_config": "backend",
    "watermark_config": "algorithm",
}


def hint(value: Any, type_text: str, name: str = "") -> str:
    """`; write ...` with what this value means as the wanted type, empty where nobody can tell.

    `type_text` is in the notation of the generated files, `name` the argument's own name.
    """
    if value != value:
        return "; it is not a number: write one"
    if "dict" in type_text or (
        type_text[:1].isupper() and not type_text.startswith(("Literal[", "Enum[", "Any"))
    ):
        return _mapping(value, name)
    if isinstance(value, list) and len(value) == 1 and "list" not in type_text:
        return f"; write {json.dumps(value[0])} without brackets"
    if isinstance(value, float) and value.is_integer() and "int" in type_text:
        return f"; write {int(value)}"
    return _text(value.strip(), type_text, name) if isinstance(value, str) else _bare(value, type_text)


def _text(text: str, type_text: str, name: str) -> str:
    if "bool" in type_text and text.lower() in (*_TRUE, *_FALSE):
        return f"; write {str(text.lower() in _TRUE).lower()} without quotes"
    if text.lower() in ("none", "null") and ("None" in type_text or name):
        return "; remove it: absent means the same"
    if text.lower() == "auto" and name == "max_model_len":
        return "; write -1, which means what fits"
    if text.lower() == "auto":
        return "; remove it: absent means that vLLM decides"
    members = type_text.split(" | ")
    if "int" in members or "float" in members:
        number = _in_unit_of(name, text) or _number(text, whole="int" in members)
        if number is not None:
            return f"; write {number}{' without quotes' if str(number) == text else ''}"
    if "list" in type_text and text:
        return f"; write {text if text.startswith('[') else f'[{text}]'} as a YAML list"
    return ""


def _bare(value: Any, type_text: str) -> str:
    if "str" in type_text and isinstance(value, int | float):
        return (
            f"; write {json.dumps(str(value).lower() if isinstance(value, bool) else str(value))} in quotes"
        )
    if "bool" in type_text and value in (0, 1):
        return f"; write {str(bool(value)).lower()}"
    if "list" in type_text and isinstance(value, int | float):
        return f"; write [{json.dumps(value)}]"
    return ""


def _mapping(value: Any, name: str) -> str:
    if isinstance(value, str) and (meant := _json(value)) is not None:
        return f"; write it as YAML, not as a JSON string: `{_flow(meant)}`"
    if isinstance(value, str) and value.strip().startswith("{"):
        return "; write it as YAML, not as a JSON string"
    if isinstance(value, str) and "=" in value:
        pairs = dict(part.partition("=")[::2] for part in value.split(",") if "=" in part)
        return f"; write `{_flow({key.strip(): _plain(text.strip()) for key, text in pairs.items()})}`"
    key = _MEANT.get(name.rpartition(".")[2])
    if key and isinstance(value, str | int) and not isinstance(value, bool) and str(value):
        return f"; write `{_flow({key: _plain(value)})}`"
    return ""


def _json(text: str) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found else None


def _flow(value: Any) -> str:
    """A value on one line as YAML, shortened where it is long."""
    if isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    elif isinstance(value, str) and _WORD.fullmatch(value):
        text = value
    else:
        text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."


def _plain(text: Any) -> Any:
    return int(text) if isinstance(text, str) and text.isdigit() and len(text) < 20 else text


def _in_unit_of(name: str, text: str) -> int | float | None:
    """`10GB` for an argument that counts gigabytes, and `90%` for a share of one."""
    if text.endswith("%"):
        share = _number(text[:-1], whole=False)
        return None if share is None else share / 100
    unit = {"_gb": "g", "_mb": "m"}.get(name[-3:])
    bare = re.sub(r"(?i)i?b?$", "", text)
    return _number(bare[:-1], whole=False) if unit and bare[-1:].lower() == unit else None


def _number(text: str, *, whole: bool) -> int | float | None:
    """The number in `'2'`, `32K`, `16GiB`, `1_000` and `1,000`; None where there is none."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    digits, unit, binary = found.groups()
    base = 1024 if binary or unit.isupper() else 1000
    number = float(digits.replace("_", "").replace(",", ""))
    if unit:
        number *= base ** (_POWERS.index(unit.lower()) + 1)
    if number > 1e15:
        return None
    return int(number) if whole or number.is_integer() else number
