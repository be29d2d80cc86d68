"""Finds the cause of a failure in the output of tritonserver and vLLM. Pure: text in, reason out.

The root cause stands above the noise: vLLM ends with a wrapper error, the cause of which stands 40 lines
higher, and Triton repeats the whole traceback in one line with its line breaks escaped.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from triton_runtime.signatures import (
    HARMLESS,
    HUNG,
    HUNG_REPEATS,
    RECOVERED,
    SIGNATURES,
    WHILE_SERVING,
    WRAPPERS,
    Signature,
)

_SIGKILL: Final = 9
_SIGBUS: Final = 7
_DETAIL_CHARACTERS: Final = 500
_EXCERPT_LINES: Final = (2, 3)
_LAST_LINES: Final = 20
_LAST_CHARACTERS: Final = 1000
#: A cause stands at the beginning of its line; the rest of an endless one is only work.
_LINE_CHARACTERS: Final = 4000

#: "(EngineCore_DP0 pid=12) ", "ERROR 11-24 06:21:50 [core.py:12] ", "E1124 06:20:58.3 11 server.cc:241] "
_PREFIX: Final = re.compile(
    r"^(?:\s*\((?P<process>[\w .=:-]*pid=\d+[^)]*)\)\s?"
    r"|(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \[?\S+:\d+\]\s?"
    r"|\[?(?P<glog>[IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \S+:\d+\] *\"?"
    # Triton's repetition of the backend's exception
    r"|Failed to initialize Python stub(?: for auto-complete)?: "
    r"|(?:ERROR: Failed to create instance|failed to load '[^']*' version \d+: [A-Z][a-z ]+): "
    r"(?=\w+(?:Error|Exception|Invalid|Failed): )"
    r"|\[rank\d+\]:\s?"
    r"|\[\w+\.py:\d+\]\s?"
    r"|\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,\d]*Z?\]?\s)"
)
_QUIET: Final = frozenset({"DEBUG", "INFO", "WARNING", "I", "W"})
#: Triton logs the backend's exception as information.
_LOUD_ANYWAY: Final = re.compile(r"Failed to initialize Python stub|NCCL WARN|Watchdog caught")
_ERROR: Final = re.compile(
    r"^(?P<type>(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit))(?:: (?P<message>.*))?$"
)
_PYDANTIC: Final = re.compile(r"\d+ validation errors? for \w+$")
#: The line after it is source code.
_FRAME: Final = re.compile(r'File "[^"]*", line \d+')
#: Triton's tables of models and options.
_TABLE: Final = re.compile(r"[+|]")
#: vLLM's parent process has nothing to say but this.
_SILENT_DEATH: Final = re.compile(r"Engine core initialization failed")
_GLOG_ERROR: Final = re.compile(r"^(?:\[?E\d{4} |error: )")


@dataclass(frozen=True, slots=True)
class Classification:
    """One cause: the reason is a word of the resource's status, the detail one sentence."""

    reason: str
    detail: str
    excerpt: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of output, and the same without what logging put before it."""

    raw: str
    text: str
    quiet: bool
    """Information, a warning or the source code in a traceback: never a cause."""


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
    lines = parse(text)
    if memory_kills or (memory_kills is None and exit_code == -_SIGKILL):
        detail = "the kernel killed a process of the container because its memory limit was reached"
        return Classification("HostOutOfMemory", detail, _last(lines))
    if abandoned_stub:
        detail = "tritonserver did not hear from the backend's process while that was loading the model"
        return Classification("StubTimeout", detail, _last(lines))
    if (found := _by_signature(lines, served=served)) is not None:
        return found
    if exit_code == -_SIGBUS:
        detail = "a process ended with a bus error, which is what a full /dev/shm looks like"
        return Classification("SharedMemoryTooSmall", detail, _last(lines))
    if sum(1 for line in lines if HUNG.search(line.text)) > HUNG_REPEATS and (served or dead_engine):
        return Classification(
            "EngineHung", "the engine's workers waited for each other for minutes", _last(lines)
        )
    if dead_engine is not None:
        return Classification("EngineDead", dead_engine, _last(lines))
    if dead_stub:
        return Classification("PythonStubDied", "the backend's process is gone", _last(lines))
    return _crashed(lines, exit_code)


def parse(text: str) -> list[Line]:
    """Lines without their logging prefixes; a traceback that was folded into one line is unfolded."""
    found: list[Line] = []
    for raw in text.replace("\r", "\n").splitlines():
        level = ""
        rest = raw
        while (match := _PREFIX.match(rest)) is not None:
            level = match["level"] or match["glog"] or level
            rest = rest[match.end() :]
        if level in tuple("IWEF"):
            rest = rest.removesuffix('"')
        quiet = level in _QUIET and not _LOUD_ANYWAY.search(raw)
        for part in rest.split("\\n"):
            text = part.strip()[:_LINE_CHARACTERS]
            if text:
                code = bool(found and _FRAME.match(found[-1].text)) or text.startswith("raise ")
                found.append(Line(raw if part == rest else part, text, quiet or code))
    return [_with_field(found[number : number + 3]) for number in range(len(found))]


def _with_field(lines: Sequence[Line]) -> Line:
    """pydantic tells on three lines which class refused which field why; here they are one."""
    line = lines[0]
    if len(lines) < 3 or not _PYDANTIC.search(line.text) or not lines[1].text.isidentifier():
        return line
    return Line(line.raw, f"{line.text}: {lines[1].text}: {lines[2].text}", line.quiet)


def _by_signature(lines: Sequence[Line], *, served: bool) -> Classification | None:
    candidates = [
        (number, line)
        for number, line in enumerate(lines)
        if not line.quiet and not RECOVERED.search(line.text) and not HARMLESS.search(line.text)
    ]
    for group in sorted({signature.group for signature in SIGNATURES}):
        if served and group not in WHILE_SERVING:
            continue
        for signature in (s for s in SIGNATURES if s.group is group):
            for number, line in candidates:
                if (match := signature.pattern.search(line.text)) is not None:
                    return _found(signature, match, lines, number)
    return None


def _found(signature: Signature, match: re.Match[str], lines: Sequence[Line], number: int) -> Classification:
    known = {name: value for name, value in match.groupdict().items() if value is not None}
    detail = signature.detail.format(line=_sentence(lines[number].text), **known)
    remedy = signature.remedy
    try:
        remedy = remedy.format(**known)
    except KeyError:
        remedy = ""
    before, after = _EXCERPT_LINES
    excerpt = "\n".join(line.raw for line in lines[max(0, number - before) : number + after + 1])
    return Classification(signature.reason, detail[:_DETAIL_CHARACTERS], excerpt, remedy)


def _crashed(lines: Sequence[Line], exit_code: int) -> Classification:
    """Nothing known: the first real error, not the ones that it caused."""
    pointers = re.compile(f"{WRAPPERS.pattern}|{HARMLESS.pattern}")
    own = [line for line in lines if not pointers.search(line.text)]
    first = next((line.text for line in own if not line.quiet and _ERROR.match(line.text)), None)
    first = first or next((line.text for line in own if _GLOG_ERROR.match(line.raw)), None)
    if first is None and any(_SILENT_DEATH.search(line.text) for line in lines):
        detail = "the engine's process ended during its start without an error of its own"
        return Classification("EngineDead", detail, _last(lines))
    ended = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
    detail = _sentence(first) if first else f"tritonserver ended with {ended}"
    return Classification("ContainerCrashed", detail[:_DETAIL_CHARACTERS], _last(lines))


def _sentence(line: str) -> str:
    """An error line without its type where the message stands alone."""
    line = line.removeprefix("Value error, ").partition(" [type=")[0]
    match = _ERROR.match(line)
    if (
        match
        and match["message"]
        and match["type"].rpartition(".")[2] in ("ValueError", "RuntimeError", "OSError")
    ):
        return match["message"]
    return line


def _last(lines: Sequence[Line]) -> str:
    """The last lines that say something, as many as the message has room for."""
    kept: list[str] = []
    room = _LAST_CHARACTERS
    for line in reversed(lines):
        if _TABLE.match(line.text):
            continue
        room -= len(line.raw) + 1
        if len(kept) == _LAST_LINES or (room < 0 and kept):
            break
        kept.append(line.raw)
    return "\n".join(reversed(kept))
