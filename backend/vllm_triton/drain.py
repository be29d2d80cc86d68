"""The end of requests in flight when the model leaves: they have the drain time, and are then ended."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Drain:
    """Waits in a thread of its own, so that whoever began it can take it back."""

    def __init__(self, run_out: Callable[[float], bool], end: Callable[[], None], seconds: float) -> None:
        """`run_out` waits for so many seconds at most: whether nothing is in flight. `end` ends the rest."""
        self._run_out = run_out
        self._end = end
        self._seconds = seconds
        self._lock = threading.Lock()
        self._cancelled = False

    def begin(self) -> None:
        """Start the time."""
        threading.Thread(target=self._wait, name="vllm-drain", daemon=True).start()

    def cancel(self) -> None:
        """Take it back: from here on nothing is ended, unless it has been."""
        with self._lock:
            self._cancelled = True

    def _wait(self) -> None:
        if self._run_out(self._seconds):
            return
        with self._lock:
            if not self._cancelled:
                self._end()
