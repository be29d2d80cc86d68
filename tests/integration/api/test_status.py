"""The computed status at the API server: stored as it is, nothing pruned, nothing added; Events accepted."""

from typing import Any

import pytest

from integration.api.tables import model
from operatorkit.api import Api, path
from unit.builders import NOW, a_cluster
from unit.status.test_cases import CASES, Case, status_of
from vllm_operator.observed.state import BackendInfo, ProbeVerdict
from vllm_operator.status.events import events
from vllm_operator.status.facts import StatusInputs


@pytest.fixture(scope="module")
def holder(api: Api, namespace: str) -> dict[str, Any]:
    return api.create("vllmmodels", model({"object": {"metadata": {"name": "opt"}}}, namespace))


def apply_status(api: Api, namespace: str, status: dict[str, Any]) -> dict[str, Any]:
    body = {
        "apiVersion": "triton-vllm.dev/v1alpha1",
        "kind": "VLLMModel",
        "metadata": {"name": "opt", "namespace": namespace},
        "status": status,
    }
    query = {"fieldManager": "vllm-operator-status", "force": "true", "fieldValidation": "Strict"}
    where = path("vllmmodels", namespace, "opt", "status")
    answer = api.call("PATCH", where, body, query=query, content_type="application/apply-patch+yaml")
    found: dict[str, Any] = answer["status"]
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_status_is_stored_as_computed(api: Api, namespace: str, holder: dict[str, Any], case: Case) -> None:
    status = status_of(case.model, case.cluster(), problems=case.problems)
    assert apply_status(api, namespace, status) == status


def test_the_fullest_status_is_stored_as_computed(api: Api, namespace: str, holder: dict[str, Any]) -> None:
    asked = CASES[0].model.with_replicas(20)
    cluster = a_cluster(asked).applied(asked.accepted())
    cluster = cluster.with_pods(
        cluster.pod("good").ready(), *(cluster.pod(f"p{n:02}").crashed(exitCode=3) for n in range(19))
    )
    backend = BackendInfo("2.60.0", "0.32.0", tuple(f"{n:040}" for n in range(20)))
    status = status_of(asked, cluster.probed("good", ProbeVerdict.SERVING, backend=backend))
    assert apply_status(api, namespace, status) == status


def test_conditions_that_are_over_disappear(api: Api, namespace: str, holder: dict[str, Any]) -> None:
    loading, serving = (
        next(case for case in CASES if case.name == name) for name in ("new object, loading", "serving")
    )
    apply_status(api, namespace, status_of(loading.model, loading.cluster()))
    stored = apply_status(api, namespace, status_of(serving.model, serving.cluster()))
    assert "Reconciling" not in {condition["type"] for condition in stored["conditions"]}


def test_events_are_taken_once(api: Api, namespace: str) -> None:
    cluster = a_cluster(CASES[0].model).applied(CASES[0].model.accepted())
    cluster = cluster.with_pods(cluster.pod("a").crashed(exitCode=3))
    inputs = StatusInputs(CASES[0].model.identity(), (), CASES[0].model.accepted(), cluster.observed())
    (event,) = events(inputs, NOW, reporter="operator-0")
    event["metadata"]["namespace"] = event["regarding"]["namespace"] = namespace
    answer = api.call("POST", path("events", namespace), event, query={"fieldValidation": "Strict"})
    assert answer["reason"] == "ContainerCrashed"
