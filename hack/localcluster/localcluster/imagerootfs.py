"""A stored image as a writable root filesystem to run programs in, without Kubernetes.

The overlay is mounted in a mount namespace of its own, held by a supervisor that ends with this process. Each
program is the first process of a PID namespace of its own, as in a container, on this machine's network.
"""

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from localcluster import description
from localcluster.cache import Cache, remove_tree
from localcluster.errors import LocalClusterError
from localcluster.imagestore import ImageStore
from localcluster.prerequisites import require_root, require_tools
from localcluster.supervised import OWN_MOUNTS_AND_PIDS, Supervised, lock_is_held

PREFIX = "image-"
START_SECONDS = 10.0
TOOLS = ("unshare", "nsenter", "mount")


class ImageProcess:
    """A program in an image's root; like subprocess.Popen, but signals reach the program itself."""

    def __init__(self, outer: subprocess.Popen[Any]) -> None:
        self._outer = outer
        self.stdin: IO[Any] | None = outer.stdin
        self.stdout: IO[Any] | None = outer.stdout
        self.stderr: IO[Any] | None = outer.stderr
        self.pid = self._find()

    @property
    def returncode(self) -> int | None:
        """The exit status once it has ended; one that a signal ended has some status that is not 0."""
        return self._outer.poll()

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        return self._outer.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        return self._outer.wait(timeout)

    def communicate(self, timeout: float | None = None) -> tuple[Any, Any]:
        """Read everything it prints and wait for its end."""
        return self._outer.communicate(timeout=timeout)

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        if self._outer.poll() is None and self.pid:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it; everything it has started ends with it."""
        self.send_signal(signal.SIGKILL)

    def _find(self) -> int:
        """Its number as seen from here: nsenter's grandchild, the child of unshare."""
        deadline = time.monotonic() + START_SECONDS
        while self._outer.poll() is None and time.monotonic() < deadline:
            for unshare in _children(self._outer.pid):
                for program in _children(unshare):
                    return program
            time.sleep(0.005)
        return 0


class ImageRootfs:
    """`with ImageRootfs(tag) as root: root.run(["python3", "-c", "..."])`; nothing is left afterwards."""

    def __init__(
        self,
        tag: str,
        *,
        binds: Mapping[str, str] | None = None,
        cache: Cache | None = None,
    ) -> None:
        self.cache = cache or Cache.default()
        self.record = ImageStore(self.cache).record(tag)
        self.binds = {Path(source).resolve(): Path(target) for source, target in (binds or {}).items()}
        self.directory = self.cache.clusters / f"{PREFIX}{secrets.token_hex(4)}"
        self.supervised = Supervised(self.directory)
        self._mounted = self.directory / "root"

    def __enter__(self) -> Self:
        require_root("Mounting an image")
        require_tools(self.cache, TOOLS)
        with self.cache.locked("clusters"):
            sweep(self.cache)
            for name in ("root", "upper", "work"):
                (self.directory / name).mkdir(parents=True)
            description.update(self.directory, images=[self.record.key])
            self.supervised.start([], namespaces=OWN_MOUNTS_AND_PIDS, setup=self._setup(), attached=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.supervised.stop(gracefully=False)
        remove_tree(self.directory)

    @property
    def path(self) -> Path:
        """The root filesystem as this process can read and write it."""
        return Path(f"/proc/{self.supervised.namespace_pid}/root{self._mounted}")

    @property
    def environment(self) -> dict[str, str]:
        """The environment that the image sets."""
        return dict(setting.partition("=")[::2] for setting in self.record.config.get("Env") or [])

    @property
    def entrypoint(self) -> list[str]:
        """What the image runs."""
        config = self.record.config
        return [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]

    def popen(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        user: int = 0,
        group: int | None = None,
        cwd: str = "/",
        **options: Any,
    ) -> ImageProcess:
        """Start a program in the root; env is added to the image's own, options are those of Popen."""
        return ImageProcess(
            subprocess.Popen(
                self._command(argv, user, user if group is None else group, cwd),
                env={**self.environment, **(env or {})},
                **options,
            )
        )

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        user: int = 0,
        group: int | None = None,
        cwd: str = "/",
        timeout: float = 120,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the root to its end."""
        running = self.popen(
            argv,
            env=env,
            user=user,
            group=group,
            cwd=cwd,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            printed, complained = running.communicate(timeout)
        except subprocess.TimeoutExpired:
            running.kill()
            raise
        finished = subprocess.CompletedProcess[str](list(argv), running.wait(), printed, complained)
        if check and finished.returncode != 0:
            raise LocalClusterError(
                f"{argv[0]} in {self.record.tag} exited with {finished.returncode}: {complained}"
            )
        return finished

    def _command(self, argv: Sequence[str], user: int, group: int, cwd: str) -> list[str]:
        enter = [_tool("nsenter"), "-t", str(self.supervised.namespace_pid), "-m", "-p", "--"]
        own = [
            _tool("unshare"),
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            f"--mount-proc={self._mounted}/proc",
        ]
        change = [_tool("chroot"), f"--userspec={user}:{group}", f"--groups={group}", str(self._mounted)]
        return [*enter, *own, *change, *(["env", "-C", cwd] if cwd != "/" else []), *argv]

    def _setup(self) -> list[list[str]]:
        """Mount commands: overlay, devices, shared memory, and what the caller wants to see inside."""
        root = str(self._mounted)
        # Relative to their common folder: a mount's options have to fit in one page.
        lower = ":".join(os.path.relpath(layer, self._snapshots) for layer in self.record.layers)
        options = f"lowerdir={lower},upperdir={self.directory}/upper,workdir={self.directory}/work"
        commands = [
            ["sh", "-c", f"cd {self._snapshots} && exec mount -t overlay overlay -o {options} {root}"],
            ["mkdir", "-p", f"{root}/proc", f"{root}/sys", f"{root}/dev", f"{root}/tmp"],
            ["chmod", "1777", f"{root}/tmp"],
            ["mount", "--rbind", "/dev", f"{root}/dev"],
            ["mount", "-t", "tmpfs", "-o", "mode=1777", "localcluster", f"{root}/dev/shm"],
            ["mount", "-t", "sysfs", "-o", "ro", "sysfs", f"{root}/sys"],
        ]
        for source, target in self.binds.items():
            inside = f"{root}/{str(target).lstrip('/')}"
            make = ["mkdir", "-p", inside]
            if source.is_file():
                make = ["sh", "-c", f"mkdir -p {os.path.dirname(inside)} && touch {inside}"]
            commands += [make, ["mount", "--rbind", str(source), inside]]
        return commands

    @property
    def _snapshots(self) -> Path:
        return Path(self.record.layers[0]).parent.parent


def sweep(cache: Cache) -> None:
    """Remove what killed runs have left; the caller holds the lock under which they are made."""
    for directory in cache.clusters.glob(f"{PREFIX}*"):
        if not lock_is_held(directory / "lock"):
            Supervised(directory).stop(gracefully=False)
            remove_tree(directory)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise LocalClusterError(f"{name} is not installed on this machine")
    return found
