"""The parent of one set of long-running programs: all of them end with it, however it ends.

Run as `python -P supervise.py DIRECTORY`, alone (a control plane) or as the first process of new namespaces
(a node, a build, an image's root). It reads DIRECTORY/spec.json, takes DIRECTORY/lock while it lives, runs
the setup commands, starts the components, and obeys lines written to the pipe DIRECTORY/control. It imports
the standard library and nothing of this package: it starts in a few dozen milliseconds.
"""

import ctypes
import fcntl
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

STOP_SECONDS = 10.0
LOCK_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Ask the kernel to end this process with its parent: the answer to a SIGKILL of the supervisor."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Component:
    """One program, and whether it is meant to be running."""

    name: str
    argv: list[str]
    env: dict[str, str]
    autostart: bool
    child: subprocess.Popen[bytes] | None = None
    wanted: bool = False


@dataclass
class Supervisor:
    """The components of one directory."""

    directory: Path
    attached: bool
    stop_seconds: float
    components: dict[str, Component]
    handled: int = 0
    failed: str = ""
    ending: bool = False
    logs: list[IO[bytes]] = field(default_factory=list)

    def start(self, component: Component) -> None:
        """Start one component, its output appended to a log of its own."""
        with (self.directory / f"{component.name}.log").open("ab") as log:
            component.wanted = True
            component.child = subprocess.Popen(
                component.argv,
                env={**os.environ, **component.env},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )

    def obey(self, line: str) -> None:
        """Carry out one line: `ID quit`, `ID start NAME`, `ID stop NAME` or `ID signal NAME NUMBER`."""
        words = line.split()
        if words[1] == "quit":
            self.ending = True
        else:
            component = self.components[words[2]]
            running = component.child is not None and component.child.poll() is None
            if words[1] == "start" and not running:
                self.start(component)
            elif words[1] == "stop" and running:
                self.signal(component, signal.SIGTERM)
            elif words[1] == "signal" and running:
                self.signal(component, int(words[3]))
        self.handled = int(words[0])

    def signal(self, component: Component, number: int) -> None:
        """Send a signal; after one that ends a program, its end is no failure."""
        if number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
            component.wanted = False
        if component.child is not None:
            component.child.send_signal(number)

    def reap(self) -> None:
        """Collect ended children; a component that ended unasked ends everything, with its name."""
        for component in self.components.values():
            if component.child is not None and component.child.poll() is not None:
                code = component.child.returncode
                component.child = None
                if component.wanted and not self.ending:
                    self.failed = f"{component.name} exited with {code}"
                    self.ending = True
        if os.getpid() == 1:
            self.reap_orphans()

    def reap_orphans(self) -> None:
        """Collect the orphans that the first process of a PID namespace inherits, and only those."""
        own = {component.child.pid for component in self.components.values() if component.child is not None}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) in own:
                continue
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] == "Z" and fields[1] == "1":
                    os.waitpid(int(entry.name), os.WNOHANG)
            except (OSError, ChildProcessError):
                continue

    def publish(self) -> None:
        """Write what is running to state.json, for whoever gave the commands."""
        running = {
            name: component.child.pid
            for name, component in self.components.items()
            if component.child is not None
        }
        state = {"running": running, "handled": self.handled, "failed": self.failed, "ready": True}
        partial = self.directory / "state.json.partial"
        partial.write_text(json.dumps(state))
        partial.rename(self.directory / "state.json")

    def run(self) -> None:
        """Obey, reap and publish until told to end."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        control = os.open(self.directory / "control", os.O_RDWR | os.O_NONBLOCK)
        for component in self.components.values():
            if component.autostart:
                self.start(component)
        self.publish()
        with selectors.DefaultSelector() as selector:
            selector.register(wake_read, selectors.EVENT_READ)
            selector.register(control, selectors.EVENT_READ)
            if self.attached:
                selector.register(0, selectors.EVENT_READ)
            while not self.ending:
                for key, _ in selector.select():
                    self.receive(key.fd, control, wake_read)
                self.reap()
                self.publish()
        self.end()
        self.publish()

    def receive(self, source: int, control: int, wake: int) -> None:
        """Read what one descriptor has to say: commands, signals, or the end of the process we belong to."""
        content = os.read(source, 65536)
        if source == control:
            for line in content.decode().splitlines():
                self.obey(line)
        elif source == wake:
            if signal.SIGTERM in content or signal.SIGINT in content:
                self.ending = True
        elif not content:
            self.ending = True

    def end(self) -> None:
        """End the components in the reverse order of their start: first with SIGTERM, then for good."""
        for component in reversed(self.components.values()):
            if component.child is None:
                continue
            component.child.send_signal(signal.SIGCONT)
            component.child.terminate()
            try:
                component.child.wait(self.stop_seconds)
            except subprocess.TimeoutExpired:
                component.child.kill()
                component.child.wait()
            component.child = None


def load(directory: Path) -> tuple[Supervisor, list[list[str]]]:
    """Read spec.json."""
    spec: dict[str, Any] = json.loads((directory / "spec.json").read_text())
    components = {
        one["name"]: Component(one["name"], one["argv"], one.get("env", {}), one.get("autostart", True))
        for one in spec["components"]
    }
    stop_seconds = float(spec.get("stop_seconds", STOP_SECONDS))
    return Supervisor(directory, spec["attached"], stop_seconds, components), spec.get("setup", [])


def take_lock(path: Path) -> IO[str]:
    """Take the directory's lock; who looks whether it is held takes it for a moment, hence the few tries."""
    lock = path.open("w")
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return lock


def main() -> int:
    """Take the lock, set up, run."""
    directory = Path(sys.argv[1])
    lock = take_lock(directory / "lock")
    supervisor, setup = load(directory)
    for argv in setup:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            supervisor.failed = f"{' '.join(argv)}: {done.stderr.strip()}"
            supervisor.publish()
            return 1
    began = time.monotonic()
    supervisor.run()
    lock.close()
    sys.stderr.write(f"ran {time.monotonic() - began:.1f} s; {supervisor.failed or 'ended as asked'}\n")
    return 1 if supervisor.failed else 0


if __name__ == "__main__":
    sys.exit(main())
