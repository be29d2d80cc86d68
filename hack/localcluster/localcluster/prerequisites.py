"""What this machine must have, checked and named in one sentence before anything starts."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from localcluster.cache import Cache
from localcluster.commands import run_logged
from localcluster.errors import LocalClusterError
from localcluster.progress import step

GIB = 1024**3
GO_MINIMUM = (1, 26)

# Program -> the Debian package that brings it.
DEBIAN_PACKAGES = {
    "runc": "runc",
    "nft": "nftables",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
}
BUILD_TOOLS = ("runc", "debootstrap", "unshare", "nsenter", "mount")
NODE_TOOLS = ("runc", "nft", "ip", "unshare", "nsenter", "mount")


def require_linux() -> None:
    """Refuse any other operating system."""
    if sys.platform != "linux":
        raise LocalClusterError(
            "The local cluster needs Linux: it runs kubelet and containerd on this machine."
        )


def require_root(what: str) -> None:
    """Refuse to go on without root, saying what needs it."""
    require_linux()
    if os.geteuid() != 0:
        raise LocalClusterError(f"{what} needs root: run the same command with sudo.")


def require_disk(cache: Cache, gib: float, what: str) -> None:
    """Refuse to go on with too little free disk under the cache."""
    existing = cache.root
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free / GIB
    if free < gib:
        raise LocalClusterError(
            f"{what} needs {gib:.0f} GiB of free disk under {cache.root}, and {free:.1f} GiB are free "
            "(XDG_CACHE_HOME moves the cache to another disk)."
        )


def require_memory(gib: float, what: str) -> None:
    """Refuse to go on with too little available memory."""
    meminfo = Path("/proc/meminfo").read_text()
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo, re.MULTILINE)
    available = int(found.group(1)) * 1024 / GIB if found else 0.0
    if available < gib:
        raise LocalClusterError(
            f"{what} needs {gib:.1f} GiB of available memory, and this machine has {available:.1f} GiB."
        )


def require_go() -> str:
    """Return the version of the Go toolchain, which must be new enough to build Kubernetes."""
    wanted = ".".join(map(str, GO_MINIMUM))
    if shutil.which("go") is None:
        raise LocalClusterError(f"Building the cluster's programs needs Go {wanted} or newer on PATH.")
    spelled = subprocess.run(
        ["go", "env", "GOVERSION"], capture_output=True, text=True, check=True
    ).stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", spelled)
    if found is None or (int(found.group(1)), int(found.group(2))) < GO_MINIMUM:
        raise LocalClusterError(
            f"Building the cluster's programs needs Go {wanted} or newer, and PATH has {spelled}."
        )
    return spelled


def require_tools(cache: Cache, tools: Sequence[str]) -> None:
    """Install the Debian packages of the missing tools, or name what is missing where there is no apt."""
    missing = sorted({tool for tool in tools if shutil.which(tool) is None})
    if not missing:
        return
    packages = sorted({DEBIAN_PACKAGES[tool] for tool in missing})
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise LocalClusterError(
            f"Missing {', '.join(missing)}: install the packages {' '.join(packages)} and try again."
        )
    with cache.locked("apt"), step(f"installing the Debian packages {' '.join(packages)}", cache.log("apt")):
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        wait = ["-o", "DPkg::Lock::Timeout=600"]
        run_logged(["apt-get", *wait, "update"], cache.log("apt-update"), env=quiet)
        install = ["apt-get", *wait, "install", "-y", "--no-install-recommends", *packages]
        run_logged(install, cache.log("apt"), env=quiet)
