"""The operator upgraded and removed beneath models that serve. Runs after the models' own tests."""

import pytest

from demo.conditions import wait_for
from demo.install import OPERATOR_NAMESPACE, RELEASE, Images, install, uninstall
from demo.kubectl import Kubectl
from e2e.models import TINY_IMAGE, Served

SOURCE = {"image": {"reference": TINY_IMAGE}}


def holder(kubectl: Kubectl) -> str:
    lease = kubectl.get("lease", RELEASE, OPERATOR_NAMESPACE)
    return str((lease or {}).get("spec", {}).get("holderIdentity") or "")


def operator_pods(kubectl: Kubectl) -> set[str]:
    pods = kubectl.list("pods", OPERATOR_NAMESPACE, f"app.kubernetes.io/instance={RELEASE}")
    return {pod["metadata"]["name"] for pod in pods}


def test_helm_test_passes(kubectl: Kubectl, installed: Images) -> None:
    assert "Succeeded" in kubectl.run_helm(
        "test", RELEASE, "--namespace", OPERATOR_NAMESPACE, "--timeout=120s"
    )


def test_two_operators_run_and_one_works(kubectl: Kubectl, installed: Images) -> None:
    pods = operator_pods(kubectl)
    assert len(pods) == 2
    wait_for(
        "one of them to hold the lease", lambda: any(name in holder(kubectl) for name in pods), timeout=30
    )


def test_an_upgrade_with_another_image_and_rendering_restarts_no_model(
    kubectl: Kubectl, tiny: Served, next_images: Images
) -> None:
    tiny.wait(Ready="True")
    before, status = tiny.pod_ids(), tiny.get()["status"]
    old = operator_pods(kubectl)

    install(kubectl, next_images)
    wait_for(
        "an operator of the new version to hold the lease",
        lambda: any(name in holder(kubectl) for name in operator_pods(kubectl) - old),
        timeout=90,
    )
    # A model made now shows that the new default image and the new rendering are in force.
    fresh = Served(kubectl, "fresh", tiny.namespace)
    fresh.apply(SOURCE, replicas=0)
    fresh.wait(60, Ready="ScaledToZero")
    deployment = kubectl.get("deployment", fresh.name, fresh.namespace)
    assert deployment is not None
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == next_images.runtime
    assert {"name": "RENDERED_BY", "value": "next"} in container["env"]

    # The old model has been looked at by the new operator: what was deleted is back.
    kubectl.delete("service", tiny.name, tiny.namespace)
    wait_for("the Service to be back", lambda: kubectl.get("service", tiny.name, tiny.namespace), timeout=30)
    model = tiny.wait(60, Ready="True", Available="True", Reconciling=None)
    assert model["status"]["currentRevision"] == status["currentRevision"]
    assert model["status"]["runtime"]["image"] == status["runtime"]["image"]
    assert tiny.pod_ids() == before
    fresh.kubectl.delete("vllm", fresh.name, fresh.namespace)


def test_uninstalled_the_models_go_on_serving(kubectl: Kubectl, tiny: Served) -> None:
    before = tiny.pod_ids()
    assert before, "a model serves"
    uninstall(kubectl)
    wait_for("the operator's pods to be gone", lambda: not operator_pods(kubectl), timeout=60)
    assert kubectl.run("get", "crd", "vllmmodels.triton-vllm.dev", "--output=name").strip()
    tiny.stream()
    assert tiny.pod_ids() == before


@pytest.mark.usefixtures("tiny")
def test_installed_again_it_takes_them_up(kubectl: Kubectl, tiny: Served, installed: Images) -> None:
    before = tiny.pod_ids()
    install(kubectl, installed)
    tiny.wait(90, Ready="True", Available="True", Reconciling=None)
    assert tiny.pod_ids() == before
