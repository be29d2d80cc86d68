"""A new leader says nothing false of models that go on serving: each written status of twenty is watched."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from integration.conftest import StartOperator
from localcluster.controlplane import ControlPlane
from operatorkit.api import Api
from operatorkit.kubelet import Kubelet, ready
from operatorkit.models import Models
from operatorkit.process import OperatorProcess
from operatorkit.release import Release
from operatorkit.waiting import stays, wait_for
from tritonstandin import TritonStandIn

_COUNT = 20
#: As the chart ships them.
_LEASE = {"LEASE_DURATION_SECONDS": "15", "LEASE_RENEW_DEADLINE_SECONDS": "10"}
_NAMES = [f"model-{number:02}" for number in range(_COUNT)]


@pytest.fixture(scope="module")
def first(start_operator: StartOperator, models: Models) -> OperatorProcess:
    """It leads, and all models serve."""
    operator = start_operator(POD_NAME="first", **_LEASE)
    for name in _NAMES:
        models.create(name, probe={"periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3})
    for name in _NAMES:
        models.wait_serving(name, seconds=120)
    return operator


@pytest.fixture
def written(control_plane: ControlPlane, release: Release) -> Iterator[Callable[[], list[Any]]]:
    """What was written of Ready and Available since the test began and is not True."""
    mark = control_plane.audit.position()

    def found() -> list[Any]:
        return [
            (event.name, condition["type"], condition["status"], condition["reason"])
            for event in control_plane.audit.writes(user=release.user, resource="vllmmodels", since=mark)
            for condition in event.body["status"]["conditions"]
            if condition["type"] in ("Ready", "Available") and condition["status"] != "True"
        ]

    return found


def _probes(operator: OperatorProcess) -> float:
    lines = operator.get("/metrics")[1].splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm_operator_probe_total"))


def _all_judged(operator: OperatorProcess) -> None:
    wait_for("all pods have been probed", lambda: _probes(operator) >= _COUNT, 60)


def test_no_written_status_leaves_true_when_the_leader_is_killed(
    first: OperatorProcess, start_operator: StartOperator, written: Callable[[], list[Any]], models: Models
) -> None:
    uids = {name: models.get(name)["status"]["servingPods"] for name in _NAMES}
    assert all(len(found) == 1 for found in uids.values())
    first.kill()
    second = start_operator(POD_NAME="second", **_LEASE)
    _all_judged(second)
    stays("all is well after the probes, too", lambda: written() == [], 3)
    assert {name: models.get(name)["status"]["servingPods"] for name in _NAMES} == uids
    assert second.terminate() == 0


def test_nor_at_the_first_start_after_a_version_that_did_not_list_them(
    first: OperatorProcess,
    start_operator: StartOperator,
    written: Callable[[], list[Any]],
    models: Models,
    api: Api,
) -> None:
    for name in _NAMES:
        api.merge("vllmmodels", models.namespace, name, {"status": {"servingPods": None}}, "status")
        assert "servingPods" not in models.get(name)["status"]
    third = start_operator(POD_NAME="third", **_LEASE)
    _all_judged(third)
    wait_for("they are listed", lambda: all(models.get(name)["status"].get("servingPods") for name in _NAMES))
    assert written() == []
    assert third.terminate() == 0


def test_a_hanging_pod_is_seen_by_the_next_leader_and_by_evidence(
    start_operator: StartOperator, models: Models, name: str, kubelet: Kubelet, triton: TritonStandIn
) -> None:
    kubelet.behave(models.namespace, name, ready(triton.address))
    operator = start_operator(POD_NAME="fourth", **_LEASE)
    models.create(name)
    models.wait_serving(name)
    operator.kill()
    triton.behaviour = "hang"
    start_operator(POD_NAME="fifth", **_LEASE)
    models.wait_condition(name, "Available", "False", "ProbeTimeout", seconds=40)
    assert models.get(name)["status"]["servingPods"] == []
