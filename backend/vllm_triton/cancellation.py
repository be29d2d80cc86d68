"""Asks Triton a few times a second, off the hot path, which open requests' clients are gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from . import log
from .streams import Stream

_PERIOD_SECONDS = 0.2


class CancellationPoller:
    """A thread that looks at all open requests in turn. Each look is a round trip to the server process."""

    def __init__(self, streams: Mapping[str, Stream], cancel: Callable[[Stream], None]) -> None:
        self._streams = streams
        self._cancel = cancel
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vllm-cancellation", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_PERIOD_SECONDS):
            for stream in list(self._streams.values()):
                try:
                    if self._is_cancelled(stream):
                        self._cancel(stream)
                except Exception as error:
                    log.defect(f"request {stream.id}: could not be asked whether it is cancelled", error)

    @staticmethod
    def _is_cancelled(stream: Stream) -> bool:
        # After the final response the server has freed what the responder points to.
        with stream.lock:
            return not stream.closed and not stream.ended and bool(stream.responder.is_cancelled())
