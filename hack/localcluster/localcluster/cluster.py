"""The full-node profile: control plane, kubelet, containerd, pod network, Services, in namespaces of its own.

Everything of a cluster lives in one network, mount and PID namespace whose first process is the supervisor.
Its end is the end of every process, mount, interface and packet filter rule of the cluster; what remains to
be removed is its folder in the cache and its control groups.
"""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from localcluster import cgroups, description
from localcluster.access import Access
from localcluster.auditlog import AuditLog
from localcluster.binaries import ensure_all
from localcluster.cache import Cache, remove_tree
from localcluster.commands import run
from localcluster.components import Addresses, ControlPlaneFiles
from localcluster.containerd import NAMESPACE
from localcluster.errors import LocalClusterError
from localcluster.imagestore import ImageStore
from localcluster.kubernetesmodule import kubernetes_version, module_for
from localcluster.node import CONTAINERD_SOCKET, NodeFiles, copy_store
from localcluster.noderange import NodeRange, choose, interface_exists
from localcluster.prerequisites import (
    NODE_TOOLS,
    require_disk,
    require_memory,
    require_root,
    require_tools,
)
from localcluster.progress import say, step
from localcluster.supervised import OWN_NETWORK_TOO, Supervised, lock_is_held, wait_until
from localcluster.toolsets import CONTAINERS, NETWORK, kubernetes

DEFAULT_NAME = "local"
API_PORT = 6443
NODE_READY_SECONDS = 120.0
ANSWER_SECONDS = 60.0
MEMORY_GIB = 3.0
DISK_GIB = 3.0


