"""Finds the cause of a failure in the output of tritonserver and vLLM. Pure: text in, reason out.

The exception that ended a process is believed, with what it came from. Errors that stand elsewhere count
only where there is no such exception, or where it only points at another: most of them were survived.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from triton_runtime.evidence import Evidence, gather, is_generic
from triton_runtime.loglines import Line
from triton_runtime.refusals import refused
from triton_runtime.signatures import CONSEQUENCES, SIGNATURES, WHILE_SERVING, Group, Signature
from triton_runtime.tracebacks import Raised

_SIGKILL: Final = 9
_SIGBUS: Final = 7
_SIGNALS: Final = {4: "illegal instruction", 6: "abort", 7: "bus error", 9: "kill", 11: "segmentation fault"}
_DETAIL_CHARACTERS: Final = 500
_CRASH_CHARACTERS: Final = 300
_CUT: Final = " (what was printed before is not kept; the cause may stand there)"
_EXCERPT_LINES: Final = (2, 3)
_LAST_LINES: Final = 20
_LAST_CHARACTERS: Final = 1000
#: Repeats of a line that mean more than the line: after loading, workers wait for each other for minutes.
_HUNG: Final = re.compile(r"No available shared memory broadcast block found in \d+ seconds")
_HUNG_REPEATS: Final = 5
_CALL_TIMED_OUT: Final = re.compile(r"RPC call to \w+ timed out")
#: vLLM's parent process has nothing to say but this, and with which code the others ended.
_SILENT_DEATH: Final = re.compile(
    r"Engine core initialization failed.*?(?:Failed core proc\(s\): \{(?:'[^']*': (?P<code>-?\d+))?|$)"
)
_WORKER_DIED: Final = re.compile(r"died unexpectedly \(exit code: (?P<code>-?\d+)\)")
#: vLLM sees the end of a worker before the system tells it how, so it often has no exit code.
_WORKER_GONE: Final = re.compile(r"Worker proc (?P<worker>\S+) died unexpectedly")
_CRASH: Final = re.compile(r"Fatal Python error: .*|.*Segfault encountered.*|Segmentation fault.*")
#: The requests of the step that failed, in thousands of characters.
_DUMP: Final = re.compile(r"Dumping (?:scheduler output|input data)\b")
_ENGINES: Final = re.compile(r"EngineCore|(?:Vllm|Ray)?Worker")
#: Triton's tables of models and options.
_TABLE: Final = re.compile(r"[+|]")
_GLOG_ERROR: Final = re.compile(r"^(?:\[?E\d{4} |error: )")
#: Lines that only repeat what stands above.
_REPEATS: Final = re.compile(r"creating server: |failed to load all models|failed to load '.*'")
_PLAIN: Final = re.compile(
    r"^(?:\w+\.)*(?:ValueError|RuntimeError|OSError|Exception|ValidationError): (?=\S)"
    r"(?:\d+ validation errors? for \w+ )?(?:[\w.]+ (?=Value error, ))?(?:Value error, |Assertion failed, )?"
)
_PACKAGES: Final = re.compile(r"^.*/(?:dist|site)-packages/")
_NOT_THE_MESSAGE: Final = re.compile(
    r" \[type=| For further information visit| Set TORCHDYNAMO_VERBOSE=1| CUDA kernel errors might be"
)


@dataclass(frozen=True, slots=True)
class Classification:
    """One cause: the reason is a word of the resource's status, the detail one sentence."""

    reason: str
    detail: str
    excerpt: str
    remedy: str = ""
    inferred: bool = False
    """No row of the table knows the text: it is a refusal by its type and place alone."""


def classify(
    text: str,
    exit_code: int,
    *,
    dead_engine: str | None = None,
    dead_stub: bool = False,
    abandoned_stub: bool = False,
    memory_kills: int | None = None,
    served: bool = False,
) -> Classification:
    """The cause of the end of a tritonserver that wrote `text` and returned `exit_code` (negative: a signal).

    `memory_kills` is how many processes of the container the kernel killed for memory, None if unknown.
    """
    evidence = gather(text)
    # Of a dead engine's server the entry point is the one that kills.
    killed = exit_code == -_SIGKILL and dead_engine is None and not dead_stub
    return (
        _seen_from_outside(evidence, memory_kills, killed=killed, abandoned_stub=abandoned_stub)
        or _that_ended_a_process(evidence, served=served or dead_engine is not None)
        or _told_by_a_line(evidence, served=served)
        or _unexplained(evidence, exit_code, dead_engine=dead_engine, dead_stub=dead_stub, served=served)
    )


def _seen_from_outside(
    evidence: Evidence, memory_kills: int | None, *, killed: bool, abandoned_stub: bool
) -> Classification | None:
    """What the entry point and the kernel know, whatever the output says."""
    if memory_kills or (memory_kills is None and killed):
        detail = "the kernel killed a process of the container because its memory limit was reached"
        return Classification("HostOutOfMemory", detail, _last(evidence.lines))
    if abandoned_stub:
        detail = "tritonserver did not hear from the backend's process while that was loading the model"
        return Classification("StubTimeout", detail, _last(evidence.lines))
    return None


