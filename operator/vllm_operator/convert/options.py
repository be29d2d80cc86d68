"""Options of `vllm serve` as engine arguments: names, short forms, and values of their types."""

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, Final

from vllm_operator.convert.serving import Place, Serving
from vllm_operator.engineargs import schema, types
from vllm_operator.engineargs.likeness import folded

#: Short forms of vLLM's argument parser.
SHORT: Final[Mapping[str, str]] = {
    "tp": "tensor_parallel_size", "pp": "pipeline_parallel_size", "dp": "data_parallel_size",
    "dcp": "decode_context_parallel_size", "pcp": "prefill_context_parallel_size",
    "q": "quantization", "sc": "speculative_config", "ac": "attention_config", "cc": "compilation_config",
    "n": "nnodes", "r": "node_rank", "dpn": "data_parallel_rank", "dpr": "data_parallel_start_rank",
    "dpl": "data_parallel_size_local", "dpa": "data_parallel_address", "dpp": "data_parallel_rpc_port",
    "dpb": "data_parallel_backend", "dph": "data_parallel_hybrid_lb", "dpe": "data_parallel_external_lb",
    "asc": "api_server_count", "O": "optimization_level", "ep": "enable_expert_parallel",
}  # fmt: skip
#: A number with the unit that vLLM's command line takes.
_NUMBER: Final = re.compile(r"([0-9]*\.?[0-9]+)([kKmMgGtT]?)")
_TEN: Final = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_TWO: Final = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

Token = tuple[str, Place]


def read(serving: Serving, tokens: list[Token]) -> None:
    """Take everything behind `vllm serve`: the model, and each option with its values."""
    position = 0
    while position < len(tokens):
        text, place = tokens[position]
        position += 1
        if not text.startswith("-") or _is_number(text):
            if serving.model:
                serving.leave(place, f"`{text}`: stands alone and belongs to no option")
            else:
                serving.model, serving.place = text, place
            continue
        name, equals, inline = text.lstrip("-").partition("=")
        name, inline = _attached(text, name, inline)
        values = [inline] if equals or inline else []
        values += _values(name, tokens, position) if not values else []
        position += 0 if equals or inline else len(values)
        _take(serving, name, values, place)


def _attached(text: str, name: str, inline: str) -> tuple[str, str]:
    """`-O3` and `-tp=8`: a short form may carry its value."""
    found = re.fullmatch(r"-O\.?([0-3])", text)
    return ("O", found[1]) if found else (name, inline)


def _values(name: str, tokens: list[Token], position: int) -> Iterator[str]:
    """The words that follow an option and are its values: none, one, or for a list all of them."""
    plain, entry = _meaning(name)
    kind = entry["type"] if entry else ""
    turned_off = plain.startswith("no_") and _meaning(plain[3:])[1] is not None
    flag = turned_off or plain in _SERVE_SWITCHES or (bool(kind) and _is_switch(kind))
    many = kind.startswith(("list", "set")) or plain in ("served_model_name", "lora_modules", "middleware")
    for text, _ in tokens[position:]:
        if text.startswith("-") and not _is_number(text):
            return
        if flag and text.lower() not in ("true", "false"):
            return
        yield text
        if not many:
            return


def _take(serving: Serving, name: str, values: list[str], place: Place) -> None:
    outer, _, inner = name.partition(".")
    plain, entry = _meaning(outer)
    if inner:
        _nested(serving, plain, inner, values, place)
    elif entry is None and plain.startswith("no_") and (known := _meaning(plain[3:]))[1]:
        serving.set(known[0], False, place)
    elif entry is None:
        serving.set(plain, _guess(values), place)
    elif not values:
        serving.set(plain, True, place)
    else:
        serving.set(plain, _typed(plain, entry["type"], values), place)