class Cluster(Access):
    """One cluster of one node, known by its name."""

    def __init__(
        self, name: str = DEFAULT_NAME, *, version: str | None = None, cache: Cache | None = None
    ) -> None:
        self.name = name
        self.version = version or kubernetes_version()
        self.cache = cache or Cache.default()
        self.directory = self.cache.clusters / name
        self.supervised = Supervised(self.directory)
        self.cgroup = f"localcluster-{self.cache.mark}-{name}"
        self.node = f"{name}-node"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def up(self, *, gpus: int = 0, audit: bool = True) -> Self:
        """Start the cluster, or set the number of GPUs of the one that already runs."""
        require_root("A cluster with a node")
        require_tools(self.cache, NODE_TOOLS)
        with self._locked():
            if self._answers():
                say(f"the cluster {self.name} runs already")
            else:
                self._up(audit)
        self.set_gpus(gpus)
        return self

    def down(self) -> None:
        """End the cluster and remove everything it has left, whoever or whatever ended parts of it before."""
        if self.directory.exists() or cgroups.existing(self.cgroup):
            require_root("Removing a cluster")
            with self._locked():
                self._down()

    def running(self) -> bool:
        """Whether the cluster is there; one that failed to start or lost its supervisor is not."""
        return lock_is_held(self.directory / "lock") and "node" in self._described()

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.plane_files.kubeconfig

    @property
    def kubectl_program(self) -> Path:
        """Kubectl of the same version."""
        return self.plane_files.programs / "kubectl"

    @property
    def audit(self) -> AuditLog:
        """Who asked the API server for what."""
        return AuditLog(self.plane_files.audit_log)

    @property
    def plane_files(self) -> ControlPlaneFiles:
        """The control plane's part of the folder."""
        described = self._described()
        if "programs" not in described:
            raise LocalClusterError(f"There is no cluster {self.name}: start it with `up`.")
        addresses = _plane_addresses(NodeRange(described["index"]))
        programs = Path(described["programs"])
        return ControlPlaneFiles(self.directory, programs, addresses, self.node, bool(described["audit"]))

    @property
    def addresses(self) -> NodeRange:
        """The cluster's addresses: its node, pods and Services, all reachable from this machine."""
        return NodeRange(self._described()["index"])

    def set_gpus(self, count: int) -> None:
        """Make the node offer this many nvidia.com/gpu; they are counted, there is no device behind them."""
        quantity = str(count)
        resources = {"capacity": {"nvidia.com/gpu": quantity}, "allocatable": {"nvidia.com/gpu": quantity}}
        self.plane_files.administrator().merge(f"/api/v1/nodes/{self.node}/status", {"status": resources})

    def load(self, tag: str) -> None:
        """Bring an image that entered the store after `up` into the running node."""
        store = ImageStore(self.cache)
        store.record(tag)
        archive = self.directory / "load.tar"
        try:
            with store.builder() as builder, step(f"exporting {tag}"):
                builder.ctr("images", "export", "--local", str(archive), tag)
            with step(f"importing {tag} into the node"):
                self.ctr("images", "import", "--local", str(archive))
        finally:
            archive.unlink(missing_ok=True)

    def ctr(self, *words: str) -> str:
        """Run containerd's client in the node."""
        client = Path(self._described()["containers"]) / "ctr"
        return run(
            self.inside([str(client), "-a", str(CONTAINERD_SOCKET), "-n", NAMESPACE, *words]), timeout=600
        )

    def inside(self, argv: Sequence[str]) -> list[str]:
        """A command line that runs the given one in the node's namespaces."""
        return ["nsenter", "-t", str(self.supervised.namespace_pid), "-m", "-n", "-p", "--", *argv]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self.cache.locked(f"cluster-{self.name}"):
            yield

    def _answers(self) -> bool:
        """Whether the cluster runs and is well; one that is just ending, or hangs, is not to be used."""
        if not self.running():
            return False
        ready = self.plane_files.administrator().ready
        return wait_until(lambda: not self.running() or ready(), ANSWER_SECONDS) and self.running()

    def _up(self, audit: bool) -> None:
        require_memory(MEMORY_GIB, "A cluster with a node")
        require_disk(self.cache, DISK_GIB, "A cluster with a node")
        toolsets = [kubernetes(module_for(self.cache, self.version), self.version), CONTAINERS, NETWORK]
        programs, containers, network = ensure_all(self.cache, toolsets)
        ImageStore(self.cache).ensure_pause()
        with ExitStack() as undo, step(f"starting the cluster {self.name} (Kubernetes {self.version})"):
            undo.callback(self._down)
            files = self._start_namespaces(programs, containers, network, audit)
            self._connect(files.addresses)
            self._start_programs(files)
            undo.pop_all()

    def _down(self) -> None:
        interface = self._described().get("interface", "")
        self.supervised.stop(gracefully=False)
        if interface and interface_exists(interface):
            # The interface goes with its network namespace, a moment after the last process in there.
            subprocess.run(["ip", "link", "delete", interface], capture_output=True, check=False)
        cgroups.remove(self.cgroup)
        remove_tree(self.directory)

    def _described(self) -> dict[str, Any]:
        return description.read(self.directory)

    def _start_namespaces(self, programs: Path, containers: Path, network: Path, audit: bool) -> NodeFiles:
        self._down()
        with self.cache.locked("clusters"):
            self.directory.mkdir(parents=True, mode=0o700)
            addresses = choose(self._taken_indices())
            description.update(
                self.directory,
                profile="node",
                version=self.version,
                index=addresses.index,
                interface=addresses.interface,
                programs=str(programs),
                containers=str(containers),
                audit=audit,
            )
        plane = ControlPlaneFiles(self.directory, programs, _plane_addresses(addresses), self.node, audit)
        files = NodeFiles(plane, self.node, addresses, containers, network, self.cgroup)
        plane.write()
        files.write()
        cgroups.make(self.cgroup)
        # A build may hold the store for minutes: nobody else is to wait for this one meanwhile.
        with self.cache.locked("store"):
            store = ImageStore(self.cache)
            copy_store(store.root, files.containerd_root)
            description.update(self.directory, images=sorted({one.key for one in store.records().values()}))
        everything = [*plane.control_plane(), *files.programs()]
        self.supervised.start(
            [replace(program, autostart=False) for program in everything],
            namespaces=OWN_NETWORK_TOO,
            setup=files.setup(),
            attached=False,
        )
        return files

    def _taken_indices(self) -> list[int]:
        described = [description.read(directory) for directory in self.cache.clusters.glob("*")]
        return [one["index"] for one in described if "index" in one]

    def _connect(self, addresses: NodeRange) -> None:
        """Lay the link between this machine and the node, and the routes to its pods and Services."""
        namespace = str(self.supervised.namespace_pid)
        inside = ["nsenter", "-t", namespace, "-n", "ip"]
        link = [
            "ip",
            "link",
            "add",
            addresses.interface,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            namespace,
        ]
        for argv in (
            link,
            [*inside, "address", "add", f"{addresses.node}/24", "dev", "eth0"],
            [*inside, "link", "set", "eth0", "up"],
            [*inside, "route", "add", "default", "via", addresses.host],
            ["ip", "address", "add", f"{addresses.host}/24", "dev", addresses.interface],
            ["ip", "link", "set", addresses.interface, "up"],
            ["ip", "route", "add", addresses.pods, "via", addresses.node],
            ["ip", "route", "add", addresses.services, "via", addresses.node],
        ):
            run(argv)

    def _start_programs(self, files: NodeFiles) -> None:
        for name in ("etcd", "kube-apiserver", "containerd"):
            self.supervised.command("start", name)
        files.plane.start_rest(self.supervised)
        self.supervised.command("start", "kubelet")
        self.supervised.command("start", "kube-proxy")
        self.supervised.wait("the node is ready", self._node_ready, NODE_READY_SECONDS)
        description.update(self.directory, node=self.node)

    def _node_ready(self) -> bool:
        node = self.plane_files.administrator().get(f"/api/v1/nodes/{self.node}") or {}
        conditions = node.get("status", {}).get("conditions", [])
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _plane_addresses(addresses: NodeRange) -> Addresses:
    return Addresses(addresses.node, API_PORT, 2379, 2380, addresses.services)
