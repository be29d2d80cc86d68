"""Lines of tritonserver's output, without what logging put before them. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

#: A cause stands at the beginning of its line; the rest of an endless one is only work.
_LINE_CHARACTERS: Final = 4000
#: What can stand before a line's own words, several of them in a row:
#: "(EngineCore_DP0 pid=12) ", "ERROR 11-24 06:21:50 [core.py:12] ", "E1124 06:20:58.3 11 server.cc:241] "
_PREFIX: Final = re.compile(
    r"^(?:\s*\((?P<process>[\w .,=:-]*pid=\d+[^)]*)\)\s?"
    r"|(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?"
    r" \[?(?P<source>\S+:\d+)\]\s?"
    r"|\[?(?P<glog>[IWEF])\d{3,4} \d\d:\d\d:\d\d\.\d+ +\d* *(?P<native>\S+:\d+)\] *"
    r"|\[rank\d+\]:\s?"
    r"|\[\w+\.py:\d+\]\s?"
    r"|\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,\d]*Z?\]?\s)"
)
#: Triton repeats the backend's exception: once as the stub ends, once for the instance, once for the model.
_REPEATED: Final = re.compile(
    r"^\s*(?:Failed to initialize Python stub(?: for auto-complete)?"
    r"|ERROR: Failed to create instance|failed to load '[^']*' version \d+: [A-Z][a-z ]+): "
    r"(?=[\w.]+(?:: |$|\\n))"
)
#: How the backend begins what it logs of one request (backend/vllm_triton/log.py), its traceback included:
#: the request was answered, and the words may be a client's.
_OF_A_REQUEST: Final = re.compile(r"\[vllm\] request ")
_QUIET: Final = frozenset({"DEBUG", "INFO", "WARNING", "I", "W"})
#: Logged as information, and yet what ends a process.
_LOUD_ANYWAY: Final = re.compile(r"NCCL WARN|Watchdog caught")
#: Printed without a level where NCCL_DEBUG asks for it.
_QUIET_ANYWAY: Final = re.compile(r"\[\d+\] (?:\S+ )?NCCL INFO |^NCCL version ")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of output."""

    raw: str
    """As it was printed; of a folded line, the part."""
    body: str
    """Without what logging put before it. Its indentation tells a frame from an exception."""
    process: str = ""
    """Who printed it, as in "EngineCore pid=84"; empty where the line does not say."""
    source: str = ""
    """Level, file and line of the log call, as in "ERROR core.py:1341"; empty for what was just printed."""
    quiet: bool = False
    """Information, a warning, or the error of one request: never a cause."""
    repeated: bool = False
    """The first line of an exception that Triton repeats."""

    @property
    def text(self) -> str:
        """The words alone."""
        return self.body.strip()


def parse(text: str) -> list[Line]:
    """Lines that say something, without their prefixes; what Triton folded into one line is unfolded."""
    raws = text.replace("\r", "\n").splitlines()
    return [line for raw in raws if raw for line in _unfolded(raw) if line.body]


def _unfolded(raw: str) -> Iterator[Line]:
    process, level, source, rest, native = "", "", "", raw, False
    while (match := _PREFIX.match(rest)) is not None:
        process = match["process"] or process
        level = match["level"] or match["glog"] or level
        source = match["source"] or match["native"] or source
        native = native or bool(match["native"])
        rest = rest[match.end() :]
    if native and rest.startswith('"'):
        rest = rest.removeprefix('"').removesuffix('"')
    repeated = _REPEATED.match(rest)
    if repeated:
        rest, process = rest[repeated.end() :], "stub"
    parts = rest.split("\\n") if native else [rest]
    quiet = level in _QUIET and not repeated and not _LOUD_ANYWAY.search(rest)
    quiet = quiet or bool(_QUIET_ANYWAY.search(rest)) or bool(_OF_A_REQUEST.match(rest))
    for number, part in enumerate(parts):
        yield Line(
            raw=raw if len(parts) == 1 else part,
            body=part.rstrip()[:_LINE_CHARACTERS],
            process=process,
            source=f"{level} {source}".strip(),
            quiet=quiet,
            repeated=bool(repeated) and number == 0,
        )
