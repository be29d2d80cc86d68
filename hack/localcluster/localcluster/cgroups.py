"""Control groups: the one thing of a node that does not end with its processes."""

import os
import time
from pathlib import Path

from localcluster.errors import LocalClusterError

ROOT = Path("/sys/fs/cgroup")
REMOVE_SECONDS = 10.0
CPU_SHARES_PER_CORE = 1024


def hierarchies() -> list[Path]:
    """Every mounted hierarchy: one on cgroup v2, one per controller on v1."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return sorted({path.resolve() for path in ROOT.iterdir() if (path / "cgroup.procs").exists()})


def make(name: str) -> None:
    """Make a group of this name in every hierarchy."""
    for hierarchy in hierarchies():
        group = hierarchy / name
        group.mkdir(parents=True, exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # On cgroup v1 a new cpuset is empty, and no process may enter it as it is.
            if hierarchy.name == "cpuset" and not (group / setting).read_text().strip():
                (group / setting).write_text((hierarchy / setting).read_text())
        # What a kubelet gives all pods together. On version 2 the default is more than that.
        if hierarchy.name == "cpu":
            (group / "cpu.shares").write_text(str(CPU_SHARES_PER_CORE * (os.cpu_count() or 1)))


def existing(name: str) -> list[Path]:
    """The groups of this name that exist."""
    return [hierarchy / name for hierarchy in hierarchies() if (hierarchy / name).exists()]


def remove(name: str) -> None:
    """Remove the groups of this name and all below; they are empty once their processes have ended."""
    deadline = time.monotonic() + REMOVE_SECONDS
    for group in existing(name):
        while group.exists():
            busy = _remove_tree(group)
            if busy is not None and time.monotonic() > deadline:
                raise LocalClusterError(f"The control group {group} cannot be removed: {busy}.")
            if busy is not None:
                time.sleep(0.05)


def _remove_tree(group: Path) -> OSError | None:
    for folder, _, _ in os.walk(group, topdown=False):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            return error
    return None
