"""Which engine arguments a tenant may set: free, with the administrator's permission, or never."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from vllm_operator.engineargs.likeness import nearest_value
from vllm_operator.engineargs.types import shown

#: By what a format reads. Free: safetensors, or nothing. Never: pickle, which runs code when it is read.
#: Every other one (a server, an archive of its own, a library's format) needs permission.
SAFE_LOAD_FORMATS: Final = (
    "auto", "hf", "safetensors", "dummy", "mistral", "fastsafetensors", "instanttensor", "runai_streamer",
    "runai_streamer_sharded", "sharded_state",
)  # fmt: skip
PICKLE_LOAD_FORMATS: Final = ("pt", "npcache")
OTHER_LOAD_FORMATS: Final = ("tensorizer", "bitsandbytes", "gguf", "modelexpress", "ipc_cache")
#: Values of arguments that otherwise name a file or code: these name none.
HARMLESS: Final[Mapping[str, tuple[str, ...]]] = {
    "generation_config": ("auto", "vllm"),
    "config_format": ("auto", "hf", "mistral"),
}
#: Arguments that tuned the engine and were removed before the oldest version with a file: free in older ones.
FREE_BEFORE: Final = frozenset(
    {
        "cuda_graph_sizes", "device", "disable_async_output_proc", "disable_log_requests",
        "disable_mm_preprocessor_cache", "enable_reasoning", "guided_decoding_backend",
        "guided_decoding_disable_any_whitespace", "guided_decoding_disable_fallback", "lora_extra_vocab_size",
        "max_seq_len_to_capture", "multi_step_stream_outputs", "num_lookahead_slots", "num_scheduler_steps",
        "preemption_mode", "scheduler_delay_factor", "swap_space", "task", "use_v2_block_manager",
    }
)  # fmt: skip
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
    if _is_default(value, entry) or value in HARMLESS.get(path, ()) or covers(permitted, path):
        return None
    return _ask(path, "it loads code or a second artifact, opens a file or a connection, or lifts a guard")


def _by_value(path: str, value: Any) -> tuple[str, str] | None:
    """Arguments that are free for some values only: what else they need, None where the class decides."""
    if path in ("load_format", "speculative_config.draft_load_config.load_format"):
        return _load_format(value)
    if path == "distributed_executor_backend":
        if value in ("ray", "external_launcher"):
            return (
                "never",
                f"must not be '{value}', which spans several pods: the operator runs each replica in one; "
                "use 'mp' or 'uni', or remove it",
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


def _load_format(value: Any) -> tuple[str, str] | None:
    name = value.lower() if isinstance(value, str) else "auto"
    if name in PICKLE_LOAD_FORMATS:
        return "never", f"'{name}' reads pickle files, which can run code; use 'auto' or 'safetensors'"
    if name in SAFE_LOAD_FORMATS:
        return None
    meant = None if name in OTHER_LOAD_FORMATS else nearest_value(name, SAFE_LOAD_FORMATS)
    if meant:
        return "never", f"{shown(value)} is not a load format; did you mean '{meant}'?"
    return "permission", "this format reads more than safetensors"


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
