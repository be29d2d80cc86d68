"""What a probe costs, measured: CPU time spent on probing over the number of probes that ended."""

from collections.abc import Callable
from typing import Final

#: Before anything is measured; about what a probe of an idle pod costs on a server of 2024.
_FIRST_GUESS: Final = 0.005
#: Weight of one probe in the running mean: the last hundred or so count.
_WEIGHT: Final = 0.02
_LEAST: Final = 0.0005


class Meter:
    """Reads `cpu` (CPU seconds spent on probing so far) whenever a probe ends.

    Probes overlap, so one reading may hold the work of several; over many of them each second counts once.
    """

    def __init__(self, cpu: Callable[[], float]) -> None:
        self._cpu = cpu
        self._read = cpu()
        self._mean = _FIRST_GUESS

    def ended(self) -> float:
        """Account for a probe that ended; the CPU seconds spent since the last call."""
        before, self._read = self._read, self._cpu()
        spent = max(self._read - before, 0.0)
        self._mean += _WEIGHT * (spent - self._mean)
        return spent

    @property
    def cpu_seconds_a_probe(self) -> float:
        """Running mean, never so small that a budget divided by it has no bound."""
        return max(self._mean, _LEAST)
