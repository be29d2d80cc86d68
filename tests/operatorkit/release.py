"""The operator's rights and settings exactly as the chart gives them: rendered by helm, then applied."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from localcluster.binaries import helm_binary
from localcluster.cache import Cache
from localcluster.controlplane import ControlPlane
from operatorkit.api import Api
from operatorkit.process import REPOSITORY

_RIGHTS = {
    "ServiceAccount": "serviceaccounts",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
}
RUNTIME_IMAGE = "registry.example/triton-vllm:26.07"


class Release:
    """One `helm template` of charts/vllm-operator; only its rights are applied, the process is the test's."""

    def __init__(
        self,
        plane: ControlPlane,
        api: Api,
        *,
        namespace: str,
        watch: tuple[str, ...] = (),
        chart: Path = REPOSITORY / "charts/vllm-operator",
    ) -> None:
        self.namespace = namespace
        self.watch = watch
        self._plane = plane
        objects = _render(namespace, watch, chart)
        for obj in objects:
            if plural := _RIGHTS.get(obj["kind"]):
                api.apply(plural, obj)
        self.account = _one(objects, "ServiceAccount")["metadata"]["name"]
        container = _one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
        self._settings = {
            variable["name"].removeprefix("VLLM_OPERATOR_"): variable["value"]
            for variable in container["env"]
            if variable["name"].startswith("VLLM_OPERATOR_") and "value" in variable
        }

    @property
    def user(self) -> str:
        """The operator's name in the audit log."""
        return f"system:serviceaccount:{self.namespace}:{self.account}"

    def kubeconfig(self) -> Path:
        """With a real token of the chart's ServiceAccount."""
        return self._plane.service_account_kubeconfig(self.namespace, self.account)

    def settings(self, **overrides: str) -> dict[str, str]:
        """What the chart's Deployment sets; a test has no pod, so no downward API, and takes any port."""
        versions = {"VLLM_VERSIONS": "registry.example/triton-vllm:*=0.32.0"}
        # Starved of CPU the operator rightly gives up its lease: not what most tests are about.
        patience = {"LEASE_DURATION_SECONDS": "60", "LEASE_RENEW_DEADLINE_SECONDS": "50"}
        pod = {"LEASE_NAMESPACE": self.namespace, "POD_NAME": f"{self.account}-0", "HTTP_PORT": "0"}
        return {**self._settings, **versions, **patience, **pod, **overrides}


def _render(namespace: str, watch: tuple[str, ...], chart: Path) -> list[dict[str, Any]]:
    words = [str(helm_binary(Cache.default())), "template", f"operator-{namespace}", str(chart)]
    words += ["--namespace", namespace, "--values", str(chart / "ci/test-values.yaml")]
    if watch:
        words += ["--set", f"watch.namespaces={{{','.join(watch)}}}"]
    finished = subprocess.run(words, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return [obj for obj in yaml.safe_load_all(finished.stdout) if obj]


def _one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    found = [obj for obj in objects if obj["kind"] == kind]
    assert len(found) == 1, f"{len(found)} {kind} in the chart"
    return found[0]
