"""Notices that Triton is shutting down or unloading the model while requests are still in flight.

Triton calls `finalize` only after the last response, so that a long stream would hold up the server until
its exit timeout, and nothing tells a backend earlier. Triton's endpoints do: a listening socket closes when
the server shuts down, and the model is no longer ready when it is unloaded. (The Python backend's own
`is_model_ready` cannot be asked: an error as its answer, as it comes while the server goes down, is read
from memory that the server may have freed.)
"""

from __future__ import annotations

import http.client
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from . import state_file

_PERIOD_SECONDS = 0.5
# Until Triton's endpoint has been seen once: a server may be told to end as soon as it is up.
_FIRST_PERIOD_SECONDS = 0.05
_TIMEOUT_SECONDS = 1.0
_LISTENING = "0A"


class DepartureWatch:
    """A thread that calls back once when the server or this model is on its way out."""

    def __init__(
        self,
        name: str,
        version: str,
        *,
        busy: Callable[[], bool],
        leaving: Callable[[], None],
        drained: Callable[[], None],
    ) -> None:
        self._path = f"/v2/models/{name}/versions/{version}/ready"
        self._busy = busy
        self._leaving = leaving
        self._drained = drained
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vllm-departure", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        address: tuple[str, int] | None = None
        before: set[tuple[str, int]] = set()
        was_ready = False
        while not self._stopping.wait(_PERIOD_SECONDS if address else _FIRST_PERIOD_SECONDS):
            if state_file.told_to_end():
                # Before Triton closes its endpoint, it waits for every idle connection to it.
                self._leaving()
                self._drained()
                return
            listening = set(_listening(os.getppid()))
            if before - listening:
                # Triton closes its HTTP endpoint first when it shuts down, and only then.
                self._leaving()
                return
            before = listening
            address = address or _find(listening)
            status = _status(*address, self._path) if address is not None else None
            # No answer says nothing: a busy server may be slow to give one.
            if status == http.client.OK:
                was_ready = True
            elif status is not None and (was_ready or self._busy()):
                # A model with requests has been ready, even if this thread came too late to see it.
                self._leaving()
                return


def _find(listening: set[tuple[str, int]]) -> tuple[str, int] | None:
    """Return Triton's HTTP endpoint among the addresses on which it listens."""
    for address in listening:
        if _status(*address, "/v2/health/live") == http.client.OK:
            return address
    return None


def _status(host: str, port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _listening(pid: int) -> Iterator[tuple[str, int]]:
    """Yield the addresses on which a process listens."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith("socket:["):
            sockets.add(target[8:-1])
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENING and fields[9] in sockets:
                host, port = fields[1].split(":")
                yield _readable(host, family), int(port, 16)


def _readable(host: str, family: int) -> str:
    """Return the address to connect to; the kernel writes words of 32 bits in its own byte order."""
    words = [int(host[index : index + 8], 16).to_bytes(4, "little") for index in range(0, len(host), 8)]
    if not any(b"".join(words)):
        return "127.0.0.1" if family == socket.AF_INET else "::1"
    return socket.inet_ntop(family, b"".join(words))
