"""When to ask tritonserver to end, and when to stop asking. Pure: the clock is an argument.

A request to end while serving goes: wait until endpoints have moved away, TERM, wait for the requests in
flight, kill. A further request skips the rest of the present wait. While loading there is nothing to wait
for, and tritonserver has no TERM handler yet. A dead engine has answered its requests already: a short wait.
"""

import enum
import math
from typing import Final

#: After the time that requests may take, the backend ends what is left and stops its engine. That fits into
#: Triton's own exit timeout, which ends before the kill, which comes before the kubelet's (15 s).
TRITON_MARGIN_SECONDS: Final = 12.0
KILL_MARGIN_SECONDS: Final = 14.0
#: With every request answered, the engine stops in a few seconds; after that only idle HTTP connections hold
#: tritonserver.
DRAINED_SECONDS: Final = 8.0
#: A dead engine has nothing in flight; its last answers only have to leave the socket.
DEAD_ENGINE_SECONDS: Final = 5.0


class Action(enum.Enum):
    """What the caller must do now."""

    NOTHING = enum.auto()
    TERMINATE = enum.auto()
    KILL = enum.auto()


class Stage(enum.Enum):
    """How far the end has come."""

    RUNNING = enum.auto()
    MOVING = enum.auto()
    TERMINATING = enum.auto()
    KILLED = enum.auto()


class Drain:
    """The end of one tritonserver, from the first reason to end it."""

    def __init__(self, *, delay: float, exit_timeout: float) -> None:
        self._delay = delay
        self._exit_timeout = exit_timeout
        self._deadline = math.inf
        self.stage = Stage.RUNNING

    def requested(self, now: float, *, loading: bool) -> Action:
        """Somebody asks for the end (SIGTERM)."""
        if loading:
            return self._kill()
        if self.stage is Stage.RUNNING and self._delay > 0:
            self.stage = Stage.MOVING
            self._deadline = now + self._delay
            return Action.NOTHING
        if self.stage in (Stage.RUNNING, Stage.MOVING):
            return self._terminate(now, self._exit_timeout + KILL_MARGIN_SECONDS)
        return self._kill()

    def engine_died(self, now: float) -> Action:
        """The engine is dead: nothing can be served any more."""
        if self.stage in (Stage.RUNNING, Stage.MOVING):
            return self._terminate(now, DEAD_ENGINE_SECONDS)
        self._deadline = min(self._deadline, now + DEAD_ENGINE_SECONDS)
        return Action.NOTHING

    def drained(self, now: float) -> Action:
        """The backend has nothing in flight any more."""
        if self.stage is Stage.TERMINATING:
            self._deadline = min(self._deadline, now + DRAINED_SECONDS)
        return Action.NOTHING

    def tick(self, now: float) -> Action:
        """Time has passed."""
        if now < self._deadline:
            return Action.NOTHING
        if self.stage is Stage.MOVING:
            return self._terminate(now, self._exit_timeout + KILL_MARGIN_SECONDS)
        return self._kill()

    def wait(self, now: float, at_most: float) -> float:
        """How long the caller may sleep before the next tick."""
        return max(0.0, min(at_most, self._deadline - now))

    def _terminate(self, now: float, within: float) -> Action:
        self.stage = Stage.TERMINATING
        self._deadline = now + within
        return Action.TERMINATE

    def _kill(self) -> Action:
        self.stage = Stage.KILLED
        self._deadline = math.inf
        return Action.KILL
