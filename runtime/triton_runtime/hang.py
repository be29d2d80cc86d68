"""Whether the engine or a front end hangs. Pure: the clock is an argument.

A front end hangs when it does not beat. The engine hangs when a front end has requests in flight and no
message comes: neither an output nor the answer to the question that the front end asks after `no_progress`
seconds of silence. The engine's busy loop answers between two steps. So a grammar that compiles or a KV cache
that is waited for is no hang; neither are requests that wait for others to end. A single step that takes
minutes cannot be told from a hang while it lasts: it turns clients away until it has ended, and does not end
the container, for which `end` seconds must have passed.

Silence is excused before a first request has been served, whose step may compile for long, and while the
engine loads an adapter, when it answers nothing. Not for ever: a hang may begin there, too. The clock starts
after `end` seconds of a load in which nothing came, and after twice as many of a first request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from triton_runtime.front_ends import FrontEnd

#: How long the engine's answer and the beat that tells of it may take.
ANSWER_SECONDS: Final = 10.0
#: More time than this between two looks was not given to this process either: the machine stood.
LONGEST_LOOK_SECONDS: Final = 5.0


class Excuse(Enum):
    """Why silence may be no hang, for how many times `end`."""

    FIRST_REQUEST = 2
    ADAPTER = 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one look says."""

    hung: str | None = None
    """What hangs and since when, as a sentence; None while nothing does."""
    overdue: bool = False
    """It has hung for so long that the container must end."""
    silent: frozenset[int] = frozenset()
    """The front ends that do not beat, by pid."""


class _Seen:
    """A front end's counters and when they last changed."""

    def __init__(self, now: float) -> None:
        self.beats = self.messages = -1
        self.beaten = self.progressed = now


class Hang:
    """Follows the front ends of one server from look to look.

    `no_progress` and `end` are seconds since the last sign of life: the first for the question, the second
    for the end of the container.
    """

    def __init__(self, *, no_progress: float, end: float) -> None:
        self._limit = no_progress + min(ANSWER_SECONDS, no_progress)
        self._end = end
        self._seen: dict[int, _Seen] = {}
        self._time = 0.0
        self._looked: float | None = None
        self._excuse: Excuse | None = None
        self._silent_since = 0.0

    def look(self, now: float, front_ends: Sequence[FrontEnd]) -> Verdict:
        """Take what the front ends say at `now`, in seconds of any monotonic clock."""
        time = self._advance(now)
        self._seen = {one.pid: self._seen.get(one.pid) or _Seen(time) for one in front_ends}
        excused = self._excused(time, front_ends)
        worst, found, silent = 0.0, None, set()
        for one in front_ends:
            seen = self._seen[one.pid]
            if one.beats != seen.beats:
                seen.beats, seen.beaten = one.beats, time
            if one.messages != seen.messages or not one.in_flight or excused:
                seen.messages, seen.progressed = one.messages, time
            unheard, stuck = time - seen.beaten, time - seen.progressed
            if unheard >= self._limit:
                silent.add(one.pid)
                sentence = f"the backend's process {one.pid} has given no sign of life for {unheard:.0f} s"
            elif stuck >= self._limit:
                sentence = f"nothing has come from the engine for {stuck:.0f} s"
                sentence += f" with requests in flight: {one.in_flight}"
            else:
                continue
            if max(unheard, stuck) > worst:
                worst, found = max(unheard, stuck), sentence
        if found is None:
            return Verdict()
        return Verdict(found, worst >= self._end, frozenset(silent))

    def _excused(self, time: float, front_ends: Sequence[FrontEnd]) -> bool:
        before, self._excuse = self._excuse, _excuse(front_ends)
        moved = any(one.messages != self._seen[one.pid].messages for one in front_ends)
        if moved or self._excuse is not before or not any(one.in_flight for one in front_ends):
            self._silent_since = time
        return self._excuse is not None and time - self._silent_since < self._excuse.value * self._end

    def _advance(self, now: float) -> float:
        """Time in which this process, too, could run."""
        if self._looked is not None:
            self._time += min(now - self._looked, LONGEST_LOOK_SECONDS)
        self._looked = now
        return self._time


def _excuse(front_ends: Sequence[FrontEnd]) -> Excuse | None:
    if not any(one.proven for one in front_ends):
        return Excuse.FIRST_REQUEST
    return Excuse.ADAPTER if any(one.loading_adapter for one in front_ends) else None
