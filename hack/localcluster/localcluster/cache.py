"""The folder outside the work tree where everything built or run by this package lives, and its locks."""

import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcluster.progress import say

LOCALCLUSTER = Path(__file__).resolve().parent.parent
REPOSITORY = LOCALCLUSTER.parent.parent


@dataclass(frozen=True)
class Cache:
    """Paths below one cache folder; content-addressed, so any number of work trees may share it."""

    root: Path

    @classmethod
    def default(cls) -> "Cache":
        """The cache of this user: $XDG_CACHE_HOME/triton-vllm-operator."""
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        return cls(Path(base).resolve() / "triton-vllm-operator")

    @property
    def binaries(self) -> Path:
        """One folder per set of built programs."""
        return self.root / "bin"

    @property
    def go(self) -> Path:
        """Go's module and build caches, kept here so that `clean` gives them back."""
        return self.root / "go"

    @property
    def rootfs(self) -> Path:
        """One Debian base root filesystem per package list."""
        return self.root / "rootfs"

    @property
    def store(self) -> Path:
        """The image store that BuildKit builds into and that nodes are copied from."""
        return self.root / "store"

    @property
    def clusters(self) -> Path:
        """One folder per cluster or control plane that runs or has left something behind."""
        return self.root / "clusters"

    @property
    def logs(self) -> Path:
        """Logs of builds."""
        return self.root / "logs"

    @property
    def mark(self) -> str:
        """Tells this cache's control groups from those of another cache on the machine."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:6]

    def log(self, name: str) -> Path:
        """The log file of one build, its folder made."""
        self.logs.mkdir(parents=True, exist_ok=True)
        return self.logs / f"{name}.log"

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold one named lock; different names never wait for each other."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"waiting for another command that holds the {name} lock")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def remove_tree(path: Path) -> None:
    """Remove a folder and everything in it, also where a build tool took the write bits away."""

    def make_writable(function: Callable[[str], Any], name: str, error: Any) -> None:
        if isinstance(error[1], FileNotFoundError):
            return
        parent = os.path.dirname(name)
        os.chmod(parent, os.stat(parent).st_mode | stat.S_IRWXU)
        function(name)

    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    elif path.exists():
        shutil.rmtree(path, onerror=make_writable)
