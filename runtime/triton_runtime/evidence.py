"""What in the output is evidence: the exceptions that ended a process, and the lines that say more. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from triton_runtime.loglines import Line, parse
from triton_runtime.tracebacks import Raised, Trace, traces


class Ended(IntEnum):
    """Whose end an exception was, the one that is believed most first."""

    WORKER = 1
    ENGINE_CORE = 2
    STUB = 3


#: vLLM logs these right above the traceback of the exception that ends the process.
_WORKER_ENDED: Final = re.compile(r"(?:Ray)?WorkerProc (?:failed|hit an exception)")
_CORE_ENDED: Final = re.compile(r"EngineCore (?:failed to start|encountered a fatal error|hit an exception)")
#: multiprocessing prints this as a process ends with an exception.
_PROCESS_ENDED: Final = re.compile(r"Process \S+:$")
_WORKER: Final = re.compile(r"(?:Vllm|Ray)?Worker")
#: Where a traceback that lost its start still says whose it is.
_WORKER_SOURCE: Final = re.compile(r"ERROR (?:multiproc|ray)_executor\S*:")
_CORE_SOURCE: Final = re.compile(r"ERROR core\.py:")
#: A request to the engine failed, the engine went on.
_CALL_FAILED: Final = re.compile(r"(?:Invocation of|Call to) \w+ method failed")

#: Exceptions that only say that another process has ended.
_GENERIC: Final = re.compile(
    r"Engine core initialization failed|WorkerProc initialization failed|EngineDeadError|"
    r"EngineCore encountered an issue|died unexpectedly|Executor failed\.|RPC call to \w+ timed out|"
    r"Background loop (?:has errored|is stopped)|"
    r"^(?:\w+\.)*(?:BrokenPipeError|ConnectionResetError|CancelledError|KeyboardInterrupt|SystemExit|"
    r"CalledProcessError(?!.*(?:gcc|/cc|clang|g\+\+|nvcc|ninja|ptxas)))\b|RuntimeError: cancelled|"
    r"failed to be inspected|^TimeoutError$|Invalid repository ID or local directory specified: ?'(?!/)"
)
#: What one GPU's process says when another one has gone, or NCCL itself: there may be a better cause.
_COMMUNICATION: Final = re.compile(
    r"NCCL|nccl\w+Error|ProcessGroup|TCPStore|recvValue|DistBackendError|"
    r"DistNetworkError: (?!.*EADDRINUSE)|Connection closed by peer|gloo"
)

#: The traceback below such a line ended a thread, an import or a callback, not the process.
_SURVIVED_HEADING: Final = re.compile(
    r"Exception (?:in thread|in callback|ignored in)|exception was never retrieved|"
    r"Failed to (?:load|import) (?:the )?plugin|Failed to load plugin|found but failed to import"
)
#: Errors that the program names and goes on.
_SURVIVED: Final = re.compile(
    r"thrown while requesting|[Ww]ill ignore error|Error retrieving safetensors|"
    r"libnuma: |set_mempolicy: |Cannot use FA version|resource_tracker|"
    r"Failed to initialize NVML|CudaDriverHelper has not been|pinned (?:system )?memory|"
    r"usage_lib|Failed to (?:load|import) (?:the )?plugin"
)
#: Lines after which the program went on.
_RECOVERED: Final = re.compile(
    r"(?i)fall(?:ing|s)?[ -]?back|fallback|retry(?:ing)?\b|will be (?:ignored|retried)|ignoring|skipping|"
    r"(?:Future|Deprecation|User|Runtime|Import)Warning"
)
_RETRYING: Final = re.compile(r"\s*Retrying in \d")
_SOURCE_CODE: Final = re.compile(r"raise |\^+$|~*\^+~*$")
_FRAME: Final = re.compile(r'\s*File "[^"]*", line \d+')

#: What stands in the output of every start; a long output without it has lost its beginning.
_START_UP: Final = re.compile(
    r"TRITONBACKEND_ModelInstanceInitialize|model_lifecycle\.cc:\d+\] \"?loading: |"
    r"Initializing a V1 LLM engine|Resolved architecture"
)
_LONG: Final = 200 * 1024
#: Characters of a message that tell it from others.
_ENOUGH: Final = 80


@dataclass(frozen=True, slots=True)
class Evidence:
    """One container's output, sorted."""

    lines: Sequence[Line]
    fatal: Sequence[Trace]
    """The exceptions that ended a process, the one to believe first; without those that only point away."""
    pointers: Sequence[Trace]
    """Fatal ones that only say that something else has ended."""
    others: Sequence[Raised]
    """Everything else that was not survived, in the order of the output."""
    cut: bool
    """The output has lost its beginning."""


