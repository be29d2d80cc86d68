"""Notices that Triton is shutting down or unloading the model while requests are still in flight.

Triton calls `finalize` only after the last response, so that a long stream would hold up the server until
its exit timeout, and nothing tells a backend earlier. What can be asked is whether a model is ready.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import triton_python_backend_utils as pb_utils

_PERIOD_SECONDS = 0.5
_NO_MODEL = "vllm-triton-no-such-model"


class DepartureWatch:
    """A thread that calls back once when the server or this model is on its way out."""

    def __init__(self, name: str, version: str, leaving: Callable[[], None]) -> None:
        self._name = name
        self._version = version
        self._leaving = leaving
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vllm-departure", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        ask_for_model = not _server_asks_for_readiness()
        was_ready = False
        while not self._stopping.wait(_PERIOD_SECONDS):
            try:
                if ask_for_model:
                    ready = pb_utils.is_model_ready(self._name, self._version)
                    left = was_ready and not ready
                    was_ready = was_ready or ready
                else:
                    pb_utils.is_model_ready(_NO_MODEL)
                    left, was_ready = False, True
            except Exception:
                # Before the server is up the question is refused as it is when the server goes down.
                left = was_ready
            if left:
                self._leaving()
                return


def _server_asks_for_readiness() -> bool:
    """Whether this Triton (26.04 and later) answers the readiness of a model by calling its `is_ready`.

    Asking for our own readiness would then wait for ourselves, as the question holds the interpreter's
    lock. Such a server is asked about a model that does not exist: only its own shutdown is noticed.
    """
    return b"is_ready() must return" in Path("/proc/self/exe").read_bytes()
