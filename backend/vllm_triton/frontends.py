"""Lets the instances of a group share an engine: each is a front end of it, with an interpreter of its own.

Triton gives every instance of a model a process (a stub). The first of a group leads: it starts the engine
and says where the others reach it. They stay connected to it for as long as the model is loaded, so that
the end of any of them is noticed by all: they live and die together, as one instance would.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import state_file
from .errors import ModelInvalid

# The leader listens before it does anything that takes long.
_JOIN_SECONDS = 60.0
_RETRY_SECONDS = 0.05
# How long the report of an engine's death waits for the other front ends' answers to their clients.
_ANSWER_SECONDS = 3.0
_LEADER_GONE = "the model's first instance ended while it loaded the model."
_CREDENTIALS = struct.Struct("3i")

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seat:
    """A front end's place at the engine: its number, and the addresses that it binds for the engine."""

    index: int
    count: int
    directory: str

    def input_address(self, index: int) -> str:
        """Where a front end sends its requests from."""
        return f"ipc://{self.directory}/requests-{index}"

    def output_address(self, index: int) -> str:
        """Where a front end receives the engine's outputs."""
        return f"ipc://{self.directory}/outputs-{index}"


class _Connection:
    """One line of JSON for each message; `receive` is for one thread, `send` for any."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._lines = connected.makefile("rb")
        self._lock = threading.Lock()

    def send(self, **message: Any) -> None:
        """Send a message; the other side's end is noticed by who receives from it."""
        data = json.dumps(message).encode() + b"\n"
        try:
            with self._lock:
                self._socket.sendall(data)
        except OSError:
            return

    def receive(self) -> Message | None:
        """Wait for a message; None when the other side has ended."""
        try:
            line = self._lines.readline()
        except OSError:
            return None
        return dict(json.loads(line)) if line.endswith(b"\n") else None

    def close(self) -> None:
        """End the connection; wakes the thread that receives."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


class _Outcome:
    """Holds on to the loss of the engine until somebody watches for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cause: str | None = None
        self._lost: Callable[[str], None] | None = None

    def watch(self, lost: Callable[[str], None]) -> None:
        """Call back when the engine is lost, at once if it is."""
        with self._lock:
            self._lost = lost
            cause = self._cause
        if cause is not None:
            lost(cause)

    def lose(self, cause: str) -> None:
        """Say that the engine is lost."""
        with self._lock:
            self._cause = cause
            lost = self._lost
        if lost is not None:
            lost(cause)


class Leader:
    """The first instance of a group, and the only one of most."""

    def __init__(self, address: str, count: int) -> None:
        self.seat = Seat(0, count, "")
        # Whether anybody publishes what the front ends tell of their statistics.
        self.publishing = False
        self._outcome = _Outcome()
        self._subscribers: dict[str, Callable[[int, Any], object]] = {}
        self._others: dict[int, _Connection] = {}
        self._left: set[int] = set()
        self._drained: set[int] = set()
        self._answered: set[int] = set()
        self._told: Message = {}
        self._lock = threading.Lock()
        self._progress = threading.Condition(self._lock)
        if count > 1:
            self._listener = _listen(address, count)
            # Or the name would stay taken for as long as the engine lives.
            os.register_at_fork(after_in_child=self._listener.close)
            self.seat = Seat(0, count, tempfile.mkdtemp(prefix="vllm-engine-"))
            threading.Thread(target=self._welcome, name="vllm-frontends", daemon=True).start()

    def watch(self, lost: Callable[[str], None], ending: Callable[[], None]) -> None:
        """Call `lost`, with a reason, when another front end has ended or has lost the engine."""
        del ending
        self._outcome.watch(lost)

    def subscribe(self, subject: str, take: Callable[[int, Any], object]) -> None:
        """Have a function called with what any front end tells on a subject, and the front end's number.

        It is called on the thread that the news arrives on, and must not raise.
        """
        self._subscribers[subject] = take

    def tell(self, subject: str, value: Any) -> None:
        """Tell the leader something, which may be JSON: here, itself."""
        self._subscribers[subject](0, value)

    def engine_is_up(self) -> None:
        """Let the others connect to the engine."""
        self._announce(up=True, publishing=self.publishing)

    def failed(self, reason: str) -> None:
        """Say that the model does not load, and why."""
        self._announce(failed=reason)
        self._remove_directory()

    def engine_died(self, cause: str) -> None:
        """Say that the engine is dead."""
        self._announce(dead=cause)

    def report_death(self, cause: str) -> None:
        """Report the engine's death once the others, too, have answered what they had: it ends the server."""
        with self._progress:
            self._progress.wait_for(lambda: len(self._answered) == self.seat.count - 1, _ANSWER_SECONDS)
        state_file.report_death(cause)

    def report_drained(self) -> None:
        """Note that this front end has answered all its requests."""
        self._note_drained(0)

    def stopping(self) -> None:
        """Say that the engine is about to be stopped in order."""
        self._announce(ending=True)

    def close(self) -> None:
        """Report that the model is no longer served: Triton ends an instance when all requests have ended."""
        self._remove_directory()
        state_file.report_drained()

    def _remove_directory(self) -> None:
        if self.seat.directory:
            shutil.rmtree(self.seat.directory, ignore_errors=True)

    def _announce(self, **message: Any) -> None:
        with self._lock:
            self._told = message
            others = list(self._others.values())
        for other in others:
            other.send(**message)

    def _welcome(self) -> None:
        while len(self._others) < self.seat.count - 1:
            connected, _ = self._listener.accept()
            if not _is_sibling(connected):
                connected.close()
                continue
            other = _Connection(connected)
            message = other.receive()
            if message is None:
                continue
            index = int(message["join"])
            other.send(directory=self.seat.directory)
            with self._lock:
                self._others[index] = other
                told = self._told
            if told:
                other.send(**told)
            threading.Thread(
                target=self._follow, args=(index, other), name=f"vllm-frontend-{index}", daemon=True
            ).start()
        # Free for the next load of this model in this server.
        self._listener.close()

    def _follow(self, index: int, other: _Connection) -> None:
        while (message := other.receive()) is not None:
            if "leaving" in message:
                self._left.add(index)
            elif "drained" in message:
                self._note_drained(index)
            elif "answered" in message:
                self._note_answered(index)
            elif "dead" in message:
                self._outcome.lose(message["dead"])
            else:
                ((subject, value),) = message.items()
                self._subscribers[subject](index, value)
        self._note_answered(index)
        if index not in self._left and not self._told.keys() & {"ending", "failed"}:
            self._outcome.lose(f"the model's instance {index} ended")

    def _note_answered(self, index: int) -> None:
        with self._progress:
            self._answered.add(index)
            self._progress.notify_all()

    def _note_drained(self, index: int) -> None:
        with self._lock:
            self._drained.add(index)
            all_drained = len(self._drained) == self.seat.count
        if all_drained:
            state_file.report_drained()


