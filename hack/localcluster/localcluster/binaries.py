"""Building the Go programs once per content: the same sources, versions and flags are never built twice."""

import hashlib
import platform
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from localcluster.cache import Cache
from localcluster.commands import run_logged
from localcluster.golang import go_environment
from localcluster.kubernetesmodule import module_for
from localcluster.prerequisites import require_disk, require_go
from localcluster.progress import step
from localcluster.toolsets import CONTAINERS, NETWORK, Toolset, helm, kubernetes


def kubernetes_binaries(cache: Cache, version: str) -> Path:
    """The folder with etcd, kube-apiserver, ..., kubectl of one Kubernetes version."""
    return ensure(cache, kubernetes(module_for(cache, version), version))


def container_binaries(cache: Cache) -> Path:
    """The folder with containerd, its shim, ctr, buildkitd and buildctl."""
    return ensure(cache, CONTAINERS)


def network_binaries(cache: Cache) -> Path:
    """The folder with the CNI plugins."""
    return ensure(cache, NETWORK)


def helm_binary(cache: Cache) -> Path:
    """The helm program."""
    return ensure(cache, helm()) / "helm"


def ensure_all(cache: Cache, toolsets: Sequence[Toolset]) -> list[Path]:
    """Build several toolsets side by side."""
    with ThreadPoolExecutor(max_workers=len(toolsets)) as pool:
        return list(pool.map(lambda toolset: ensure(cache, toolset), toolsets))


def ensure(cache: Cache, toolset: Toolset) -> Path:
    """Return the folder of a toolset's programs, built now if no earlier build has the same content."""
    folder = cache.binaries / f"{toolset.name}-{_content_key(toolset)}"
    if folder.exists():
        return folder
    with cache.locked(f"build-{toolset.name}"):
        if not folder.exists():
            _build(cache, toolset, folder)
    return folder


def _build(cache: Cache, toolset: Toolset, folder: Path) -> None:
    require_go()
    require_disk(cache, 6, f"Building {toolset.name}")
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    log = cache.log(f"build-{toolset.name}")
    what = f"building {toolset.name} (about {toolset.cold_minutes:.0f} min on 2 cores when nothing is cached)"
    output = partial / "kubernetes" if toolset.packages == (".",) else partial
    settings = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in toolset.variables.items())])
    argv = ["nice", "-n", "5", "go", "build", "-v", "-trimpath", "-ldflags", settings]
    argv += ["-tags", ",".join(toolset.tags), "-o", f"{output}{'/' if output == partial else ''}"]
    with step(what, log):
        run_logged([*argv, *toolset.packages], log, env=go_environment(cache), cwd=toolset.module)
    for name in toolset.links:
        (partial / name).symlink_to("kubernetes")
    partial.rename(folder)


def _content_key(toolset: Toolset) -> str:
    content = hashlib.sha256()
    for part in (
        *toolset.packages,
        *toolset.tags,
        *sorted(map(str, toolset.variables.items())),
        *toolset.links,
    ):
        content.update(f"{part}\0".encode())
    content.update(platform.machine().encode())
    for path in sorted(toolset.module.rglob("*")):
        if path.suffix == ".go" or path.name in ("go.mod", "go.sum"):
            content.update(f"{path.relative_to(toolset.module)}\0".encode() + path.read_bytes())
    return content.hexdigest()[:16]