def gather(text: str) -> Evidence:
    """What `text` holds that can tell a cause."""
    lines = parse(text)
    found = traces(lines)
    ended = [(kind, trace) for trace in found if (kind := _ended(trace)) and not _went_on(trace, lines)]
    ended.sort(key=lambda entry: (entry[0], entry[1].last.number))
    fatal = [_with_chain(trace, found) if kind is Ended.STUB else trace for kind, trace in ended]
    telling = [trace for trace in fatal if not _points_elsewhere(trace)]
    pointers = [trace for trace in fatal if _points_elsewhere(trace)]
    long = len(text) > _LONG and not _START_UP.search(text)
    return Evidence(
        lines=lines,
        fatal=telling,
        pointers=pointers,
        others=_others(lines, found),
        cut=long or any(not trace.whole for trace in found),
    )


def is_communication(text: str) -> bool:
    """Whether it is about what GPUs say to each other, which often is a consequence only."""
    return _COMMUNICATION.search(text) is not None


def is_generic(text: str) -> bool:
    """Whether it only says that something else went wrong."""
    return _GENERIC.search(text) is not None


def _ended(trace: Trace) -> Ended | None:
    """Whose process it ended, if any."""
    if _survived(trace):
        return None
    worker, core = _WORKER.match(trace.process), trace.process.startswith("EngineCore")
    if _WORKER_ENDED.match(trace.heading) or (
        not trace.whole and worker and _WORKER_SOURCE.match(trace.source)
    ):
        return Ended.WORKER
    if _CORE_ENDED.match(trace.heading) or (not trace.whole and core and _CORE_SOURCE.match(trace.source)):
        return Ended.ENGINE_CORE
    if _PROCESS_ENDED.match(trace.heading):
        return Ended.WORKER if worker or "Worker" in trace.heading else Ended.ENGINE_CORE
    return Ended.STUB if trace.process == "stub" else None


def _went_on(trace: Trace, lines: Sequence[Line]) -> bool:
    """A worker's exception that the engine answered a call with."""
    if not _WORKER_ENDED.match(trace.heading):
        return False
    return any(_CALL_FAILED.match(line.text) for line in lines[trace.last.number :])


def _with_chain(stub: Trace, found: Sequence[Trace]) -> Trace:
    """Triton repeats only the exception that came out; what it came from was printed before."""
    same = [
        trace
        for trace in found
        if trace.process != "stub"
        and not trace.quiet
        and _same(trace.last, stub.last)
        and not _survived(trace)
    ]
    return max(same, key=lambda trace: len(trace.chain), default=stub) if same else stub


def _same(one: Raised, other: Raised) -> bool:
    """pybind11 leaves the module of the type out."""
    told, repeated = one.text.partition(": ")[2], other.text.partition(": ")[2]
    return one.type == other.type and told[:_ENOUGH] == repeated[:_ENOUGH]


def _points_elsewhere(trace: Trace) -> bool:
    return all(is_generic(raised.text) or is_communication(raised.text) for raised in trace.chain)


def _survived(trace: Trace) -> bool:
    return trace.quiet or bool(
        _SURVIVED_HEADING.search(trace.heading)
        or _SURVIVED.search(trace.last.text)
        or _RETRYING.search(trace.last.text)
    )


def _others(lines: Sequence[Line], found: Sequence[Trace]) -> list[Raised]:
    """Exceptions and lines that nothing says were survived."""
    known: set[int] = set()
    others: list[Raised] = []
    for trace in found:
        # What is just printed has no mark where it ends: lines below may be somebody else's.
        whole = trace.source or not _survived(trace)
        known |= trace.numbers if whole else {n for n in trace.numbers if n <= trace.last.number}
        if not _survived(trace) and trace.whole and not _RECOVERED.search(trace.last.text):
            others += trace.chain
    for number, line in enumerate(lines):
        if number in known or line.quiet or not line.text or _is_code(lines, number):
            continue
        if _SURVIVED.search(line.text) or _RECOVERED.search(line.text) or _retried(lines, number):
            continue
        others.append(Raised(line.text, (), number))
    return sorted(others, key=lambda raised: raised.number)


def _is_code(lines: Sequence[Line], number: int) -> bool:
    line, above = lines[number], lines[number - 1] if number else None
    if _SOURCE_CODE.match(line.text) or _FRAME.match(line.text):
        return True
    # faulthandler prints frames without their code: what stands below one may be an error's first line.
    below = above is not None and _FRAME.match(above.body) is not None and above.source == line.source
    return below and line.body.startswith(" ")


def _retried(lines: Sequence[Line], number: int) -> bool:
    """The same process says next that it tries again."""
    process = lines[number].process
    below = next((line for line in lines[number + 1 : number + 20] if line.process == process), None)
    return below is not None and _RETRYING.match(below.body) is not None
