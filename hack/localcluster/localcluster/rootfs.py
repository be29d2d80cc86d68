"""The base root filesystem of locally built images: a minimal Debian, made once per list of packages."""

import hashlib
import platform
import re
import shutil
from pathlib import Path

from localcluster.cache import LOCALCLUSTER, Cache, remove_tree
from localcluster.commands import run_logged
from localcluster.prerequisites import require_disk, require_root, require_tools
from localcluster.progress import step

SUITE = "bookworm"
PACKAGE_LIST = LOCALCLUSTER / "rootfs.packages"
UNWANTED = (
    "dev",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
)


def packages() -> list[str]:
    """The packages beyond Debian's minimal set, one a line in rootfs.packages."""
    lines = PACKAGE_LIST.read_text().splitlines()
    return sorted({line.strip() for line in lines if line.strip() and not line.startswith("#")})


def ensure_rootfs(cache: Cache) -> Path:
    """Return the folder of the base root filesystem, made now if this list has not been built yet."""
    folder = cache.rootfs / f"{SUITE}-{rootfs_key()}"
    if folder.exists():
        return folder
    with cache.locked("rootfs"):
        if not folder.exists():
            _make(cache, folder)
    return folder


def rootfs_key() -> str:
    """What the base's content depends on."""
    return hashlib.sha256(
        "\n".join([SUITE, platform.machine(), *packages(), *UNWANTED]).encode()
    ).hexdigest()[:16]


def _make(cache: Cache, folder: Path) -> None:
    require_root("Making the base root filesystem")
    require_disk(cache, 2, "Making the base root filesystem")
    require_tools(cache, ["debootstrap"])
    partial = folder.with_name(f"{folder.name}.partial")
    remove_tree(partial)
    partial.parent.mkdir(parents=True, exist_ok=True)
    argv = ["debootstrap", "--variant=minbase", f"--include={','.join(packages())}", SUITE, str(partial)]
    log = cache.log("rootfs")
    with step(f"making the Debian {SUITE} base root filesystem (about 1 min)", log):
        run_logged(argv + [mirror for mirror in [_mirror()] if mirror], log)
    for name in UNWANTED:
        remove_tree(partial / name)
        (partial / name).mkdir()
    # The mirror of this machine means nothing on another one.
    remove_tree(partial / "etc/apt/sources.list")
    shutil.rmtree(partial / "etc/apt/sources.list.d", ignore_errors=True)
    partial.rename(folder)


def _mirror() -> str:
    """The mirror this machine itself installs Debian packages from, if it runs the same suite."""
    for path in sorted(Path("/etc/apt").glob("sources.list.d/*.sources")):
        for stanza in path.read_text().split("\n\n"):
            suites = re.search(r"^Suites:(.*)$", stanza, re.MULTILINE)
            uris = re.search(r"^URIs:\s*(\S+)", stanza, re.MULTILINE)
            if suites and uris and SUITE in suites.group(1).split():
                return uris.group(1)
    for path in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.list"))]:
        text = path.read_text() if path.exists() else ""
        found = re.search(rf"^deb\s+(?:\[.*?\]\s+)?(\S+)\s+{SUITE}\s", text, re.MULTILINE)
        if found:
            return found.group(1)
    return ""
