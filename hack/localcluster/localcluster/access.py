"""What every kind of cluster offers to a test or a demo: kubectl, an environment, namespaces of one's own."""

import json
import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from localcluster.errors import LocalClusterError

MADE_BY = "triton-vllm.dev/made-by"
MADE_BY_US = "localcluster"
KUBECTL_SECONDS = 600.0


class Access(ABC):
    """A cluster that answers kubectl."""

    @property
    @abstractmethod
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""

    @property
    @abstractmethod
    def kubectl_program(self) -> Path:
        """A kubectl that fits the cluster."""

    @property
    def context(self) -> str:
        """The kubeconfig's context to use ("": its current one)."""
        return ""

    def kubectl(
        self,
        *words: str,
        stdin: str | None = None,
        kubeconfig: Path | None = None,
        timeout: float = KUBECTL_SECONDS,
    ) -> str:
        """Run kubectl (as the administrator, or whoever's kubeconfig is given) and return what it prints."""
        context = ["--context", self.context] if self.context and kubeconfig is None else []
        finished = subprocess.run(
            [str(self.kubectl_program), *context, *words],
            env=self.environment(kubeconfig),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if finished.returncode != 0:
            raise LocalClusterError(f"kubectl {' '.join(words)}: {finished.stderr.strip()}")
        return finished.stdout

    def environment(self, kubeconfig: Path | None = None) -> dict[str, str]:
        """This process' environment with KUBECONFIG set, for programs that a test starts."""
        return {**os.environ, "KUBECONFIG": str(kubeconfig or self.kubeconfig)}

    def make_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """Make a namespace that says who made it; one that somebody else made is refused."""
        manifest = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {**(labels or {}), MADE_BY: MADE_BY_US}},
        }
        if name in self._names("namespaces") and name not in self.made_namespaces():
            raise LocalClusterError(
                f"The namespace {name} exists and was not made by this project: choose another."
            )
        self.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))

    def made_namespaces(self) -> list[str]:
        """The namespaces that make_namespace made."""
        return self._names("namespaces", f"--selector={MADE_BY}={MADE_BY_US}")

    def remove_namespaces(self) -> None:
        """Remove the namespaces that make_namespace made, and no other."""
        names = self.made_namespaces()
        if names:
            self.kubectl("delete", "namespace", *names, "--wait=true", "--timeout=300s")

    def _names(self, *words: str) -> list[str]:
        return self.kubectl("get", *words, "-o", "jsonpath={.items[*].metadata.name}").split()