def _that_ended_a_process(evidence: Evidence, *, served: bool) -> Classification | None:
    """The first fatal exception. Where nothing knows it, it is shown: no other line explains it better."""
    if not evidence.fatal:
        return None
    trace = evidence.fatal[0]
    segments = _segments(trace.chain)
    if (found := _by_signature(segments, evidence.lines, last=False)) is not None:
        return found
    if (found := _by_signature(segments[:1], evidence.lines, last=True)) is not None:
        return found
    shown = trace.last
    where, detail = _around(evidence.lines, shown.number), _detail(shown)
    if not served and refused(trace.chain):
        return Classification("InvalidEngineArgs", detail, where, inferred=True)
    if (found := _by_signature(segments[1:], evidence.lines, last=True)) is not None:
        return found
    return Classification("EngineDead" if served else "ContainerCrashed", detail, where)


def _told_by_a_line(evidence: Evidence, *, served: bool) -> Classification | None:
    """The most believed kind of cause among what was neither fatal nor survived."""
    telling = [raised for raised in evidence.others if not is_generic(raised.text)]
    if served and any(_ENGINES.match(line.process) for line in evidence.lines):
        telling = [raised for raised in telling if not _of_a_front_end(evidence.lines[raised.number])]
    groups = WHILE_SERVING if served or evidence.cut else frozenset(Group)
    for kinds in (groups - CONSEQUENCES, groups & CONSEQUENCES):
        for group, last in sorted(product(kinds, (False, True)), key=lambda entry: (entry[1], entry[0])):
            rows = [row for row in SIGNATURES if row.group is group and row.last is last]
            if (found := _earliest(rows, telling, evidence.lines)) is not None:
                return found
    return None


def _of_a_front_end(line: Line) -> bool:
    """Where engine and workers name themselves, vLLM in the backend's process does not: of requests."""
    return line.source.startswith("ERROR ") and not line.process


def _unexplained(
    evidence: Evidence, exit_code: int, *, dead_engine: str | None, dead_stub: bool, served: bool
) -> Classification:
    """No text tells the cause: say what is known, and no more."""
    last = _last(evidence.lines)
    if exit_code == -_SIGBUS:
        detail = "a process ended with a bus error, which is what a full /dev/shm looks like"
        return Classification("SharedMemoryTooSmall", detail, last)
    if _call_timed_out(evidence) or ((served or dead_engine) and _waited_long(evidence)):
        return Classification("EngineHung", "the engine's workers waited for each other for minutes", last)
    crash = next((line.text for line in evidence.lines if _CRASH.match(line.text)), "")[:_CRASH_CHARACTERS]
    if dead_engine is not None:
        gone = next((found for line in evidence.lines if (found := _WORKER_GONE.match(line.text))), None)
        told = f"the engine's process {gone['worker']} ended unexpectedly" if gone else _sentence(dead_engine)
        detail = f"the engine's process crashed: {crash}" if crash else told
        return Classification("EngineDead", detail[:_DETAIL_CHARACTERS], last)
    if dead_stub:
        detail = f"the backend's process crashed: {crash}" if crash else "the backend's process is gone"
        return Classification("PythonStubDied", detail, last)
    pointers = [
        raised
        for raised in evidence.others
        if is_generic(raised.text) and (raised.type or evidence.lines[raised.number].source)
    ]
    return (
        _died_silently(evidence, crash)
        or _earliest(SIGNATURES, pointers, evidence.lines)
        or _crashed(evidence, exit_code, crash)
    )


def _died_silently(evidence: Evidence, crash: str) -> Classification | None:
    """vLLM's parent process points at an error of the engine that is not there."""
    silent = next((match for line in evidence.lines if (match := _SILENT_DEATH.search(line.text))), None)
    if silent is None or (not crash and _first_error(evidence)):
        return None
    died = (match["code"] for line in evidence.lines if (match := _WORKER_DIED.search(line.text)))
    code = silent["code"] or next(died, None)
    how = f" ({_ended(int(code))})" if code else ""
    detail = f"the engine's process ended during its start without an error of its own{how}"
    if crash:
        detail = f"the engine's process crashed{how}: {crash}"
    return Classification("EngineDead", detail, _last(evidence.lines))


def _crashed(evidence: Evidence, exit_code: int, crash: str) -> Classification:
    """The first error that is not the consequence of another, or how the process ended."""
    detail = crash or _first_error(evidence) or f"tritonserver ended with {_ended(exit_code)}"
    if evidence.cut:
        detail = f"{detail[: _DETAIL_CHARACTERS - len(_CUT)]}{_CUT}"
    return Classification("ContainerCrashed", detail, _last(evidence.lines))


