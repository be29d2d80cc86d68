"""Whether what has to go on for ever goes on: the age of the newest sign of each watch, and of the probes.

An event loop that turns proves nothing: its tasks may all wait for what never comes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

#: A watch is due to show something each minute: a bookmark, or the answer to its renewal. A silent connection
#: is given up after 75 s, and a new one may take another 30 s to fail and 15 s of back-off to be tried again:
#: what has shown nothing for 150 s has not merely had bad luck. An API server that answers with errors is
#: progress: nobody else would be told more.
BOUND_SECONDS: Final = 150.0


@dataclass(slots=True)
class Heartbeat:
    """The newest sign of life of one thing."""

    clock: Callable[[], float] = time.monotonic
    _made: float = field(init=False)

    def __post_init__(self) -> None:
        self._made = self.clock()

    def made(self) -> None:
        """It has just got on."""
        self._made = self.clock()

    def age(self) -> float:
        """Seconds since the last sign."""
        return self.clock() - self._made


def since(moment: Callable[[], float | None]) -> Callable[[], float]:
    """The age of a moment on the monotonic clock; 0 while there is none."""

    def age() -> float:
        at = moment()
        return 0.0 if at is None else time.monotonic() - at

    return age


class Progress:
    """All that must go on while this process leads. Nothing is followed in a standby, so it never stalls."""

    def __init__(self, bound_seconds: float = BOUND_SECONDS) -> None:
        self._bound = bound_seconds
        self._ages: dict[str, Callable[[], float]] = {}

    def follow(self, part: str, age: Callable[[], float]) -> None:
        """From now on `part`, a word or two for people, is stalled when its age passes the bound."""
        self._ages[part] = age

    def stalled(self) -> str:
        """What has not got on for too long, in words; empty while everything does."""
        ages = {part: age() for part, age in self._ages.items()}
        late = [f"{part} for {age:.0f} s" for part, age in ages.items() if age > self._bound]
        return f"no progress of {', '.join(sorted(late))}" if late else ""
