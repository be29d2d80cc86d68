"""One GPU, a spec that never serves, and its correction: the GPU changes hands only where nothing serves."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from integration.conftest import StartOperator
from localcluster.controlplane import ControlPlane
from operatorkit.api import Api
from operatorkit.kubelet import Kubelet, Status, crashing, loading, ready
from operatorkit.models import Models
from operatorkit.process import OperatorProcess
from operatorkit.release import Release
from operatorkit.waiting import stays, wait_for
from tritonstandin import TritonStandIn

_NODE = "one-gpu"
#: A model that fits on that node once.
_ONE: dict[str, Any] = {
    "gpus": {"count": 1},
    "scheduling": {"nodeSelector": {"kubernetes.io/hostname": _NODE}},
}
_WORDS = json.dumps({"reason": "KVCacheTooSmall", "detail": "100000 tokens do not fit", "exitCode": 1})
_SPECS_STRATEGY = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


@pytest.fixture(scope="module")
def node(api: Api, kubelet: Kubelet, healthy_triton: TritonStandIn) -> Iterator[Kubelet]:
    """A second Node, with one GPU."""
    with Kubelet(api, ready(healthy_triton.address), gpus=1, node=_NODE) as running:
        yield running
    api.delete("nodes", "", _NODE)


@pytest.fixture(scope="module")
def operator(start_operator: StartOperator, node: Kubelet) -> OperatorProcess:
    """The module's operator; a test may kill it and start it again."""
    return start_operator()


@pytest.fixture
def one(operator: OperatorProcess, models: Models, name: str) -> Iterator[str]:
    """The model of the test; afterwards the GPU is free again."""
    yield name
    models.api.delete("vllmmodels", models.namespace, name)
    wait_for("its pods are gone", lambda: not models.pods(name))


def _length(pod: dict[str, Any], models: Models) -> int:
    """The `max_model_len` that a pod was made with."""
    volume = next(found for found in pod["spec"]["volumes"] if found["name"] == "repository")
    config_map = models.api.get("configmaps", models.namespace, volume["configMap"]["name"])
    assert config_map is not None
    return int(json.loads(config_map["data"]["model.json"])["max_model_len"])


def only(models: Models, good: int, serve: Status, otherwise: Status) -> Status:
    """Pods made with the good length serve; the others do as they are told."""
    return lambda pod: (serve if _length(pod, models) == good else otherwise)(pod)


def _spec(body: Any) -> dict[str, Any]:
    """What a write asks for; a JSON patch asks for no spec."""
    return body.get("spec", {}) if isinstance(body, dict) else {}


def _strategy(models: Models, name: str) -> dict[str, Any]:
    found = models.api.get("deployments", models.namespace, name)
    assert found is not None
    strategy: dict[str, Any] = found["spec"]["strategy"]
    return strategy


@pytest.mark.parametrize("otherwise", [crashing(_WORDS), loading()], ids=["crashes", "loads for ever"])
def test_a_correction_of_what_never_served_gets_the_gpu(
    models: Models, one: str, node: Kubelet, healthy_triton: TritonStandIn, otherwise: Status
) -> None:
    node.behave(models.namespace, one, only(models, 512, ready(healthy_triton.address), otherwise))
    models.create(one, engineArgs={"max_model_len": 100000}, **_ONE)
    wait_for("the wrong pod runs", lambda: [pod for pod in models.pods(one) if pod["spec"].get("nodeName")])
    wait_for(
        "and has been seen",
        lambda: models.condition(one).get("reason") in ("KVCacheTooSmall", "LoadingModel"),
    )
    models.edit(one, engineArgs={"max_model_len": 512})
    models.wait_serving(one, seconds=40)
    wait_for("the strategy is the spec's again", lambda: _strategy(models, one) == _SPECS_STRATEGY)
    assert len(models.pods(one)) == 1


def test_a_correction_of_a_correction(
    models: Models, one: str, node: Kubelet, healthy_triton: TritonStandIn
) -> None:
    node.behave(models.namespace, one, only(models, 512, ready(healthy_triton.address), crashing(_WORDS)))
    models.create(one, engineArgs={"max_model_len": 100000}, **_ONE)
    models.wait_condition(one, "Ready", "False", "KVCacheTooSmall")
    models.edit(one, engineArgs={"max_model_len": 99999})
    models.wait_condition(one, "Ready", "False", "KVCacheTooSmall")
    wait_for("it has the GPU", lambda: [_length(p, models) for p in models.pods(one)] == [99999])
    models.edit(one, engineArgs={"max_model_len": 512})
    models.wait_serving(one, seconds=40)
    wait_for("the strategy is the spec's again", lambda: _strategy(models, one) == _SPECS_STRATEGY)


def test_a_healthy_roll_is_not_touched_under_an_old_and_a_new_leader(
    models: Models, one: str, operator: OperatorProcess, start_operator: StartOperator
) -> None:
    models.create(one, engineArgs={"max_model_len": 512}, **_ONE)
    models.wait_serving(one)
    (old,) = models.pods(one)

    def untouched() -> bool:
        there = [
            pod["metadata"]["uid"] for pod in models.pods(one) if not pod["metadata"].get("deletionTimestamp")
        ]
        return old["metadata"]["uid"] in there and _strategy(models, one) == _SPECS_STRATEGY

    models.edit(one, engineArgs={"max_model_len": 1024})
    models.wait_condition(one, "Ready", "Unknown", "WaitingForGPU")
    stays("the old pod serves", untouched, 3)
    operator.kill()
    start_operator()  # under the same name: it has the lease back at once, and no verdict about any pod
    stays("the old pod serves on", untouched, 5)
    assert models.condition(one, "Available")["status"] == "True"


def test_a_pod_that_does_not_end_is_named(
    models: Models,
    one: str,
    node: Kubelet,
    healthy_triton: TritonStandIn,
    control_plane: ControlPlane,
    release: Release,
) -> None:
    node.behave(models.namespace, one, only(models, 512, ready(healthy_triton.address), crashing(_WORDS)))
    models.create(one, engineArgs={"max_model_len": 100000}, **_ONE)
    models.wait_condition(one, "Ready", "False", "KVCacheTooSmall")
    (old,) = models.pods(one)
    node.holding.add((models.namespace, one))
    mark = control_plane.audit.position()
    try:
        models.edit(one, engineArgs={"max_model_len": 512})
        found = models.wait_condition(one, "Ready", "Unknown", "WaitingForOldPods")
        assert f"pod {old['metadata']['name']} is Terminating since " in found["message"]
        assert f"on node {_NODE}" in found["message"]
        assert "Insufficient nvidia.com/gpu" in found["message"]
    finally:
        node.holding.clear()
    models.wait_serving(one, seconds=60)
    strategies = [
        _spec(event.body)["strategy"]
        for event in control_plane.audit.writes(user=release.user, resource="deployments", since=mark)
        if event.name == one and "strategy" in _spec(event.body)
    ]
    changes = [now for now, before in zip(strategies, [None, *strategies], strict=False) if now != before]
    assert len(changes) == 2, "to the one and back, and no flapping"
