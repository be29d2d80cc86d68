"""Runs where vLLM is installed: what vLLM itself has for engine arguments, and what it says to some.

Reads `{"model": path, "sets": [{...}, ...]}` from stdin. Writes `{"vllm": version, "fields": {...},
"answers": [...]}` to stdout; an answer is "" where vLLM makes a configuration of the set, otherwise
the error's type and first lines. No engine starts and no GPU is needed.
"""

import contextlib
import dataclasses
import io
import json
import os
import sys
from typing import Any

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def fields() -> dict[str, Any]:
    """Every field of AsyncEngineArgs: its type as text and its default as JSON would hold it."""
    from vllm.engine.arg_utils import AsyncEngineArgs

    found = {}
    for field in dataclasses.fields(AsyncEngineArgs):
        default: Any = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        found[field.name] = {"type": str(field.type), "default": _plain(default)}
    return found


def answer(model: str, arguments: dict[str, Any]) -> str:
    """What vLLM says to one set of arguments."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext

    try:
        given = {"model": model, "max_model_len": 64} | arguments
        AsyncEngineArgs(**given).create_engine_config(UsageContext.ENGINE_CONTEXT)
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
    return ""


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, set | frozenset):
        return sorted(_plain(item) for item in value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return {}
    name = getattr(value, "name", None)
    return name if isinstance(name, str) else repr(value)


def main() -> None:
    """Answer one question from stdin."""
    question = json.load(sys.stdin)
    noise = io.StringIO()
    with contextlib.redirect_stdout(noise):
        import vllm

        result = {
            "vllm": vllm.__version__,
            "fields": fields(),
            "answers": [answer(question["model"], arguments) for arguments in question["sets"]],
        }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
