"""Events: one per pod and reason, the same name however often the status is computed."""

from unit.builders import NOW, a_cluster
from unit.status.test_cases import MODEL, ROLLED_BEFORE, rolling_without_gpu, serving
from vllm_operator.api.conditions import Problem, Reason
from vllm_operator.status.events import events
from vllm_operator.status.facts import StatusInputs


def posted(model=MODEL, cluster=None, problems=(), warnings=()):  # type: ignore[no-untyped-def]
    observed = (cluster or a_cluster(model)).observed()
    inputs = StatusInputs(model.identity(), problems, model.accepted(), observed, warnings=warnings)
    return events(inputs, NOW, reporter="operator-0")


def test_one_event_per_pod_and_reason() -> None:
    cluster = a_cluster(MODEL).applied(MODEL.accepted())
    once = posted(cluster=cluster.with_pods(cluster.pod("a").crashed(1), cluster.pod("b").crashed(1)))
    again = posted(cluster=cluster.with_pods(cluster.pod("a").crashed(7), cluster.pod("b").crashed(9)))
    names = [event["metadata"]["name"] for event in once]
    assert names == [event["metadata"]["name"] for event in again]
    assert len(set(names)) == 2
    assert all(event["type"] == "Warning" and event["reason"] == "ContainerCrashed" for event in once)
    assert once[0]["related"]["name"] == "a"
    assert once[0]["regarding"]["kind"] == "VLLMModel"


def test_a_bad_spec_is_one_event_per_generation() -> None:
    problem = (Problem(Reason.INVALID_SPEC, "spec.x: must be y"),)
    first, second = posted(problems=problem), posted(MODEL.at_generation(2), problems=problem)
    assert len(first) == len(second) == 1
    assert first[0]["metadata"]["name"] != second[0]["metadata"]["name"]
    assert "spec.x: must be y" in first[0]["note"]


def test_waiting_for_a_gpu_has_its_own_event() -> None:
    (event,) = posted(ROLLED_BEFORE, rolling_without_gpu())
    assert event["reason"] == "WaitingForGPU"


def test_serving_is_normal_and_said_once_per_revision() -> None:
    (event,) = posted(cluster=serving())
    assert (event["type"], event["reason"]) == ("Normal", "Serving")


def test_warnings_and_bounds() -> None:
    problem = (Problem(Reason.INVALID_SPEC, "x" * 9000),)
    for event in posted(problems=problem, warnings=("spec.gpus.count: 1 GPU will stay idle",)):
        assert len(event["note"]) <= 1024
        assert len(event["metadata"]["name"]) <= 253
