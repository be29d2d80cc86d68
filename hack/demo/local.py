"""The local Kubernetes with this repository's images in it, for the demo and for the end-to-end tests."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo.install import ROOT
from demo.kubectl import Kubectl
from localcluster.binaries import ensure_all, helm_binary
from localcluster.buildkit import ImageRecord
from localcluster.cache import Cache
from localcluster.cluster import DEFAULT_NAME, Cluster
from localcluster.current import CLUSTER_VARIABLE, LOCAL
from localcluster.errors import LocalClusterError
from localcluster.imagestore import ImageStore, Target
from localcluster.kubernetesmodule import kubernetes_version, module_for
from localcluster.prerequisites import require_root
from localcluster.toolsets import CONTAINERS, NETWORK, helm, kubernetes

OPERATOR: Final = Target("operator", "localhost/vllm-operator:dev")
RUNTIME: Final = Target("triton-cpu", "localhost/triton-cpu:dev")
TINY_MODEL: Final = Target("tiny-model", "localhost/tiny-model:dev")


@dataclass(frozen=True)
class LocalKubernetes:
    """A running cluster, the commands for it, and what identifies the operator's build in it."""

    cluster: Cluster
    kubectl: Kubectl
    operator_build: str


def running_cluster(name: str = DEFAULT_NAME, *, gpus: int = 0) -> LocalKubernetes:
    """Build what is missing, start the cluster if it does not run, and bring the newest images into it."""
    if os.environ.get(CLUSTER_VARIABLE, LOCAL) != LOCAL:
        raise LocalClusterError(
            "The demo and the end-to-end tests build images into a node of their own: they need the local "
            "cluster. On your own cluster follow docs/install.md and docs/quickstart.md."
        )
    require_root("A cluster with a node")
    cache = Cache.default()
    records = build_everything(cache)
    cluster = Cluster(name, cache=cache)
    was_running = cluster.running()
    cluster.up(gpus=gpus)
    if was_running:
        load_changed(cluster, records)
    return LocalKubernetes(cluster, kubectl_for(cluster), records[0].digest)


def build_everything(cache: Cache) -> list[ImageRecord]:
    """Programs and images, side by side; what is there already takes no time."""
    version = kubernetes_version()
    toolsets = [CONTAINERS, kubernetes(module_for(cache, version), version), NETWORK, helm()]
    with ThreadPoolExecutor(max_workers=1) as pool:
        programs = pool.submit(ensure_all, cache, toolsets)
        records = build_images(cache, [OPERATOR, RUNTIME, TINY_MODEL])
        programs.result()
    return records


def build_images(cache: Cache, targets: Sequence[Target], context: Path = ROOT) -> list[ImageRecord]:
    """Images of the Dockerfile in a source tree."""
    return ImageStore(cache).build(context / "Dockerfile", targets, context=context)


def load_changed(cluster: Cluster, records: Sequence[ImageRecord]) -> None:
    """Bring images that were built since the cluster started into its node."""
    present = cluster.ctr("images", "ls")
    for record in records:
        if not any(line.split()[0] == record.tag and record.digest in line for line in present.splitlines()):
            cluster.load(record.tag)


def kubectl_for(cluster: Cluster) -> Kubectl:
    """kubectl and helm for one cluster."""
    return Kubectl(cluster.kubectl_program, helm_binary(cluster.cache), cluster.kubeconfig)
