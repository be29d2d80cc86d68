"""The Go programs the cluster consists of: which packages of which module, built with what."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from localcluster.cache import LOCALCLUSTER
from localcluster.errors import LocalClusterError

KUBERNETES_MODULE = LOCALCLUSTER / "kubernetes"
TOOLS_MODULE = LOCALCLUSTER / "tools"
KUBERNETES_COMPONENTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
)


@dataclass(frozen=True)
class Toolset:
    """Programs that are built together and kept together in one folder of the cache."""

    name: str
    module: Path
    packages: tuple[str, ...]
    tags: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    cold_minutes: float = 1


CONTAINERS = Toolset(
    name="containers",
    module=TOOLS_MODULE,
    packages=(
        "github.com/containerd/containerd/v2/cmd/containerd",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
        "github.com/containerd/containerd/v2/cmd/ctr",
        "github.com/moby/buildkit/cmd/buildkitd",
        "github.com/moby/buildkit/cmd/buildctl",
        "./pause",
    ),
    tags=("no_btrfs", "no_devmapper", "no_zfs"),
    cold_minutes=2,
)
NETWORK = Toolset(
    name="cni",
    module=TOOLS_MODULE,
    packages=(
        "github.com/containernetworking/plugins/plugins/main/ptp",
        "github.com/containernetworking/plugins/plugins/main/loopback",
        "github.com/containernetworking/plugins/plugins/ipam/host-local",
    ),
)


def required_version(module: Path, path: str) -> str:
    """Read from a go.mod which version of a module it requires: the one place each version is written."""
    pattern = rf"^\s*(?:require\s+)?{re.escape(path)} (v\S+)"
    found = re.search(pattern, (module / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise LocalClusterError(f"{module / 'go.mod'} requires no {path}")
    return found.group(1)


def helm() -> Toolset:
    """Helm, told its own version: it refuses to compare an unknown one."""
    version = required_version(TOOLS_MODULE, "helm.sh/helm/v4")
    return Toolset(
        name="helm",
        module=TOOLS_MODULE,
        packages=("helm.sh/helm/v4/cmd/helm",),
        variables={"helm.sh/helm/v4/internal/version.version": version},
        cold_minutes=2,
    )


def kubernetes(module: Path, version: str) -> Toolset:
    """The one Kubernetes binary of a module, with the version that kubectl and others parse."""
    major, minor = version.removeprefix("v").split(".")[:2]
    variables = {}
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        variables[f"{package}.gitVersion"] = version
        variables[f"{package}.gitMajor"] = major
        variables[f"{package}.gitMinor"] = minor
    return Toolset(
        name=f"kubernetes-{version}",
        module=module,
        packages=(".",),
        variables=variables,
        links=KUBERNETES_COMPONENTS,
        cold_minutes=7,
    )
