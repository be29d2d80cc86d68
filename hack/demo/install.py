"""The operator installed from its chart, and namespaces that enforce the restricted Pod Security Standard."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from demo.kubectl import CommandFailed, Kubectl

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "charts" / "vllm-operator"
RELEASE: Final = "vllm-operator"
OPERATOR_NAMESPACE: Final = "vllm-system"


@dataclass(frozen=True)
class Images:
    """What the chart is told to run. `build` changes when the operator's image does, under the same tag."""

    operator: str = "localhost/vllm-operator:dev"
    runtime: str = "localhost/triton-cpu:dev"
    vllm: str = "0.32.0"
    build: str = ""


def make_namespace(kubectl: Kubectl, name: str) -> None:
    """A namespace in which no pod outside the restricted standard can be created."""
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "labels": {
                    "pod-security.kubernetes.io/enforce": "restricted",
                    "pod-security.kubernetes.io/enforce-version": "latest",
                },
            },
        }
    )


def install(
    kubectl: Kubectl, images: Images, values: Mapping[str, Any] | None = None, *, timeout: int = 180
) -> str:
    """Install or upgrade the operator and wait until both replicas are ready; returns what helm printed."""
    make_namespace(kubectl, OPERATOR_NAMESPACE)
    settings: dict[str, Any] = {"image": _split(images.operator), "runtime.image": _split(images.runtime)}
    # The tag does not tell which vLLM is inside, and engine arguments are checked against exactly that one.
    versions = [{"image": f"{images.runtime.rsplit(':', 1)[0]}:*", "version": images.vllm}]
    settings["runtime.vllmVersions"] = versions
    if images.build:
        settings["podAnnotations"] = {"triton-vllm.dev/build": images.build}
    settings.update(values or {})
    sets = [word for key, value in settings.items() for word in ("--set-json", f"{key}={json.dumps(value)}")]
    scope = ["--namespace", OPERATOR_NAMESPACE]
    try:
        return kubectl.run_helm(
            "upgrade", "--install", RELEASE, str(CHART), *scope, *sets, "--wait", f"--timeout={timeout}s",
            timeout=timeout + 30,
        )  # fmt: skip
    except CommandFailed as error:
        raise CommandFailed(f"{error}\n{_pods(kubectl)}") from error


def _pods(kubectl: Kubectl) -> str:
    """What the operator's pods say of themselves: helm only knows that they are not ready."""
    pods = kubectl.list("pods", OPERATOR_NAMESPACE)
    said = [
        f"{pod['metadata']['name']}: {json.dumps(pod['status'].get('containerStatuses'))}" for pod in pods
    ]
    scope = ["--namespace", OPERATOR_NAMESPACE]
    selector = f"--selector=app.kubernetes.io/instance={RELEASE}"
    said.append(kubectl.run("logs", *scope, selector, "--tail=20", "--ignore-errors", "--prefix"))
    said.append(kubectl.run("get", "events", *scope, "--sort-by=.lastTimestamp"))
    return "\n".join(said)


def uninstall(kubectl: Kubectl) -> None:
    """`helm uninstall`, waiting for the operator's pods to be gone."""
    kubectl.run_helm("uninstall", RELEASE, "--namespace", OPERATOR_NAMESPACE, "--wait", "--timeout=90s")


def _split(image: str) -> dict[str, str]:
    """repository and tag, or repository and digest, as the chart's values want them."""
    if "@" in image:
        repository, digest = image.split("@", 1)
        return {"repository": repository, "digest": digest}
    repository, tag = image.rsplit(":", 1)
    return {"repository": repository, "tag": tag}
