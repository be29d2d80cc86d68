"""The chart on a real API server: accepted, upgraded, taken back. No operator runs here."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from chart.rendering import CHART, NAMESPACE, RELEASE, helm, required_values
from demo.install import make_namespace
from demo.kubectl import CommandFailed, Kubectl
from localcluster.controlplane import ControlPlane

SMALLEST = {
    "apiVersion": "triton-vllm.dev/v1alpha1",
    "kind": "VLLMModel",
    "metadata": {"name": "opt-125m"},
    "spec": {"source": {"huggingFace": {"repository": "facebook/opt-125m"}}},
}


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    with ControlPlane() as plane:
        kubectl = Kubectl(plane.files.programs / "kubectl", Path(helm()), plane.kubeconfig)
        make_namespace(kubectl, NAMESPACE)
        install(kubectl)
        yield kubectl


def install(kubectl: Kubectl) -> str:
    sets = [word for k, v in required_values().items() for word in ("--set-json", f"{k}={json.dumps(v)}")]
    return kubectl.run_helm("upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE, *sets)


def may(kubectl: Kubectl, user: str, verb: str, what: str, namespace: str = "default") -> bool:
    try:
        kubectl.run("auth", "can-i", verb, what, "--namespace", namespace, f"--as={user}")
    except CommandFailed:
        return False
    return True


def test_every_object_is_there(kubectl: Kubectl) -> None:
    assert kubectl.get("deployment", RELEASE, NAMESPACE)
    assert kubectl.get("networkpolicy", RELEASE, NAMESPACE)
    assert kubectl.get("poddisruptionbudget", RELEASE, NAMESPACE)
    kubectl.run("wait", "--for=condition=Established", "crd/vllmmodels.triton-vllm.dev", "--timeout=30s")


def test_a_second_upgrade_changes_nothing(kubectl: Kubectl) -> None:
    kinds = "deployment,service,serviceaccount,role,rolebinding,networkpolicy,poddisruptionbudget"

    def versions() -> dict[str, str]:
        return {
            f"{each['kind']}/{each['metadata']['name']}": each["metadata"].get("generation", 0)
            for each in kubectl.list(kinds, NAMESPACE)
        }

    before = versions()
    install(kubectl)
    assert versions() == before


def test_the_operators_account_may_what_it_needs_and_no_more(kubectl: Kubectl) -> None:
    user = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
    assert may(kubectl, user, "list", "vllmmodels.triton-vllm.dev")
    assert may(kubectl, user, "create", "deployments.apps")
    assert may(kubectl, user, "update", f"leases.coordination.k8s.io/{RELEASE}", NAMESPACE)
    for verb, what in (
        ("get", "secrets"),
        ("list", "secrets"),
        ("get", "pods/log"),
        ("create", "pods/exec"),
        ("create", "pods"),
        ("patch", "vllmmodels.triton-vllm.dev"),
        ("update", "leases.coordination.k8s.io/another"),
        ("delete", "deployments.apps"),
        ("create", "clusterroles.rbac.authorization.k8s.io"),
    ):
        assert not may(kubectl, user, verb, what, NAMESPACE), f"{verb} {what}"


def test_people_who_edit_a_namespace_edit_its_models(kubectl: Kubectl) -> None:
    for role, verbs in (("view", {"get"}), ("edit", {"get", "create", "patch", "delete"})):
        kubectl.run(
            "create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}er", "--namespace=default"
        )
        for verb in ("get", "create", "patch", "delete"):
            allowed = may(kubectl, f"{role}er", verb, "vllmmodels.triton-vllm.dev")
            assert allowed == (verb in verbs), f"{role}: {verb}"


def test_uninstalled_the_definition_and_the_models_stay(kubectl: Kubectl) -> None:
    kubectl.apply(SMALLEST, namespace="default")
    kubectl.run_helm("uninstall", RELEASE, "--namespace", NAMESPACE)
    assert kubectl.get("deployment", RELEASE, NAMESPACE) is None
    assert kubectl.get("vllm", "opt-125m", "default")
    # And helm takes the kept definition back into a new release.
    install(kubectl)
    assert kubectl.get("vllm", "opt-125m", "default")