def _nested(serving: Serving, plain: str, inner: str, values: list[str], place: Place) -> None:
    """`--compilation-config.mode 3`, and `--speculative-config.x+ value` for lists."""
    held = serving.arguments.get(plain)
    target: Any = {} if held is None else deepcopy(held)
    *path, last = [folded(key) for key in inner.removesuffix("+").split(".")]
    level, above = target, plain
    for key in path:
        if isinstance(level, dict):
            level, above = level.setdefault(key, {}), f"{above}.{key}"
    if not isinstance(level, dict):
        serving.leave(place, f"`{plain}.{inner}`: `{above}` is not a mapping here, so it has no such key")
        return
    level[last] = _guess(values)
    serving.set(plain, target, place)


def _meaning(name: str) -> tuple[str, Mapping[str, Any] | None]:
    plain = SHORT.get(name, folded(name))
    found = schema.newest_with(plain)
    if found is None and plain not in schema.serve_flags():
        plain = _abbreviated(plain)
        found = schema.newest_with(plain)
    return plain, found.arguments[plain] if found else None


def _abbreviated(plain: str) -> str:
    """The only option that starts so: argparse takes `--gpu-memory-util` for it."""
    every = {*schema.newest().arguments, *schema.serve_flags()}
    starting = [name for name in every if name.startswith(plain)] if len(plain) > 2 else []
    return starting[0] if len(starting) == 1 else plain


def _typed(name: str, kind: str, values: list[str]) -> Any:
    text = values[0]
    members = types.members(kind)
    if any(
        member[:1].isupper() and "[" not in member and member not in ("None", "Any") for member in members
    ):
        return _json(text)
    if any(member.startswith("dict") for member in members):
        return _pairs(text) if "=" in text and not text.startswith("{") else _json(text)
    if kind.startswith(("list", "set")) or len(values) > 1:
        return [_guess([value]) if "int" in kind else value for value in values]
    if _is_switch(kind):
        return {"true": True, "false": False}.get(text.lower(), text)
    if name == "max_model_len" and text == "auto":
        return -1
    if text.lower() == "none" and "None" in members:
        return None
    return _number(text, kind)


def _number(text: str, kind: str) -> Any:
    found = _NUMBER.fullmatch(text.lstrip("-"))
    if found and ("int" in types.members(kind) or "float" in types.members(kind)):
        factor = _TEN.get(found[2]) or _TWO.get(found[2]) or 1
        number = float(found[1]) * factor * (-1 if text.startswith("-") else 1)
        return int(number) if number.is_integer() and "int" in types.members(kind) else number
    choices = types.choices_of(kind)
    return int(text) if text.isdigit() and int(text) in choices else text


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _pairs(text: str) -> dict[str, Any]:
    """`image=4,video=1`, which vLLM's parser takes for some mappings."""
    return {key: _guess([value]) for key, _, value in (part.partition("=") for part in text.split(","))}


def _guess(values: list[str]) -> Any:
    """A value of an option that no type is known for."""
    if not values:
        return True
    found = [_json(value) for value in values]
    words = [{"True": True, "False": False}.get(v, f) for v, f in zip(values, found, strict=True)]
    return words[0] if len(words) == 1 else words


def _is_switch(kind: str) -> bool:
    return types.members(kind)[0] == "bool"


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-[0-9.]+", text) is not None


#: Switches of the front end, whose types the generated table does not have.
_SERVE_SWITCHES: Final = frozenset(
    {
        "allow_credentials", "disable_fastapi_docs", "disable_frontend_multiprocessing",
        "disable_uvicorn_access_log", "enable_auto_tool_choice", "enable_force_include_usage",
        "enable_log_deltas", "enable_log_outputs", "enable_offline_docs", "enable_per_request_metrics",
        "enable_prompt_tokens_details", "enable_request_id_headers", "enable_server_load_tracking",
        "enable_ssl_refresh", "enable_tokenizer_info_endpoint", "exclude_tools_when_tool_choice_none", "grpc",
        "headless", "log_error_stack", "return_tokens_as_token_ids", "tokens_only",
        "trust_request_chat_template", "enable_scale_out", "disable_log_requests", "enable_reasoning",
        "use_v2_block_manager", "disable_async_output_proc", "enable_metrics",
    }
)  # fmt: skip