def _first_error(evidence: Evidence) -> str:
    """The first exception that does not point elsewhere, or else the first error of Triton's own."""
    own = [raised for raised in evidence.others if not _REPEATS.search(raised.text)]
    own = [raised for raised in own if not is_generic(raised.text)]
    exceptions = (_detail(raised) for raised in own if raised.type.endswith(("Error", "Exception")))
    native = (raised.text for raised in own if _GLOG_ERROR.match(evidence.lines[raised.number].raw))
    return next(exceptions, "") or next(native, "")[:_DETAIL_CHARACTERS]


def _by_signature(
    segments: Iterable[Sequence[Raised]], lines: Sequence[Line], *, last: bool
) -> Classification | None:
    """The innermost exception that a row knows; a later one of the same reason may say more of the remedy."""
    rows = [row for row in SIGNATURES if row.last is last]
    for segment in segments:
        known = [
            (found, raised)
            for raised in segment
            if not is_generic(raised.text) and (found := _first(rows, raised)) is not None
        ]
        if known:
            (root, _), _ = known[0]
            same = [entry for entry in known if entry[0][0].reason == root.reason]
            found, raised = next((entry for entry in same if entry[0][0].remedy), same[0])
            if not root.remedy and same[-1][0][0].remedy:
                found, raised = same[-1]
            return _found(*found, raised, lines)
    return None


def _earliest(
    rows: Iterable[Signature], candidates: Sequence[Raised], lines: Sequence[Line]
) -> Classification | None:
    """The first of `candidates` that a row knows."""
    rows = list(rows)
    for raised in candidates:
        if (found := _first(rows, raised)) is not None:
            return _found(*found, raised, lines)
    return None


def _first(rows: Iterable[Signature], raised: Raised) -> tuple[Signature, re.Match[str]] | None:
    for row in rows:
        if (match := row.pattern.search(raised.text)) is None:
            continue
        if row.frame is None or any(row.frame.search(frame) for frame in raised.frames):
            return row, match
    return None


def _segments(chain: Sequence[Raised]) -> list[Sequence[Raised]]:
    """What came out with its direct causes first; then what was being handled as that was raised."""
    segments: list[list[Raised]] = [[]]
    for raised in chain:
        segments[-1].append(raised)
        if raised.handled:
            segments.append([])
    return [segment for segment in reversed(segments) if segment]


def _found(row: Signature, match: re.Match[str], raised: Raised, lines: Sequence[Line]) -> Classification:
    known = {name: value for name, value in match.groupdict().items() if value is not None}
    known |= row.figures(known) if row.figures else {}
    remedy = _filled(row.remedy, known)
    detail = _filled(row.detail, known | {"line": _detail(raised)}) or _detail(raised)
    return Classification(row.reason, detail[:_DETAIL_CHARACTERS], _around(lines, raised.number), remedy)


def _filled(template: str, known: dict[str, str]) -> str:
    """The template with its figures, empty if one of them is not known."""
    try:
        return template.format(**known)
    except KeyError:
        return ""


def _call_timed_out(evidence: Evidence) -> bool:
    """A worker did not answer for vLLM's whole patience with a step; the warm-up has steps, too."""
    return any(_CALL_TIMED_OUT.search(trace.last.text) for trace in evidence.pointers)


def _waited_long(evidence: Evidence) -> bool:
    """While loading, that is what a compilation looks like."""
    return sum(1 for line in evidence.lines if _HUNG.search(line.text)) > _HUNG_REPEATS


def _ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    name = f", {_SIGNALS[-code]}" if -code in _SIGNALS else ""
    return f"signal {-code}{name}"


def _detail(raised: Raised) -> str:
    """The message; of an exception without one, where it was raised."""
    text = _sentence(raised.text)
    if text == raised.text and ":" not in text and raised.frames:
        text += f" in {_PACKAGES.sub('', raised.frames[-1])}"
    return text[:_DETAIL_CHARACTERS]


def _sentence(text: str) -> str:
    """An exception's message, with its type where the message does not stand alone."""
    text = _NOT_THE_MESSAGE.split(text, maxsplit=1)[0].strip()
    return _PLAIN.sub("", text) or text


def _around(lines: Sequence[Line], number: int) -> str:
    before, after = _EXCERPT_LINES
    return "\n".join(line.raw for line in lines[max(0, number - before) : number + after + 1])


def _last(lines: Sequence[Line]) -> str:
    """The last lines that say something, as many as the message has room for."""
    kept: list[str] = []
    room = _LAST_CHARACTERS
    for line in reversed(lines):
        if not line.text or _TABLE.match(line.text) or _DUMP.match(line.text):
            continue
        room -= len(line.raw) + 1
        if len(kept) == _LAST_LINES or (room < 0 and kept):
            break
        kept.append(line.raw)
    return "\n".join(reversed(kept))
