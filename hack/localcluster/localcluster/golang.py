"""Settings of the Go toolchain that every build of this package shares."""

import os

from localcluster.cache import Cache
from localcluster.commands import run


def go_environment(cache: Cache) -> dict[str, str]:
    """Go's settings for these builds: own caches, no C compiler, the machine's own proxy settings kept."""
    flags = os.environ.get("GOFLAGS") or run(["go", "env", "GOFLAGS"]).strip()
    return {
        "GOMODCACHE": str(cache.go / "mod"),
        "GOCACHE": str(cache.go / "build"),
        "GOFLAGS": f"{flags} -modcacherw".strip(),
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }
