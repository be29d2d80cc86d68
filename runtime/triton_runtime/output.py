"""Passes the child's output through unchanged and remembers its end."""

import contextlib
import os
import selectors
import threading
from typing import Final

TAIL_BYTES: Final = 256 * 1024
_CHUNK: Final = 64 * 1024


class Tail:
    """The last bytes that were written to it, whole lines where that is possible."""

    def __init__(self, limit: int = TAIL_BYTES) -> None:
        self._limit = limit
        self._bytes = bytearray()
        self._lock = threading.Lock()
        self._cut = False

    def append(self, data: bytes) -> None:
        """Add `data`, and forget what is now too old."""
        with self._lock:
            self._bytes += data
            if len(self._bytes) > self._limit:
                del self._bytes[: len(self._bytes) - self._limit]
                self._cut = True

    def text(self) -> str:
        """What is remembered; a first line that lost its start is left out."""
        with self._lock:
            data = bytes(self._bytes)
        if self._cut:
            data = data[data.find(b"\n") + 1 :]
        return data.decode("utf-8", errors="replace")


class PassThrough:
    """Copies pipes to file descriptors in a thread of its own, so that a slow log reader stops no signal."""

    def __init__(self, routes: dict[int, int], tail: Tail) -> None:
        self._routes = routes
        self._tail = tail
        self._thread = threading.Thread(target=self._copy, name="output", daemon=True)

    def start(self) -> None:
        """Begin to copy."""
        self._thread.start()

    def finish(self, within: float) -> None:
        """Wait until every writer has closed its end and all is copied."""
        self._thread.join(within)

    def _copy(self) -> None:
        with selectors.DefaultSelector() as selector:
            for source, target in self._routes.items():
                selector.register(source, selectors.EVENT_READ, target)
            while selector.get_map():
                for key, _ in selector.select():
                    data = os.read(key.fd, _CHUNK)
                    if not data:
                        selector.unregister(key.fd)
                        os.close(key.fd)
                        continue
                    self._tail.append(data)
                    # A reader that went away must not stop the child: go on remembering.
                    with contextlib.suppress(OSError):
                        _write_all(key.data, data)


def _write_all(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]
