"""Which engine arguments a tenant may set: free, with the administrator's permission, or never."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from vllm_operator.engineargs.types import shown

LOAD_FORMATS: Final = ("auto", "safetensors", "dummy")
EXECUTORS: Final = (None, "mp", "uni")
COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def covers(permitted: frozenset[str], path: str) -> bool:
    """Whether the administrator's list names the argument, or something above it."""
    parts = path.split(".")
    return any(".".join(parts[:length]) in permitted for length in range(1, len(parts) + 1))


def refusal(path: str, value: Any, entry: Mapping[str, Any], permitted: frozenset[str]) -> str | None:
    """Why this argument may not have this value, None where it may."""
    special = _by_value(path, value)
    if special is not None:
        kind, remedy = special
        if kind == "never":
            return f"spec.engineArgs.{path}: {remedy}"
        if not covers(permitted, path):
            return _ask(path, remedy)
        return None
    kind = entry.get("class", "free")
    if kind == "free":
        return None
    use = entry.get("use")
    if kind == "never":
        if use:
            return f"spec.engineArgs.{path}: is set by the operator; use {use} instead"
        if not isinstance(value, Mapping) and _is_default(value, entry):
            return None
        return f"spec.engineArgs.{path}: cannot be set: the operator runs each replica in one pod; remove it"
    if _is_default(value, entry) or covers(permitted, path):
        return None
    return _ask(path, "it loads code or a second artifact, opens a file or a connection, or lifts a guard")


def _by_value(path: str, value: Any) -> tuple[str, str] | None:
    """Arguments that are free for some values only: what else they need, None where the class decides."""
    if path in ("load_format", "speculative_config.draft_load_config.load_format"):
        if isinstance(value, str) and value.lower() not in LOAD_FORMATS:
            allowed = ", ".join(f"'{name}'" for name in LOAD_FORMATS)
            return "never", f"must be one of {allowed}: other formats can run code; convert the weights"
    elif path == "distributed_executor_backend":
        if value in ("ray", "external_launcher"):
            return (
                "never",
                f"must be 'mp', 'uni' or absent: '{value}' spans several pods, which the operator does not",
            )
        if isinstance(value, str) and value not in EXECUTORS and "." not in value:
            return "never", f"must be 'mp', 'uni' or absent, not {shown(value)}; remove it"
        if isinstance(value, str) and value not in EXECUTORS:
            return "permission", "a class path loads code"
    elif path == "data_parallel_backend" and value == "ray":
        return "never", "must be 'mp': 'ray' spans several pods; remove it"
    elif path == "tokenizer_mode" and isinstance(value, str) and value == "custom":
        return "permission", "a custom tokenizer loads code"
    return None


def remote_code(engine_args: Mapping[str, Any], hub_source: bool, revision: str | None) -> Iterator[str]:
    """Code of a Hub repository runs only at a revision that nobody can move."""
    wanted = engine_args.get("trust_remote_code")
    if wanted in (None, False, "false", "False") or not hub_source:
        return
    if not revision or not COMMIT.fullmatch(revision):
        named = f"'{revision}'" if revision else "absent"
        yield (
            "spec.engineArgs.trust_remote_code: needs `spec.source.huggingFace.revision` to be a "
            f"40-character commit id, and it is {named}; copy the commit from the repository's history"
        )


def _ask(path: str, why: str) -> str:
    return (
        f"spec.engineArgs.{path}: needs the administrator's permission ({why}): remove it, or have "
        f"'{path}' added to the operator's `permittedEngineArgs`"
    )


def _is_default(value: Any, entry: Mapping[str, Any]) -> bool:
    """A value that changes nothing needs nobody's permission."""
    if value is None:
        return True
    return "default" in entry and type(value) is type(entry["default"]) and bool(value == entry["default"])
