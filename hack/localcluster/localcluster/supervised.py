"""The other end of supervise.py: start a set of programs, command them, wait for them, end them."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localcluster.errors import LocalClusterError
from localcluster.progress import tail

SUPERVISE = Path(__file__).with_name("supervise.py")
POLL_SECONDS = 0.02
DYING_SECONDS = 10.0
NO_NAMESPACES: tuple[str, ...] = ()
# --kill-child: a SIGKILL of unshare ends the first process of the namespace, and with it all others in there.
OWN_MOUNTS_AND_PIDS = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
OWN_NETWORK_TOO = (*OWN_MOUNTS_AND_PIDS, "--net")


@dataclass(frozen=True)
class Program:
    """One program to supervise."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    autostart: bool = True


class Supervised:
    """A running set of programs, known by its directory: another command can find and end it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._spawned: subprocess.Popen[bytes] | None = None

    def start(
        self,
        programs: Sequence[Program],
        *,
        namespaces: Sequence[str] = NO_NAMESPACES,
        setup: Sequence[Sequence[str]] = (),
        attached: bool,
        stop_seconds: float = 10.0,
        timeout: float = 30,
    ) -> None:
        """Start the programs; attached ones end with this process, also if it is killed."""
        self.directory.mkdir(parents=True, exist_ok=True)
        components = [
            {"name": one.name, "argv": list(one.argv), "env": dict(one.env), "autostart": one.autostart}
            for one in programs
        ]
        spec = {"components": components, "setup": setup, "attached": attached, "stop_seconds": stop_seconds}
        (self.directory / "spec.json").write_text(json.dumps(spec, indent=1))
        (self.directory / "state.json").unlink(missing_ok=True)
        control = self.directory / "control"
        if not control.is_fifo():
            os.mkfifo(control, 0o600)
        with (self.directory / "supervisor.log").open("ab") as log:
            self._spawned = subprocess.Popen(
                [*namespaces, sys.executable, "-P", "-S", str(SUPERVISE), str(self.directory)],
                stdin=subprocess.PIPE if attached else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,
            )
        (self.directory / "pid").write_text(str(self._spawned.pid))
        (self.directory / "pid-namespace").write_text("")
        self.wait("the supervisor is up", lambda: bool(self.state().get("ready")), timeout)
        if namespaces:
            (self.directory / "pid-namespace").write_text(_link(f"/proc/{self.namespace_pid}/ns/pid"))

    @property
    def pid(self) -> int:
        """The process to signal from outside: `unshare` where there are namespaces, else the supervisor."""
        return int((self.directory / "pid").read_text())

    @property
    def namespace_pid(self) -> int:
        """The first process inside the namespaces, as seen from this one."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        if not children:
            raise LocalClusterError(f"{self.directory.name} has ended; see {self.directory}/supervisor.log.")
        return int(children[0])

    def state(self) -> dict[str, Any]:
        """What the supervisor last published ({} before it did)."""
        try:
            published: dict[str, Any] = json.loads((self.directory / "state.json").read_text())
        except FileNotFoundError:
            return {}
        return published

    def alive(self) -> bool:
        """Say whether a supervisor holds the directory: its lock ends with it, unlike a number in a file."""
        return lock_is_held(self.directory / "lock")

    def command(self, *words: str, timeout: float = 30) -> None:
        """Give one command and wait until the supervisor has carried it out."""
        number = int(self.state().get("handled", 0)) + 1
        with (self.directory / "control").open("w") as control:
            control.write(f"{number} {' '.join(words)}\n")
        self.wait(" ".join(words), lambda: int(self.state().get("handled", 0)) >= number, timeout)

    def running(self, name: str) -> bool:
        """Say whether a component has a process."""
        return name in self.state().get("running", {})

    def wait(self, what: str, condition: Callable[[], bool], timeout: float) -> None:
        """Wait for a condition; say at once if a component ended instead."""
        deadline = time.monotonic() + timeout
        while not condition():
            self._raise_if_failed()
            if time.monotonic() > deadline:
                raise LocalClusterError(
                    f"{self.directory.name}: not within {timeout:.0f} s: {what}.\n{self.log_ends()}"
                )
            time.sleep(POLL_SECONDS)

    def log_ends(self) -> str:
        """The last lines of every log, for an error message."""
        logs = sorted(self.directory.glob("*.log"))
        return "\n".join(f"--- {log}\n{tail(log, 8)}" for log in logs if tail(log))

    def stop(self, *, gracefully: bool = True, timeout: float = 60) -> None:
        """End the programs, asked first or killed at once. It returns when no process of theirs is left."""
        if gracefully and self.alive():
            try:
                self.command("quit", timeout=timeout)
                wait_until(lambda: not self.alive(), timeout)
            except (LocalClusterError, OSError):
                pass  # it does not listen, so it is killed
        deadline = time.monotonic() + timeout
        while members := self.members():
            if time.monotonic() > deadline:
                raise LocalClusterError(f"{self.directory.name}: processes {members} do not end.")
            for pid in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(POLL_SECONDS)
        # Only waited for, never killed: the kernel may have given the number to somebody else's namespace.
        wait_until(lambda: not self.inhabitants(), DYING_SECONDS)
        if self._spawned is not None:
            if self._spawned.stdin is not None:
                self._spawned.stdin.close()
            self._spawned.wait(timeout)
            self._spawned = None

    def members(self) -> list[int]:
        """The supervisor's processes, found by their command line, and components without a namespace."""
        noted = {int(pid) for pid in self.state().get("running", {}).values()}
        here = str(self.directory)
        return [
            pid
            for pid in _all_pids()
            if _is_supervisor_of(pid, here) or (pid in noted and _link(f"/proc/{pid}/cwd") == here)
        ]

    def inhabitants(self) -> list[int]:
        """Every process in the PID namespace that was made for this set: all of its programs, pods too."""
        namespace = _read(self.directory / "pid-namespace")
        return [pid for pid in _all_pids() if namespace and _link(f"/proc/{pid}/ns/pid") == namespace]

    def _raise_if_failed(self) -> None:
        failed = self.state().get("failed")
        ended = self._spawned is not None and self._spawned.poll() is not None
        if failed or ended:
            raise LocalClusterError(f"{self.directory.name}: {failed or 'it ended'}.\n{self.log_ends()}")


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Wait for a condition and say whether it came true in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def lock_is_held(path: Path) -> bool:
    """Say whether some process holds the lock of this file."""
    try:
        with path.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _all_pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _is_supervisor_of(pid: int, directory: str) -> bool:
    """Whether a process is a supervisor of this directory, or the `unshare` around it."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return False
    return words[-1:] == [directory] and any(word.endswith(f"/{SUPERVISE.name}") for word in words)


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
