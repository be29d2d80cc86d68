"""The node's own programs and their configuration: containerd, kubelet, kube-proxy, the pod network."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcluster.cache import remove_tree
from localcluster.components import ControlPlaneFiles
from localcluster.containerd import SNAPSHOTTER, node_config
from localcluster.credentials import PROXY, node_identity
from localcluster.noderange import NodeRange
from localcluster.supervised import Program

CONTAINERD_ROOT = Path("io.containerd.root")
# Inside the node's mount namespace /run is its own, so these paths are the same in every cluster.
CONTAINERD_SOCKET = Path("/run/containerd/containerd.sock")
SNAPSHOTTER_FOLDER = f"io.containerd.snapshotter.v1.{SNAPSHOTTER}"
LOG_FOLDER = "pod-logs"


@dataclass(frozen=True)
class NodeFiles:
    """The node's part of a cluster's folder."""

    plane: ControlPlaneFiles
    name: str
    addresses: NodeRange
    containers: Path
    network: Path
    cgroup: str

    @property
    def directory(self) -> Path:
        """The cluster's folder."""
        return self.plane.directory

    @property
    def containerd_root(self) -> Path:
        """Where this node's images and containers are."""
        return self.directory / CONTAINERD_ROOT

    def write(self) -> None:
        """Write every configuration file."""
        self._write_text(
            "containerd.toml",
            node_config(
                self.containerd_root,
                Path("/run/containerd"),
                CONTAINERD_SOCKET,
                self.network,
                self.directory / "cni",
            ),
        )
        self._write_json("cni/10-pods.conflist", self._pod_network())
        self._write_json("kubelet.json", self._kubelet())
        self._write_json("kube-proxy.json", self._proxy())
        (self.directory / LOG_FOLDER).mkdir()

    def setup(self) -> list[list[str]]:
        """Commands that the first process of the node's namespaces runs before anything else."""
        logs = self.directory / LOG_FOLDER
        return [
            ["mount", "--make-rshared", "/"],
            ["mount", "-t", "tmpfs", "-o", "mode=755", "localcluster", "/run"],
            ["mount", "--bind", str(logs), "/var/log"],
            *self._own_var_lib(),
            ["ip", "link", "set", "lo", "up"],
            ["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"],
        ]

    def _own_var_lib(self) -> list[list[str]]:
        """Keep /var/lib to the node: the kubelet's and libcni's folders in there have fixed names."""
        upper, work, kept = "/run/var-lib/upper", "/run/var-lib/work", "/run/var-lib/cache"
        options = f"lowerdir=/var/lib,upperdir={upper},workdir={work}"
        commands = [
            ["mkdir", "-p", upper, work, kept],
            ["mount", "-t", "overlay", "-o", options, "localcluster", "/var/lib"],
        ]
        cache = self.directory.parent.parent
        if not cache.is_relative_to("/var/lib"):
            return commands
        # Overlay mounts cannot be stacked as the containers' own need it: the cache stays what it is.
        keep, put_back = ["mount", "--rbind", str(cache), kept], ["mount", "--rbind", kept, str(cache)]
        return [commands[0], keep, commands[1], put_back]

    def programs(self) -> list[Program]:
        """Containerd starts at once; kubelet and kube-proxy when there is an API server."""
        kubernetes = self.plane.programs
        path = {"PATH": f"{self.containers}:{self.network}:{os.environ['PATH']}"}
        kubelet = [
            f"{kubernetes}/kubelet",
            f"--config={self.directory}/kubelet.json",
            f"--kubeconfig={self.plane.kubeconfig_of(node_identity(self.name).user)}",
            f"--node-ip={self.addresses.node}",
            f"--hostname-override={self.name}",
            f"--root-dir={self.directory}/kubelet",
            f"--cert-dir={self.directory}/kubelet-certificates",
        ]
        proxy = [f"{kubernetes}/kube-proxy", f"--config={self.directory}/kube-proxy.json"]
        containerd = [f"{self.containers}/containerd", "-c", f"{self.directory}/containerd.toml"]
        return [
            Program("containerd", containerd, path),
            Program("kubelet", kubelet, path, autostart=False),
            Program("kube-proxy", [*proxy, f"--hostname-override={self.name}"], path, autostart=False),
        ]

    def _pod_network(self) -> dict[str, Any]:
        return {
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "ptp",
                    "ipMasq": False,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": "/run/cni",
                        "ranges": [[{"subnet": self.addresses.pods}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                }
            ],
        }

    def _kubelet(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.addresses.node,
            # Who reaches this address is root on this machine already.
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "oomScoreAdj": 0,
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            "clusterDomain": "cluster.local",
            "readOnlyPort": 0,
            "volumePluginDir": f"{self.directory}/kubelet-plugins",
            # Images cannot be pulled again: none is collected because the machine's disk fills.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
            },
            "nodeStatusUpdateFrequency": "2s",
            "shutdownGracePeriod": "0s",
        }

    def _proxy(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": str(self.plane.kubeconfig_of(PROXY))},
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
            "healthzBindAddress": f"{self.addresses.node}:10256",
            "metricsBindAddress": f"{self.addresses.node}:10249",
        }

    def _write_json(self, name: str, document: dict[str, Any]) -> None:
        self._write_text(name, json.dumps(document, indent=1))

    def _write_text(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def copy_store(store: Path, target: Path) -> None:
    """Give a node the store's images: databases copied, blobs hard-linked, unpacked layers pointed to.

    Layers are never written to, and to link their files one by one would take longer than to start the node.
    """
    remove_tree(target)
    target.mkdir(parents=True)
    for child in sorted(store.iterdir()):
        if child.name != SNAPSHOTTER_FOLDER:
            subprocess.run(["cp", "-al", str(child), str(target)], check=True)
    for layer in (store / SNAPSHOTTER_FOLDER / "snapshots").iterdir():
        pointer = target / SNAPSHOTTER_FOLDER / "snapshots" / layer.name
        pointer.mkdir(parents=True)
        (pointer / "fs").symlink_to(layer / "fs")
    for database in [*store.glob("*/*.db")]:
        copy = target / database.relative_to(store)
        copy.unlink(missing_ok=True)
        shutil.copy2(database, copy)