class Follower:
    """Any other instance of a group."""

    def __init__(self, address: str, index: int, count: int) -> None:
        self.publishing = False
        self._outcome = _Outcome()
        self._ending: Callable[[], None] = lambda: None
        self._up = threading.Event()
        self._failure: str | None = None
        self._leaving = False
        connected = _connect(address)
        self._connection = _Connection(connected)
        connected.settimeout(_JOIN_SECONDS)
        self._connection.send(join=index)
        message = self._connection.receive()
        if message is None:
            raise ModelInvalid(_LEADER_GONE)
        connected.settimeout(None)
        self.seat = Seat(index, count, message["directory"])
        threading.Thread(target=self._follow, name="vllm-frontends", daemon=True).start()

    def watch(self, lost: Callable[[str], None], ending: Callable[[], None]) -> None:
        """Call `lost`, with a reason, when the engine is dead or its leader gone; `ending` before its end."""
        self._ending = ending
        self._outcome.watch(lost)

    def subscribe(self, subject: str, take: Callable[[int, Any], object]) -> None:
        """Leave it to the leader, whom all is told."""

    def tell(self, subject: str, value: Any) -> None:
        """Tell the leader something, which may be JSON."""
        self._connection.send(**{subject: value})

    def wait_for_engine(self) -> None:
        """Wait until the leader has the engine running; raises its own reason if it gives up."""
        self._up.wait()
        if self._failure is not None:
            raise ModelInvalid(self._failure)

    def engine_is_up(self) -> None:
        """Nobody waits for this front end's word."""

    def failed(self, reason: str) -> None:
        """Leave: Triton ends the other instances of a model that does not load."""
        del reason
        self._leave()

    def engine_died(self, cause: str) -> None:
        """Tell the leader, which may not have noticed."""
        self._connection.send(dead=cause)

    def report_death(self, cause: str) -> None:
        """Tell the leader, who reports it, that all open requests are answered."""
        del cause
        self._connection.send(answered=True)

    def report_drained(self) -> None:
        """Tell the leader that this front end has answered all its requests."""
        self._connection.send(drained=True)

    def stopping(self) -> None:
        """The leader's to say."""

    def close(self) -> None:
        """Leave in order."""
        self._leave()

    def _leave(self) -> None:
        self._leaving = True
        self._connection.send(leaving=True)
        self._connection.close()

    def _follow(self) -> None:
        ending = False
        while (message := self._connection.receive()) is not None:
            if "up" in message:
                self.publishing = message["publishing"]
                self._up.set()
            elif "ending" in message:
                ending = True
                self._ending()
            elif "failed" in message or not self._up.is_set():
                self._fail(message.get("failed") or message["dead"])
            else:
                self._outcome.lose(message["dead"])
        if not self._up.is_set():
            self._fail(_LEADER_GONE)
        elif not (ending or self._leaving):
            self._outcome.lose("the model's first instance ended")

    def _fail(self, reason: str) -> None:
        self._failure = reason
        self._up.set()


def open_seat(name: str, version: str, group: str, index: int, count: int) -> Leader | Follower:
    """Take this instance's place in its group; returns once it is known where the engine is to be reached."""
    # An abstract address: it goes with the process. It is the network namespace's, where process ids of
    # several containers may meet, and it may be only so long.
    place = f"{os.readlink('/proc/self/ns/pid')}/{os.getppid()}/{name}/{version}/{group}"
    address = f"\0vllm-engine-{hashlib.sha256(place.encode()).hexdigest()[:32]}"
    return Leader(address, count) if index == 0 else Follower(address, index, count)


def _listen(address: str, count: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ModelInvalid(f"the model's other instances cannot be waited for: {error.strerror}.") from None
    listener.listen(count)
    return listener


def _connect(address: str) -> socket.socket:
    deadline = time.monotonic() + _JOIN_SECONDS
    while time.monotonic() < deadline:
        connected = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            connected.connect(address)
            if _is_sibling(connected):
                return connected
        connected.close()
        time.sleep(_RETRY_SECONDS)
    raise ModelInvalid(f"the model's first instance could not be reached within {_JOIN_SECONDS:g} s.")


def _is_sibling(connected: socket.socket) -> bool:
    """Whether the other side is a stub of the same server."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, _, _ = _CREDENTIALS.unpack(raw)
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return f"\nPPid:\t{os.getppid()}\n" in status
