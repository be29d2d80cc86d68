"""States that come of somebody else's doing: a lost node, odd objects, finalizers, writes that fail."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from integration.conftest import StartOperator
from operatorkit.api import Api
from operatorkit.kubelet import Kubelet, ready, waiting
from operatorkit.models import Models
from operatorkit.process import OperatorProcess
from operatorkit.proxy import Drop, Proxy, Write
from operatorkit.release import Release
from operatorkit.waiting import stays, wait_for
from tritonstandin import TritonStandIn


@pytest.fixture(scope="module")
def wire(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Between the module's operator and the API server."""
    with Proxy(release.kubeconfig(), Path(tmp_path_factory.mktemp("wire"))) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def wired(start_operator: StartOperator, wire: Proxy) -> OperatorProcess:
    """The module's operator."""
    return start_operator(kubeconfig=wire.kubeconfig)


def test_a_lost_node_is_told_as_that(
    models: Models, name: str, api: Api, healthy_triton: TritonStandIn
) -> None:
    """The real node controller finds out, some 50 s after the last sign of life."""
    with Kubelet(api, ready(healthy_triton.address), node="mortal"):
        models.create(name, scheduling={"nodeSelector": {"kubernetes.io/hostname": "mortal"}})
        models.wait_serving(name)
    found = models.wait_condition(name, "Ready", "False", "NodeLost", seconds=150)
    assert "node mortal does not report" in found["message"]
    assert models.condition(name, "Available")["reason"] == "NodeLost"
    (pod,) = models.get(name)["status"]["failingPods"]
    assert pod["reason"] == "NodeLost"
    api.delete("nodes", "", "mortal")


def test_a_hand_edit_of_the_deployment_leaves_an_odd_replica_set_and_a_true_status(
    models: Models, name: str, api: Api
) -> None:
    models.create(name)
    models.wait_serving(name)
    (deployment,) = models.children(name)["deployments"]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    bare = {key: container[key] for key in ("name", "image", "securityContext")}
    edit = {"spec": {"template": {"spec": {"containers": [bare], "volumes": None}}}}
    api.merge("deployments", models.namespace, name, edit)

    def odd() -> bool:
        sets = api.list("replicasets", models.namespace, labelSelector=f"triton-vllm.dev/model={name}")
        return any("volumes" not in found["spec"]["template"]["spec"] for found in sets)

    wait_for("an odd ReplicaSet exists", odd)
    models.wait_serving(name)
    models.edit(name, replicas=2)
    wait_for("the status goes on", lambda: models.get(name)["status"]["replicaSummary"] == "2/2")
    models.wait_serving(name)


def test_a_model_that_a_finalizer_holds_is_not_called_ready_without_pods(
    models: Models, name: str, api: Api, wired: OperatorProcess
) -> None:
    models.create(name)
    models.wait_serving(name)
    hold: dict[str, Any] = {"metadata": {"finalizers": ["example.com/hold"]}}
    api.merge("vllmmodels", models.namespace, name, hold)
    api.delete("vllmmodels", models.namespace, name)
    stays("its pods serve, and it says so", lambda: bool(_condition(models, name, "Ready", "Serving")), 2)
    api.delete("deployments", models.namespace, name)
    found = wait_for("it says that it goes", lambda: _condition(models, name, "Ready", "Deleting"))
    assert found["status"] == "False"
    assert _condition(models, name, "Available", "Deleting")["status"] == "False"
    stays("nothing is made anew", lambda: not models.children(name)["deployments"], 2)
    assert wired.returncode() is None
    api.merge("vllmmodels", models.namespace, name, {"metadata": {"finalizers": []}})
    wait_for("it is gone", lambda: api.get("vllmmodels", models.namespace, name) is None)


def _condition(models: Models, name: str, kind: str, reason: str) -> dict[str, Any]:
    """Of whatever generation: a deletion makes a new one."""
    conditions = models.get(name)["status"]["conditions"]
    return next((c for c in conditions if (c["type"], c["reason"]) == (kind, reason)), {})


