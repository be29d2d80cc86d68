"""CLUSTER=current: the cluster of the user's own kubectl context, after the user has named it."""

import os
import shutil
from pathlib import Path

from localcluster.access import Access
from localcluster.binaries import kubernetes_binaries
from localcluster.cache import Cache
from localcluster.cluster import Cluster
from localcluster.commands import run
from localcluster.errors import LocalClusterError
from localcluster.kubernetesmodule import kubernetes_version

CLUSTER_VARIABLE = "CLUSTER"
CONFIRM_VARIABLE = "CONFIRM_CONTEXT"
CURRENT = "current"
LOCAL = "local"


class CurrentCluster(Access):
    """The user's cluster. Only namespaces that this project made are touched in it."""

    def __init__(self, cache: Cache | None = None) -> None:
        own = shutil.which("kubectl")
        self._kubectl = (
            Path(own)
            if own
            else kubernetes_binaries(cache or Cache.default(), kubernetes_version()) / "kubectl"
        )
        self._context = run([self._kubectl, "config", "current-context"]).strip()
        confirmed = os.environ.get(CONFIRM_VARIABLE, "")
        if confirmed != self._context:
            raise LocalClusterError(
                f"{CLUSTER_VARIABLE}={CURRENT} would use the kubectl context {self._context}: "
                f"say {CONFIRM_VARIABLE}={self._context} if that is the cluster you mean."
            )

    @property
    def kubeconfig(self) -> Path:
        """The user's kubeconfig."""
        given = os.environ.get("KUBECONFIG", "")
        return Path(given) if given else Path.home() / ".kube" / "config"

    @property
    def kubectl_program(self) -> Path:
        """The user's kubectl, or ours where there is none."""
        return self._kubectl

    @property
    def context(self) -> str:
        """The confirmed context: a later `kubectl config use-context` changes nothing here."""
        return self._context

    def down(self) -> None:
        """Remove the namespaces that this project made."""
        self.remove_namespaces()


def selected_cluster() -> Cluster | CurrentCluster:
    """The cluster that $CLUSTER names: `local` (the default) or `current`."""
    wanted = os.environ.get(CLUSTER_VARIABLE) or LOCAL
    if wanted == CURRENT:
        return CurrentCluster()
    if wanted == LOCAL:
        return Cluster()
    raise LocalClusterError(f"{CLUSTER_VARIABLE} is {LOCAL} or {CURRENT}, and is {wanted}.")
