"""Whether probing moves: since when an attempt has been owed and none has ended."""

from collections.abc import Iterable


class Progress:
    """Remembers when the last attempt ended, whatever it found. Times are seconds on the caller's clock."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self._owed: float | None = None

    def ended(self, now: float) -> None:
        """An attempt has ended by itself."""
        self._last, self._owed = now, None

    def owed_since(self, now: float, *, under_way: Iterable[float], waiting: Iterable[float]) -> float | None:
        """Since when nothing has ended that should have; None while nothing should.

        `under_way`: when each attempt has ended at the latest. `waiting`: since when pods are due; they may
        wait as long as attempts under way hold what they wait for.
        """
        expected = min(under_way, default=None)
        if expected is None:
            expected = min(waiting, default=None)
        if expected is None:
            self._owed = None
        elif self._owed is None and expected <= now:
            self._owed = expected  # kept until one ends: an attempt that is cut and begun anew is no progress
        return None if self._owed is None else max(self._owed, self._last)
