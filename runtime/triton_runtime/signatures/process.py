"""What merely died, or did not come up in time."""

from typing import Final

from triton_runtime.signatures.table import Group, Signature, row

_G: Final = Group.GENERIC

ROWS: Final[tuple[Signature, ...]] = (
    row(
        _G,
        "EngineStartTimeout",
        r"Timed out waiting for (?:new )?engine core processes to start.*Waited (?P<seconds>\d+)s",
        "vLLM's engine did not come up in {seconds} s (VLLM_ENGINE_READY_TIMEOUT_S)",
        "raise `spec.runtime.startupTimeoutSeconds` (VLLM_ENGINE_READY_TIMEOUT_S follows it), or load "
        "from faster "
        "storage",
    ),
    row(
        _G,
        "EngineStartTimeout",
        r"Timed out waiting for (?:new )?engine core|VLLM_ENGINE_READY_TIMEOUT_S|"
        r"[Ee]ngine (?:core )?(?:did not|failed to) (?:become ready|start) (?:within|in time)",
    ),
    row(
        _G,
        "StubTimeout",
        r"Timed out occurred while waiting for the stub process|Failed to obtain the health mutex",
    ),
    row(_G, "PythonStubDied", r"Stub process .*is not healthy|Stub process is (?:not healthy|unhealthy)"),
    row(
        _G,
        "PythonStubDied",
        r"Failed to (?:run python backend stub|fork the stub process)|Launch stub process failed",
    ),
    row(
        _G,
        "EngineDead",
        r"EngineDeadError|EngineCore encountered an issue|Background loop (?:has errored|is stopped)",
    ),
    row(
        _G,
        "EngineDead",
        r"Model is unavailable due to unhealthy vLLM engine|Engine core proc \S+ died unexpectedly",
    ),
    row(_G, "EngineDead", r"Worker proc \S+ died unexpectedly"),
)
