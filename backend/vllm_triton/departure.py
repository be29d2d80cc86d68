"""Notices that Triton is shutting down or unloading the model while requests are still in flight.

Triton calls `finalize` only after the last response, so that a long stream would hold up the server until
its exit timeout, and nothing tells a backend earlier. Triton's endpoints do: a listening socket closes when
the server shuts down, or, while connections to it are open, takes new ones and closes them at once; and the
model is no longer ready when it is unloaded. (The Python backend's own
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
# Triton's HTTP endpoint has closed so many connections in a row without a word before it counts as leaving.
_TURNED_AWAY = 3

Address = tuple[str, int]


class _Silent(Exception):
    """Nothing came of a question: a busy server may be slow to answer one."""


class _TurnedAway(_Silent):
    """The connection was taken and closed without an answer."""


class _NotHttp(Exception):
    """Something else than HTTP/1 answered."""


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
        address: Address | None = None
        strangers: set[Address] = set()
        before: set[Address] = set()
        was_ready = False
        turned_away = 0
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
            address = address or _find(listening, strangers)
            if address is None:
                continue
            try:
                status, _ = _ask(*address, self._path)
            except _TurnedAway:
                turned_away += 1
                if turned_away == _TURNED_AWAY:
                    self._leaving()
                    return
                continue
            except (_Silent, _NotHttp):
                continue
            turned_away = 0
            if status == http.client.OK:
                was_ready = True
            elif was_ready or self._busy():
                # A model with requests has been ready, even if this thread came too late to see it.
                self._leaving()
                return


def _find(listening: set[Address], strangers: set[Address]) -> Address | None:
    """Return Triton's HTTP endpoint among the addresses on which it listens; another is not asked again."""
    for address in listening - strangers:
        try:
            status, body = _ask(*address, "/v2")
            # The metrics endpoint answers 200 whatever it is asked, but has nothing to say.
            if status == http.client.OK and body:
                return address
        except _Silent:
            continue
        except _NotHttp:
            pass
        strangers.add(address)
    return None


def _ask(host: str, port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (ConnectionResetError, BrokenPipeError) as error:
        raise _TurnedAway from error
    except OSError as error:
        raise _Silent from error
    except http.client.HTTPException as error:
        raise _NotHttp from error
    finally:
        connection.close()


def _listening(pid: int) -> Iterator[Address]:
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
