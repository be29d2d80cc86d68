"""Each reason that a user may see in Ready, produced by its real cause."""

import json
from typing import Any

import pytest

from localcluster.controlplane import ControlPlane
from operatorkit.api import Api
from operatorkit.kubelet import Kubelet, crashing, loading, ready, waiting
from operatorkit.models import Models
from operatorkit.release import Release
from operatorkit.waiting import stays, wait_for
from tritonstandin import TritonStandIn

pytestmark = pytest.mark.usefixtures("operator")


def test_admission_rejected(models: Models, name: str, api: Api) -> None:
    """No pod can be made: the quota of the namespace has no room, and the ReplicaSet says so."""
    api.create("resourcequotas", {
        "metadata": {"name": "no-pods", "namespace": models.namespace}, "spec": {"hard": {"pods": "0"}},
    })  # fmt: skip
    try:
        models.create(name)
        found = models.wait_condition(name, "Ready", "False", "AdmissionRejected")
        assert "exceeded quota" in found["message"]
    finally:
        api.delete("resourcequotas", models.namespace, "no-pods")
    models.edit(name, replicas=2)  # the ReplicaSet controller would wait for its back-off
    models.wait_serving(name, seconds=60)


def test_pending_comes_first_and_rolling_out_between_two_revisions(
    models: Models, name: str, control_plane: ControlPlane, release: Release
) -> None:
    mark = control_plane.audit.position()
    models.create(name, engineArgs={"max_model_len": 64})
    models.wait_serving(name)
    models.edit(name, engineArgs={"max_model_len": 128})
    models.wait_serving(name)
    said = [
        (condition["status"], condition["reason"])
        for event in control_plane.audit.writes(user=release.user, resource="vllmmodels", since=mark)
        for condition in event.body["status"]["conditions"]
        if event.name == name and condition["type"] == "Ready"
    ]
    assert said[0] == ("Unknown", "Pending")
    assert ("Unknown", "RollingOut") in said
    assert said[-1] == ("True", "Serving")


def test_unschedulable(models: Models, name: str) -> None:
    models.create(name, scheduling={"nodeSelector": {"disk": "none-has-it"}})
    found = models.wait_condition(name, "Ready", "False", "Unschedulable")
    assert "node affinity/selector" in found["message"]
    models.edit(name, scheduling=None)
    models.wait_serving(name)


def test_waiting_for_gpu(models: Models, name: str) -> None:
    """The Node has four GPUs: a roll of a model that holds three finds none for the new pod."""
    models.create(name, gpus={"count": 3}, engineArgs={"tensor_parallel_size": 3, "max_model_len": 64})
    models.wait_serving(name)
    models.edit(name, engineArgs={"max_model_len": 128})
    found = models.wait_condition(name, "Ready", "Unknown", "WaitingForGPU")
    assert "Recreate" in found["message"]
    assert models.condition(name, "Available")["status"] == "True"
    models.edit(name, rollout={"type": "Recreate"})
    models.wait_serving(name, seconds=60)


def test_image_pull_failed(
    models: Models, name: str, kubelet: Kubelet, healthy_triton: TritonStandIn
) -> None:
    message = 'failed to pull image "registry.example/triton-vllm:26.07": not found'
    kubelet.behave(models.namespace, name, waiting("ErrImagePull", message))
    models.create(name)
    found = models.wait_condition(name, "Ready", "False", "ImagePullFailed")
    assert "not found" in found["message"]
    kubelet.behave(models.namespace, name, ready(healthy_triton.address))
    models.wait_serving(name)


def test_container_crashed(models: Models, name: str, kubelet: Kubelet) -> None:
    said = {"reason": "ContainerCrashed", "detail": "ValueError: the model is on fire", "exitCode": 1}
    kubelet.behave(models.namespace, name, crashing(json.dumps(said)))
    models.create(name)
    found = models.wait_condition(name, "Ready", "False", "ContainerCrashed")
    assert "the model is on fire" in found["message"]


def test_loading_model(models: Models, name: str, kubelet: Kubelet) -> None:
    kubelet.behave(models.namespace, name, loading())
    models.create(name)
    models.wait_condition(name, "Ready", "Unknown", "LoadingModel")
    assert models.condition(name, "Available")["status"] == "False"


def test_scaled_to_zero_and_paused(models: Models, name: str) -> None:
    models.create(name, replicas=0)
    models.wait_condition(name, "Ready", "True", "ScaledToZero")
    models.edit(name, replicas=1, paused=True)
    models.wait_condition(name, "Ready", "True")
    stays("nothing is scaled while paused", lambda: not models.pods(name), 2)
    models.edit(name, paused=False)
    models.wait_serving(name)
    models.edit(name, paused=True)
    models.wait_condition(name, "Ready", "True", "Paused")


def test_invalid_spec(models: Models, name: str) -> None:
    """What the operator alone can tell: the CRD's rules let it pass."""
    models.create(name, engineArgs={"gpu_memory_utilization": 1.5})
    models.wait_condition(name, "Stalled", "True", "InvalidEngineArgs")
    assert not any(models.children(name).values())
    models.edit(name, engineArgs=None, runtime={"env": [{"name": "HF_HOME", "value": "/elsewhere"}]})
    models.wait_condition(name, "Ready", "False", "InvalidSpec")


def test_secret_not_found(models: Models, name: str, kubelet: Kubelet, healthy_triton: TritonStandIn) -> None:
    message = 'secret "hub-token" not found'
    kubelet.behave(models.namespace, name, waiting("CreateContainerConfigError", message))
    source = {"repository": "meta-llama/x", "tokenSecretKeyRef": {"name": "hub-token", "key": "token"}}
    models.create(name, source={"huggingFace": source})
    found = models.wait_condition(name, "Ready", "False", "SecretNotFound")
    assert "hub-token" in found["message"]
    kubelet.behave(models.namespace, name, ready(healthy_triton.address))
    models.wait_serving(name)


def test_persistent_volume_claim_not_found_and_not_bound(models: Models, name: str, api: Api) -> None:
    """The real scheduler says both; no volume exists in this cluster."""
    models.create(name, source={"persistentVolumeClaim": {"claimName": name}})
    models.wait_condition(name, "Ready", "False", "PersistentVolumeClaimNotFound")
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    spec["resources"] = {"requests": {"storage": "1Gi"}}
    metadata = {"name": name, "namespace": models.namespace}
    api.create("persistentvolumeclaims", {"metadata": metadata, "spec": spec})
    models.wait_condition(name, "Ready", "False", "PersistentVolumeClaimNotBound", seconds=60)
    assert models.condition(name, "Stalled") == {}


def test_events_are_posted_once_per_pod_and_reason(
    models: Models, name: str, api: Api, kubelet: Kubelet
) -> None:
    kubelet.behave(models.namespace, name, waiting("ErrImagePull", "no such image"))
    models.create(name)
    models.wait_condition(name, "Ready", "False", "ImagePullFailed")

    def about() -> list[str]:
        events = api.list("events", models.namespace)
        return [e["reason"] for e in events if e.get("regarding", {}).get("name") == name]

    wait_for("the Event is there", lambda: "ImagePullFailed" in about())
    kubelet.behave(models.namespace, name, waiting("ImagePullBackOff", 'Back-off pulling image "x"'))
    models.edit(name, replicas=1, paused=False)
    stays("there is one of it", lambda: about().count("ImagePullFailed") == 1, 2)
