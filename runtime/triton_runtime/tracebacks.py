"""Exceptions in the output: tracebacks with their chains, and exceptions that stand alone. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from triton_runtime.loglines import Line

_START: Final = re.compile(r"\s*Traceback \(most recent call last\):")
_FRAME: Final = re.compile(r'\s+File "(?P<path>[^"]*)", line \d+(?:, in (?P<function>.*))?')
#: A frame as pybind11 prints it below "At:": "  /opt/x/model.py(75): initialize"
_STUB_FRAME: Final = re.compile(r"\s+(?P<path>\S+)\(\d+\): (?P<function>.*)")
_CAUSED: Final = "The above exception was the direct cause of the following exception:"
_HANDLING: Final = "During handling of the above exception, another exception occurred:"
#: What cannot be the rest of an exception's text.
_ELSEWHERE: Final = re.compile(
    r"Traceback \(most recent|Process \S+:$|Exception (?:in|ignored)|At:$|\S*Warning: |"
    r"\S+:\d+:\d+ \[\d+\] |"
    r"error: creating server|[+|][-=+ |]|Loading \w+ checkpoint|Capturing CUDA graphs|triton_runtime: "
)
_ALONE: Final = re.compile(
    r"(?P<type>(?:\w+\.)*\w*(?:Error|Exception|Exit|Interrupt|Invalid|Failed))(?:: |$)"
)
_ANY_TYPE: Final = re.compile(r"(?P<type>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$", re.DOTALL)
_TEXT_LINES: Final = 60
_TEXT_CHARACTERS: Final = 12000


@dataclass(frozen=True, slots=True)
class Raised:
    """One exception."""

    text: str
    """Type and message on one line, as in "ValueError: x"."""
    frames: tuple[str, ...]
    """"path:function", the one that raised it last; empty where it stands alone."""
    number: int
    """Of its line in the output."""
    handled: bool = False
    """The next one of the chain was raised while this one was being handled, not because of it."""

    @property
    def type(self) -> str:
        """The class without its module."""
        match = _ANY_TYPE.match(self.text)
        return match["type"].rpartition(".")[2] if match else ""


@dataclass(frozen=True, slots=True)
class Trace:
    """A chain of exceptions as it was printed, the first raised first."""

    chain: tuple[Raised, ...]
    heading: str
    """The line above the traceback, which says what it ended."""
    process: str
    source: str
    quiet: bool
    whole: bool
    """False where the output begins inside the traceback."""
    numbers: frozenset[int]
    """All of its lines."""

    @property
    def last(self) -> Raised:
        """The exception that came out."""
        return self.chain[-1]


def traces(lines: Sequence[Line]) -> list[Trace]:
    """All exceptions of the output, in the order in which they were printed."""
    streams: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        streams.setdefault(line.process, []).append(number)
    found = [trace for numbers in streams.values() for trace in _Stream(lines, numbers).traces()]
    return sorted(found, key=lambda trace: trace.last.number)


class _Stream:
    """What one process printed."""

    def __init__(self, lines: Sequence[Line], numbers: Sequence[int]) -> None:
        self._numbers = numbers
        self._lines = [lines[number] for number in numbers]
        self._at = 0

    def traces(self) -> Iterator[Trace]:
        """Each exception; `_at` moves behind it."""
        if self._begins_inside():
            yield from self._traceback(0)
        while self._at < len(self._lines):
            at, line = self._at, self._lines[self._at]
            if _START.match(line.body):
                self._at += 1
                yield from self._traceback(at)
            elif line.repeated or _ALONE.match(line.body):
                raised = self._raised((), at)
                yield self._trace((raised,), at)
            else:
                self._at += 1

    def _begins_inside(self) -> bool:
        """Frames come before any start of a traceback or a word of something else."""
        for line in self._lines:
            if not line.body.startswith(" "):
                return False
            if _FRAME.match(line.body):
                return True
        return False

    def _traceback(self, start: int) -> Iterator[Trace]:
        """The exceptions of one chain; `_at` is behind the line that starts the first traceback."""
        chain: list[Raised] = []
        source = self._lines[start].source
        while True:
            frames = self._frames(source)
            if self._at == len(self._lines) or self._lines[self._at].source != source:
                break
            raised = self._raised(frames, self._at)
            link = self._link(source)
            chain.append(Raised(raised.text, raised.frames, raised.number, link == _HANDLING))
            if not link:
                break
        if chain:
            yield self._trace(tuple(chain), start)

    def _frames(self, source: str) -> tuple[str, ...]:
        frames = []
        while self._at < len(self._lines) and self._lines[self._at].source == source:
            body = self._lines[self._at].body
            if body and not body.startswith(" "):
                break
            if match := _FRAME.match(body):
                frames.append(f"{match['path']}:{match['function'] or ''}")
            self._at += 1
        return tuple(frames)

    def _raised(self, frames: tuple[str, ...], at: int) -> Raised:
        """The exception whose first line is `at`, with the lines below that belong to its text."""
        first = self._lines[at]
        texts, self._at = [first.text], at + 1
        while self._at < len(self._lines) and len(texts) < _TEXT_LINES:
            line = self._lines[self._at]
            if line.source != first.source or line.repeated or line.text in (_CAUSED, _HANDLING):
                break
            if _ELSEWHERE.match(line.text) or (
                not line.source and _ALONE.match(line.body) and not line.body.startswith("nccl")
            ):
                break
            texts.append(line.text)
            self._at += 1
        if self._at < len(self._lines) and self._lines[self._at].text == "At:":
            self._at += 1
            frames = self._stub_frames()
        text = " ".join(" ".join(texts).split())[:_TEXT_CHARACTERS]
        return Raised(text, frames, self._numbers[at])

    def _stub_frames(self) -> tuple[str, ...]:
        """pybind11 names the frame that raised first."""
        frames: list[str] = []
        while self._at < len(self._lines) and (match := _STUB_FRAME.match(self._lines[self._at].body)):
            frames.insert(0, f"{match['path']}:{match['function']}")
            self._at += 1
        return tuple(frames)

    def _link(self, source: str) -> str:
        """How the next traceback follows from this one; `_at` is then behind its start."""
        ahead, link = self._at, ""
        while ahead < len(self._lines) and self._lines[ahead].source == source:
            text = self._lines[ahead].text
            ahead += 1
            if text in (_CAUSED, _HANDLING):
                link = text
            elif link and _START.match(text):
                self._at = ahead
                return link
            elif text:
                break
        return ""

    def _trace(self, chain: tuple[Raised, ...], start: int) -> Trace:
        first = self._lines[start]
        above = self._lines[start - 1] if start else None
        return Trace(
            chain=chain,
            heading=above.text if above and above.source == first.source else "",
            process=first.process,
            source=first.source,
            quiet=first.quiet,
            whole=start > 0 or not self._begins_inside(),
            numbers=frozenset(self._numbers[start : self._at]),
        )
