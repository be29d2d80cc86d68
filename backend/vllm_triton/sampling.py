"""Turns a request's parameters into what the engine takes, and says which one is wrong."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from .errors import Kind, RequestFailed, invalid

_MAX_TIMEOUT_SECONDS = 7 * 24 * 3600.0
_PRIORITIES = range(-(2**63), 2**63)
# Parameters that are lists or objects; their JSON text is taken, too.
_NOT_SCALAR = (
    "allowed_token_ids",
    "bad_words",
    "extra_args",
    "logit_bias",
    "logprob_token_ids",
    "repetition_detection",
    "stop_token_ids",
)
# Of these, vLLM takes exactly one.
_CONSTRAINTS = ("json", "regex", "choice", "grammar", "json_object", "structural_tag")


@dataclass(slots=True)
class Options:
    """The parameters that are about the request, not about sampling."""

    lora_name: str | None = None
    priority: int = 0
    timeout_seconds: float | None = None


# Ours first; the rest are the engine's and depend on its version.
_OPTION_NAMES = ("lora_name", "priority", "timeout_seconds")


def split_options(parameters: dict[str, Any], timeout_us: int) -> tuple[Options, dict[str, Any]]:
    """Take the options of the request out of its parameters; return them and the sampling parameters left."""
    sampling = dict(parameters)
    lora_name = sampling.pop("lora_name", None)
    if lora_name is not None and not isinstance(lora_name, str):
        raise RequestFailed(Kind.INVALID_ARG, "Invalid sampling_parameters: 'lora_name' must be a string.")
    priority = _integer("priority", sampling.pop("priority", 0))
    timeout = sampling.pop("timeout_seconds", None)
    seconds = timeout_us / 1e6 if timeout_us > 0 else None
    if timeout is not None:
        seconds = _positive("timeout_seconds", timeout)
    return Options(lora_name, priority, seconds), sampling


def check_names(parameters: Collection[str], known: Collection[str]) -> None:
    """Refuse unknown parameter names, all of them at once, each with the nearest valid one."""
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise invalid("; ".join(unknown_name("sampling parameter", name, known) for name in unknown) + ".")


def unknown_name(what: str, name: str, known: Collection[str]) -> str:
    """Say that a name is unknown, with the nearest valid one where there is one."""
    candidates = [*known, *(_OPTION_NAMES if what == "sampling parameter" else ())]
    near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    return f"unknown {what} '{name}'" + (f" (did you mean '{near[0]}'?)" if near else "")


def normalise(sampling: dict[str, Any], constraints: Collection[str]) -> dict[str, Any]:
    """Accept what clients send as text because their transport only carries scalars.

    `constraints` are the names that `structured_outputs` may hold.
    """
    out = dict(sampling)
    structured = out.get("structured_outputs")
    if structured is not None:
        out["structured_outputs"] = _structured_outputs(structured, constraints)
    for name in _NOT_SCALAR:
        if isinstance(out.get(name), str):
            out[name] = _json_value(name, out[name])
    stop = out.get("stop")
    if isinstance(stop, str) and stop.startswith("[") and stop.endswith("]"):
        # The generate endpoint's parameters cannot hold lists; a JSON list of strings is taken as one.
        try:
            parsed = json.loads(stop)
        except ValueError:
            parsed = None
        if isinstance(parsed, list) and parsed and all(isinstance(item, str) for item in parsed):
            out["stop"] = parsed
    return out


def _structured_outputs(value: Any, known: Collection[str]) -> dict[str, Any]:
    """Take the constraint as an object or its JSON text; private keys copied from vLLM's are dropped."""
    given = _json_object("structured_outputs", value)
    public = {key: item for key, item in given.items() if not key.startswith("_")}
    unknown = [unknown_name("key of structured_outputs", key, known) for key in public if key not in known]
    if unknown:
        raise invalid("; ".join(unknown) + ".")
    constraint = {key: item for key, item in public.items() if item is not None}
    if sum(kind in constraint for kind in _CONSTRAINTS) != 1:
        raise invalid(f"`structured_outputs` must have exactly one of {', '.join(_CONSTRAINTS)}.")
    return constraint


def template_arguments(value: Any) -> dict[str, Any]:
    """Take `chat_template_kwargs` as an object or its JSON text."""
    return {} if value is None else _json_object("chat_template_kwargs", value)


def _json_object(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        value = _json_value(name, value)
    if not isinstance(value, dict):
        raise invalid(f"`{name}` must be a JSON object or the text of one.")
    return value


def _json_value(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise invalid(f"`{name}` is not valid JSON.") from None


def _integer(name: str, value: Any) -> int:
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int) or value not in _PRIORITIES:
        raise invalid(f"`{name}` must be an integer of at most 64 bits.")
    return value


def _positive(name: str, value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 < seconds <= _MAX_TIMEOUT_SECONDS:
        raise invalid(f"`{name}` must be a positive number of seconds.")
    return seconds
