"""Notices that Triton is shutting down or unloading the model while requests are still in flight.

Triton calls `finalize` only after the last response, so that a long stream would hold up the server until
its exit timeout, and nothing tells a backend earlier. Triton's endpoints do. What counts:

- The entry point's file: the server is being ended.
- A listening socket of Triton's is closed, twice in a row: it shuts down, and does that to its HTTP endpoint
  first. A look at its sockets that did not succeed, as where no descriptor is left, shows nothing.
- The endpoint takes connections and closes them at once, several times in a row: it shuts down while others
  are open.
- Triton's index of models says, twice in a row, that this one is being unloaded or is unavailable.

A model that is not ready does not count by itself: an overloaded server and a front end that was not heard
of for a moment look the same, and closing the model then turned clients away for good. It is only what
makes the index worth asking. The last two are taken back when they prove wrong. (The Python backend's own
`is_model_ready` cannot be asked: an error as its answer, as it comes while the server goes down, is read
from memory that the server may have freed.)
"""

from __future__ import annotations

import contextlib
import enum
import http.client
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import state_file

_PERIOD_SECONDS = 0.5
# Until Triton's endpoint has been seen once, as a server may end when it is just up; and before the second
# look at a socket that is gone.
_FIRST_PERIOD_SECONDS = 0.05
_TIMEOUT_SECONDS = 1.0
# Triton looks into the repository for its index, which may be far away.
_INDEX_SECONDS = 5.0
_LISTENING = "0A"
# States in which a model is served or will be; in any other one it is not, or no longer.
_STAYING = frozenset({"READY", "LOADING"})

Address = tuple[str, int]


class Sign(enum.Enum):
    """What one look at Triton says of this model."""

    SERVED = enum.auto()
    UNLOADING = enum.auto()
    TURNED_AWAY = enum.auto()
    # It answers, but not what becomes of the model.
    ANSWERED = enum.auto()
    NOTHING = enum.auto()


# How often in a row each of them must have been seen before it counts.
_ENOUGH = {Sign.UNLOADING: 2, Sign.TURNED_AWAY: 3}
# What takes them back.
_AGAINST = {
    Sign.UNLOADING: frozenset({Sign.SERVED}),
    Sign.TURNED_AWAY: frozenset({Sign.SERVED, Sign.ANSWERED, Sign.UNLOADING}),
}


class Judgement:
    """Whether the model is leaving, from one sign after the other. Pure."""

    def __init__(self) -> None:
        self._last = Sign.NOTHING
        self._count = 0
        self._reason: Sign | None = None

    @property
    def leaving(self) -> bool:
        """Whether the model is on its way out, as far as is known."""
        return self._reason is not None

    def take(self, sign: Sign) -> None:
        """Take one more sign into account; one that says nothing changes nothing."""
        if sign is Sign.NOTHING:
            return
        self._count = self._count + 1 if sign is self._last else 1
        self._last = sign
        if self._reason is not None and sign in _AGAINST[self._reason]:
            self._reason = None
        if self._count >= _ENOUGH.get(sign, self._count + 1):
            self._reason = sign


class Sockets:
    """Whether one of the listening sockets was closed, from one whole list after the other. Pure."""

    def __init__(self) -> None:
        self.seen: set[Address] = set()
        self.closed = False
        self.missing: set[Address] = set()

    def take(self, listening: set[Address]) -> None:
        """Take a list into account. The kernel's tables change while they are read: one may lack an entry."""
        missing = self.seen - listening
        self.closed = self.closed or bool(missing & self.missing)
        self.seen, self.missing = self.seen | listening, missing


class _Silent(Exception):
    """Nothing came of a question: a busy server may be slow to answer one."""


class _TurnedAway(_Silent):
    """The connection was taken and closed without an answer."""


class _NotHttp(Exception):
    """Something else than HTTP/1 answered."""


class DepartureWatch:
    """A thread that calls back when the server or this model is leaving, and when it is not after all."""

    def __init__(
        self,
        name: str,
        version: str,
        *,
        leaving: Callable[[], None],
        closing: Callable[[], None],
        staying: Callable[[], None],
        drained: Callable[[], None],
    ) -> None:
        """`leaving` is for good and may wait; `closing` must not: `staying` takes it back."""
        self._name = name
        self._version = version
        self._leaving = leaving
        self._closing = closing
        self._staying = staying
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
        sockets, judgement = Sockets(), Judgement()
        while not self._stopping.wait(
            _FIRST_PERIOD_SECONDS if address is None or sockets.missing else _PERIOD_SECONDS
        ):
            if state_file.told_to_end():
                # Before Triton closes its endpoint, it waits for every idle connection to it.
                self._leaving()
                self._drained()
                return
            with contextlib.suppress(OSError):
                sockets.take(set(_listening(os.getppid())))
            if sockets.closed:
                self._leaving()
                return
            address = address or _find(sockets.seen, strangers)
            if address is not None:
                self._follow(judgement, self._look(address))

    def _follow(self, judgement: Judgement, sign: Sign) -> None:
        before = judgement.leaving
        judgement.take(sign)
        if judgement.leaving and not before:
            self._closing()
        elif before and not judgement.leaving:
            self._staying()

    def _look(self, address: Address) -> Sign:
        try:
            status, _ = _ask(*address, f"/v2/models/{self._name}/versions/{self._version}/ready")
        except _TurnedAway:
            return Sign.TURNED_AWAY
        except (_Silent, _NotHttp):
            return Sign.NOTHING
        if status == http.client.OK:
            return Sign.SERVED
        try:
            status, body = _ask(*address, "/v2/repository/index", method="POST", timeout=_INDEX_SECONDS)
        except (_Silent, _NotHttp):
            return Sign.ANSWERED
        return sign_of_index(status, body, self._name, self._version)


def sign_of_index(status: int, body: bytes, name: str, version: str) -> Sign:
    """What the answer of Triton's index of models (POST /v2/repository/index) says of one of them.

    A model that is not in it has been taken out of the repository.
    """
    try:
        models: Any = json.loads(body)
        entries = [model for model in models if model["name"] == name]
    except (ValueError, TypeError, KeyError):
        return Sign.ANSWERED
    if status != http.client.OK:
        # Only an administrator may ask, or it cannot be read just now.
        return Sign.ANSWERED
    states = {entry.get("state", "") for entry in entries if entry.get("version", version) == version}
    if "READY" in states:
        return Sign.SERVED
    return Sign.ANSWERED if states & _STAYING else Sign.UNLOADING


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


def _ask(
    host: str, port: int, path: str, *, method: str = "GET", timeout: float = _TIMEOUT_SECONDS
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request(method, path)
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
    """Yield the addresses on which a process listens; raises `OSError` where any part cannot be read."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            # Closed since the folder was read.
            continue
        if target.startswith("socket:["):
            sockets.add(target[8:-1])
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except FileNotFoundError:
            # A kernel without IPv6.
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
