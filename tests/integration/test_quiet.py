"""After convergence a resync asks and writes nothing: six of them, of models in every settled state."""

import pytest

from integration.conftest import StartOperator
from localcluster.controlplane import ControlPlane
from operatorkit.api import Api
from operatorkit.kubelet import Kubelet, crashing, loading
from operatorkit.models import Models
from operatorkit.process import OperatorProcess
from operatorkit.release import Release
from operatorkit.waiting import wait_for

_RESYNC_SECONDS = 5
_RESYNCS = 6


@pytest.fixture(scope="module")
def operator(start_operator: StartOperator) -> OperatorProcess:
    """It resyncs all the time."""
    return start_operator(RESYNC_SECONDS=str(_RESYNC_SECONDS))


def _reconciles(operator: OperatorProcess) -> float:
    """All that ended, whatever their result."""
    lines = operator.get("/metrics")[1].splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm_operator_reconcile_total"))


def _settle(models: Models, api: Api, kubelet: Kubelet) -> int:
    """Make models that come to rest in different states; returns how many."""
    kubelet.behave(models.namespace, "crashes", crashing("no reason at all"))
    kubelet.behave(models.namespace, "loads", loading())
    taken = {"name": "taken", "namespace": models.namespace}
    api.create("services", {"metadata": taken, "spec": {"ports": [{"port": 1}]}})
    models.create("serves", replicas=2)
    models.create("crashes")
    models.create("loads")
    models.create("taken")
    models.create("sleeps", replicas=0)
    models.create("is-wrong", engineArgs={"no_such_argument": 1})
    models.create("does-not-fit", gpus={"count": 8}, engineArgs={"tensor_parallel_size": 8})
    models.create("limits", resources={"limits": {"cpu": "1000m", "memory": "1024Mi"}})
    models.wait_serving("serves")
    models.wait_serving("limits")
    models.wait_condition("crashes", "Ready", "False", "ContainerCrashed")
    models.wait_condition("loads", "Ready", "Unknown", "LoadingModel")
    models.wait_condition("taken", "Ready", "False", "NameConflict")
    models.wait_condition("sleeps", "Ready", "True", "ScaledToZero")
    models.wait_condition("is-wrong", "Stalled", "True", "InvalidEngineArgs")
    models.wait_condition("does-not-fit", "Ready", "False", "Unschedulable")
    models.edit("serves", engineArgs={"max_model_len": 99})
    models.wait_serving("serves")
    return 8


def test_six_resyncs_ask_nothing_and_write_nothing_but_the_lease(
    control_plane: ControlPlane,
    release: Release,
    models: Models,
    api: Api,
    kubelet: Kubelet,
    operator: OperatorProcess,
) -> None:
    count = _settle(models, api, kubelet)
    audit = control_plane.audit

    def writes(since: int) -> list[str]:
        found = audit.writes(user=release.user, since=since)
        return [event.what for event in found if event.resource != "leases"]

    # The log does record a write of the operator's.
    mark = audit.position()
    api.merge("deployments", models.namespace, "sleeps", {"spec": {"replicas": 1}})
    wait_for("the repair is in the audit log", lambda: any("deployments" in what for what in writes(mark)))
    models.wait_condition("sleeps", "Ready", "True", "ScaledToZero")
    wait_for("no pod of it is left", lambda: not models.pods("sleeps"))

    def rested() -> bool:
        nonlocal mark
        quiet = writes(mark) == []
        mark = audit.position()
        return quiet

    wait_for("the operator comes to rest", rested)
    mark, before = audit.position(), _reconciles(operator)
    wait_for(
        f"{_RESYNCS} resyncs of {count} models",
        lambda: _reconciles(operator) - before >= _RESYNCS * count,
        seconds=_RESYNCS * _RESYNC_SECONDS * 2,
    )
    events = audit.events(user=release.user, since=mark)
    # No event tells when a stranger's object leaves a name, so that one is asked for.
    asked = [event for event in events if event.verb != "watch" and event.name != "taken"]
    assert [event.what for event in asked if event.resource != "leases"] == []


def test_a_restart_writes_nothing_but_the_lease(
    control_plane: ControlPlane,
    release: Release,
    models: Models,
    operator: OperatorProcess,
    start_operator: StartOperator,
) -> None:
    """Runs on what the test above left: every state, converged."""
    assert operator.terminate() == 0
    mark = control_plane.audit.position()
    restarted = start_operator(POD_NAME="restarted")
    wait_for("every model was reconciled", lambda: _reconciles(restarted) >= 8)
    models.wait_serving("serves")
    writes = control_plane.audit.writes(user=release.user, since=mark)
    assert [event.what for event in writes if event.resource != "leases"] == []
    available = models.condition("serves", "Available")
    assert available["status"] == "True"
