"""The Go module of the Kubernetes binary, for the committed version or any other one asked for."""

import json
import os
import re
import shutil
from pathlib import Path

from localcluster.cache import Cache
from localcluster.commands import run, run_logged
from localcluster.errors import LocalClusterError
from localcluster.golang import go_environment
from localcluster.progress import step
from localcluster.toolsets import KUBERNETES_MODULE, required_version

VERSION_VARIABLE = "KUBERNETES_VERSION"
MODULE_PATH = "triton-vllm.dev/localcluster/kubernetes"


def kubernetes_version() -> str:
    """The version to run: $KUBERNETES_VERSION, or the one that the committed go.mod requires."""
    version = os.environ.get(VERSION_VARIABLE) or required_version(KUBERNETES_MODULE, "k8s.io/kubernetes")
    version = version if version.startswith("v") else f"v{version}"
    if re.fullmatch(r"v1\.\d+\.\d+", version) is None:
        raise LocalClusterError(f"{VERSION_VARIABLE} must look like v1.37.2, and is {version}.")
    return version


def module_for(cache: Cache, version: str) -> Path:
    """Return the folder of the module that builds this version; another than the committed one is made."""
    if version == required_version(KUBERNETES_MODULE, "k8s.io/kubernetes"):
        return KUBERNETES_MODULE
    folder = cache.root / "modules" / f"kubernetes-{version}"
    with cache.locked(f"module-{version}"):
        stale = any(
            not (folder / source.name).exists() or (folder / source.name).read_bytes() != source.read_bytes()
            for source in KUBERNETES_MODULE.glob("*.go")
        )
        if stale or not (folder / "go.sum").exists():
            shutil.rmtree(folder, ignore_errors=True)
            write_module(cache, version, folder)
    return folder


def write_module(cache: Cache, version: str, folder: Path) -> None:
    """Write go.mod and go.sum for a version, beside copies of the Go sources."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in KUBERNETES_MODULE.glob("*.go"):
        if source.parent != folder:
            shutil.copy(source, folder)
    log = cache.log(f"module-{version}")
    environment = go_environment(cache)
    with step(f"writing the Go module of Kubernetes {version}", log):
        download = ["go", "mod", "download", "-json", f"k8s.io/kubernetes@{version}"]
        upstream = Path(json.loads(run(download, env=environment, cwd=folder.parent, timeout=600))["GoMod"])
        (folder / "go.mod").write_text(render_go_mod(upstream.read_text(), version))
        (folder / "go.sum").unlink(missing_ok=True)
        run_logged(["go", "mod", "tidy"], log, env=environment, cwd=folder)


def render_go_mod(upstream: str, version: str) -> str:
    """Make our go.mod from upstream's: each of its staging modules (at v0.0.0) needs a replacement."""
    staging = re.findall(r"^\s+(k8s\.io/\S+) v0\.0\.0$", upstream, re.MULTILINE)
    language = re.search(r"^go (\S+)$", upstream, re.MULTILINE)
    godebug = re.search(r"^godebug default=(\S+)$", upstream, re.MULTILINE)
    if not staging or language is None:
        raise LocalClusterError(
            f"The go.mod of Kubernetes {version} has no staging modules: is it a release?"
        )
    staged_version = version.replace("v1.", "v0.", 1)
    lines = [f"module {MODULE_PATH}", "", f"go {language.group(1)}", ""]
    if godebug is not None:
        lines += [f"godebug default={godebug.group(1)}", ""]
    lines += [f"require k8s.io/kubernetes {version}", "", "replace ("]
    lines += [f"\t{module} => {module} {staged_version}" for module in staging]
    return "\n".join([*lines, ")", ""])
