"""The operator's memory: its peak, and its slope over time."""

import re
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from operatorkit.process import OperatorProcess

_EVERY_SECONDS = 5.0


def peak_mib(pid: int) -> float:
    """The most that was ever resident of a process (VmHWM), in MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found, "Linux tells the peak"
    return int(found.group(1)) / 1024


class MemorySamples:
    """A thread that notes the resident memory every few seconds."""

    def __init__(self, operator: OperatorProcess) -> None:
        self._operator = operator
        self._samples: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def slope_an_hour(self) -> float | None:
        """MiB an hour, the line of least squares; None for want of samples."""
        if len(self._samples) < 3:
            return None
        count = len(self._samples)
        middle_time = sum(at for at, _ in self._samples) / count
        middle = sum(mib for _, mib in self._samples) / count
        spread = sum((at - middle_time) ** 2 for at, _ in self._samples)
        return 3600 * sum((at - middle_time) * (mib - middle) for at, mib in self._samples) / spread

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            self._samples.append((time.monotonic(), self._operator.usage()[1]))