def test_a_paused_model_names_nothing_that_does_not_exist(models: Models, name: str) -> None:
    models.create(name, paused=True)
    models.wait_condition(name, "Ready", "Unknown", "Paused")
    status = models.get(name)["status"]
    assert not {"updateRevision", "currentRevision", "runtime", "endpoints"} & status.keys()
    assert name + "-" not in models.condition(name, "RepositoryReady")["message"]
    models.edit(name, paused=False)
    models.wait_serving(name)
    before = models.get(name)["status"]["updateRevision"]
    models.edit(name, paused=True, engineArgs={"max_model_len": 77})
    models.wait_condition(name, "Ready", "Unknown", "Paused")
    status = models.get(name)["status"]
    assert status["updateRevision"] == status["currentRevision"] == before
    assert models.condition(name, "RepositoryReady")["status"] == "Unknown"
    assert models.condition(name, "Available")["status"] == "True"


def test_a_deployment_that_cannot_be_changed_is_not_the_specs_fault(
    models: Models, name: str, api: Api
) -> None:
    model = models.create(name, paused=True)
    owner = {key: model[key] for key in ("apiVersion", "kind")}
    owner |= {"name": name, "uid": model["metadata"]["uid"], "controller": True}
    labels = {"app": "by-hand"}
    security = {
        "allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    container = {"name": "triton", "image": "registry.example/x", "securityContext": security}
    api.create("deployments", {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": models.namespace, "ownerReferences": [owner]},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    })  # fmt: skip
    models.edit(name, paused=False)
    found = models.wait_condition(name, "Ready", "False", "NameConflict")
    assert "immutable" in found["message"]
    assert f"Deployment {models.namespace}/{name}" in found["message"]
    assert models.condition(name, "Stalled") == {}
    api.delete("deployments", models.namespace, name)
    models.wait_serving(name, seconds=40)


def test_past_the_progress_deadline_the_newest_warning_is_quoted(
    models: Models, name: str, api: Api, kubelet: Kubelet
) -> None:
    """The deadline is set by hand, so the model is paused: its own is more than twenty minutes."""
    kubelet.behave(models.namespace, name, waiting("ContainerCreating", ""))
    models.create(name)
    (pod,) = wait_for("the pod is there", lambda: models.pods(name))
    models.wait_condition(name, "Ready", "Unknown", "Pending")
    models.edit(name, paused=True)
    for number, note in enumerate(('secret "old" not found', 'configmap "weights" not found')):
        api.create("events", _warning(pod, f"{name}-{number}", note, minutes_ago=5 - number))
    api.merge(
        "deployments", models.namespace, name, {"spec": {"progressDeadlineSeconds": 1, "minReadySeconds": 0}}
    )
    found = models.wait_condition(name, "Ready", "False", "ProgressDeadlineExceeded")
    assert 'FailedMount: MountVolume.SetUp failed: configmap "weights" not found' in found["message"]
    assert pod["metadata"]["name"] in found["message"]


def _warning(pod: dict[str, Any], name: str, note: str, *, minutes_ago: int) -> dict[str, Any]:
    metadata = pod["metadata"]
    at = datetime.fromtimestamp(time.time() - 60 * minutes_ago, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "type": "Warning", "reason": "FailedMount",
        "metadata": {"name": name, "namespace": metadata["namespace"]},
        "eventTime": at, "action": "Mount", "note": f"MountVolume.SetUp failed: {note}",
        "reportingController": "kubelet", "reportingInstance": "node-1",
        "regarding": {"kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"],
                      "uid": metadata["uid"]},
    }  # fmt: skip


def test_children_that_cannot_be_written_are_told_and_the_pods_serve_on(
    models: Models, name: str, wire: Proxy
) -> None:
    models.create(name)
    models.wait_serving(name)

    def refuse(stage: Literal["before", "after"], write: Write) -> None:
        if stage == "before" and write.path.endswith(f"/deployments/{name}"):
            raise Drop

    wire.hook = refuse
    try:
        models.edit(name, replicas=2)
        found = models.wait_condition(name, "Ready", "Unknown", "ReconcileFailed", seconds=60)
        assert f"PATCH /apis/apps/v1/namespaces/{models.namespace}/deployments/{name}" in found["message"]
        assert models.condition(name, "Available")["status"] == "True"
    finally:
        wire.hook = None
    wait_for("it heals", lambda: models.get(name)["status"]["replicaSummary"] == "2/2", 90)
    models.wait_serving(name)
