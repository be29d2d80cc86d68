"""Lost nodes, pods that do not end, deadlines, deletion and pause: told as what they are."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from unit.builders import NOW, ClusterBuilder, ModelBuilder, PodBuilder, a_cluster, stamp
from unit.status.test_cases import MODEL, OLD, SERVED_BEFORE, condition, rolling, said, serving, status_of
from vllm_operator.api.conditions import Problem, Reason
from vllm_operator.api.v1alpha1 import ModelIdentity
from vllm_operator.observed.state import ObservedState, ProbeVerdict
from vllm_operator.status import pods
from vllm_operator.status.compute import StatusInputs, compute
from vllm_operator.status.events import events
from vllm_operator.status.facts import read
from vllm_operator.status.warning import newest, pod_to_ask_about


def with_pod(pod: PodBuilder) -> ClusterBuilder:
    return replace(serving(), pods=(pod,), probes={})


A = serving().pod("a")


def marked(pod: PodBuilder, **ready: Any) -> PodBuilder:
    """As the node controller leaves it: Ready alone is turned."""
    pod = pod.ready().with_condition("ContainersReady", "True")
    return pod.with_condition("Ready", "False", lastTransitionTime=stamp(NOW - timedelta(minutes=1)), **ready)


def test_a_lost_node_is_not_the_models_fault() -> None:
    found = status_of(SERVED_BEFORE, with_pod(marked(A)))
    assert said(found)["Ready"] == said(found)["Available"] == "False/NodeLost"
    assert "node node-1 does not report" in condition(found, "Ready")["message"]  # type: ignore[index]
    assert found["failingPods"][0]["reason"] == "NodeLost"


def test_who_turned_ready() -> None:
    gate = {"readinessGates": [{"conditionType": "example.com/in-mesh"}]}
    pod = marked(A).object()
    assert pods.node_lost(pod)
    assert not pods.node_lost({**pod, "spec": {**pod["spec"], **gate}}), "a gate that is not there yet"
    gated = marked(A).with_condition("example.com/in-mesh", "False").object()
    assert not pods.node_lost({**gated, "spec": {**gated["spec"], **gate}})
    assert not pods.node_lost(marked(A, reason="ReadinessGatesNotReady").object())
    met = marked(A).with_condition("example.com/in-mesh", "True").object()
    assert pods.node_lost({**met, "spec": {**met["spec"], **gate}})
    assert not pods.node_lost(A.lost().with_condition("ContainersReady", "False").object())
    assert not pods.node_lost(A.ready().with_condition("ContainersReady", "True").object())


def test_a_pod_that_does_not_end_is_a_fact_and_after_its_time_a_failure() -> None:
    model, cluster = MODEL.with_status({"currentRevision": OLD.accepted().name("opt")}), rolling()
    ending = replace(cluster.pods[0].terminating(), name="old")
    cluster = replace(cluster, pods=(ending, cluster.pod("new").waiting("ContainerCreating")))
    inputs = StatusInputs(model.identity(), (), model.accepted(), cluster.observed())
    text = "pod old is Terminating since 2026-03-01T11:59:30Z on node node-1"
    first = compute(inputs, NOW)
    assert text in condition(first, "Ready")["message"]  # type: ignore[index]
    assert "failingPods" not in first
    change = read(inputs, NOW).next_change
    assert change == NOW + timedelta(seconds=30)
    later = compute(inputs, change)
    assert [pod["name"] for pod in later["failingPods"]] == ["old"]
    assert later["failingPods"][0]["reason"] == "PodStuckTerminating"
    posted = events(inputs, change, reporter="operator-0")
    assert [event["reason"] for event in posted if event["type"] == "Warning"] == ["PodStuckTerminating"]


LATE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}


def overdue(*changes: Any) -> ClusterBuilder:
    cluster = a_cluster(MODEL).applied(MODEL.accepted(), conditions=[LATE])
    return cluster.with_pods(*(change(cluster.pod(f"p{n}")) for n, change in enumerate(changes)))


def test_past_the_deadline_the_newest_warning_is_quoted() -> None:
    cluster = overdue(lambda pod: pod.waiting("ContainerCreating"))
    warning = 'FailedMount: MountVolume.SetUp failed for volume "x": configmap "y" not found'
    found = status_of(MODEL, cluster, warning=warning)
    assert said(found)["Ready"] == "False/ProgressDeadlineExceeded"
    assert f"on pod p0: {warning}" in condition(found, "Ready")["message"]  # type: ignore[index]
    known = status_of(MODEL, overdue(lambda pod: pod.waiting("ErrImagePull", "no")))
    assert said(known)["Ready"] == "False/ImagePullFailed", "a known cause says more"


def test_events_are_asked_for_only_past_the_deadline_and_of_the_pod_that_waits() -> None:
    def asked(cluster: ClusterBuilder) -> str:
        inputs = StatusInputs(MODEL.identity(), (), MODEL.accepted(), cluster.observed())
        return pod_to_ask_about(read(inputs, NOW))

    assert asked(overdue(lambda p: p.loading(), lambda p: p.waiting("ContainerCreating"))) == "uid-of-p1"
    assert asked(overdue()) == ""
    in_time = a_cluster(MODEL).applied(MODEL.accepted())
    assert asked(in_time.with_pods(in_time.pod("p0").waiting("ContainerCreating"))) == ""
    assert (
        asked(replace(serving(), deployment={**serving().deployment, "status": {"conditions": [LATE]}})) == ""
    )  # type: ignore[dict-item]


def test_the_newest_warning_by_whichever_time_it_has() -> None:
    def event(note: str, kind: str = "Warning", **times: Any) -> dict[str, Any]:
        return {"type": kind, "reason": "FailedMount", "note": note, **times}

    made = {"creationTimestamp": "2026-03-01T11:58:00Z"}
    old = event("old", eventTime="2026-03-01T11:00:00.000000Z", metadata=made)
    legacy = event("legacy", deprecatedLastTimestamp="2026-03-01T11:30:00Z", eventTime=None)
    series = event(f"sandbox {'ab' * 32}", eventTime="2026-03-01T10:00:00Z",
                   series={"lastObservedTime": "2026-03-01T11:45:00.000000Z"})  # fmt: skip
    normal = event("pulled", "Normal", eventTime="2026-03-01T11:59:00Z")
    assert newest([old, legacy, normal]) == "FailedMount: legacy"
    assert newest([series, old, legacy]) == "FailedMount: sandbox ..."
    assert newest([normal]) == ""


def deleted(model: ModelBuilder, observed: ObservedState, stored: Any) -> dict[str, Any]:
    identity = replace(model.identity(), deletion_timestamp="2026-03-01T11:59:00Z")
    return compute(StatusInputs(identity, (), stored, observed, stored=stored), NOW)


def test_a_model_that_is_being_deleted_says_what_is_there() -> None:
    revision = MODEL.accepted()
    whole = deleted(SERVED_BEFORE, serving().observed(), revision)
    assert said(whole)["Ready"] == said(whole)["Available"] == "True/Serving", "its pods do serve"
    without_pods = deleted(SERVED_BEFORE, replace(serving(), pods=()).observed(), revision)
    nothing = deleted(SERVED_BEFORE, ObservedState(), None)
    for found in (without_pods, nothing):
        assert said(found)["Ready"] == said(found)["Available"] == "False/Deleting"
        assert "Reconciling" not in said(found)
        assert "Stalled" not in said(found)
    assert not {"updateRevision", "currentRevision", "endpoints", "runtime", "model"} & nothing.keys()


def test_a_model_that_was_never_applied_names_nothing() -> None:
    found = status_of(MODEL.paused(), a_cluster(MODEL))
    assert (
        not {"updateRevision", "currentRevision", "endpoints", "runtime", "model", "gpusPerReplica"}
        & found.keys()
    )
    assert said(found)["RepositoryReady"] == "Unknown/Paused"


def test_a_paused_model_names_the_revision_that_it_has() -> None:
    model = replace(SERVED_BEFORE, spec=MODEL.with_engine_args(max_model_len=9).spec).paused()
    found = status_of(model, serving(), stored=MODEL.accepted())
    assert found["updateRevision"] == found["currentRevision"] == MODEL.accepted().name("opt")
    assert said(found)["Ready"] == said(found)["RepositoryReady"] == "Unknown/Paused"
    assert said(found)["Available"] == "True/Serving"
    assert model.accepted().name("opt") not in str(found)


@pytest.mark.parametrize("gone", ["service", "config_maps", "controller_revisions"])
def test_what_is_gone_is_not_named(gone: str) -> None:
    cluster = replace(serving(), **{gone: None if gone == "service" else ()})
    found = status_of(SERVED_BEFORE.paused(), cluster)
    if gone == "service":
        assert "endpoints" not in found
    elif gone == "config_maps":
        assert said(found)["RepositoryReady"] == "Unknown/Paused"
    else:
        assert not {"updateRevision", "currentRevision"} & found.keys()


def test_a_failing_reconcile_is_unknown_and_says_nothing_against_the_pods() -> None:
    found = status_of(SERVED_BEFORE, serving(), failure="PATCH /apis/x: 500 etcd is away")
    assert said(found)["Ready"] == "Unknown/ReconcileFailed"
    assert said(found)["Available"] == "True/Serving"
    assert "PATCH /apis/x: 500 etcd is away" in condition(found, "Ready")["message"]  # type: ignore[index]


@pytest.mark.parametrize("pod", [A.ready(), A.lost()], ids=["ready", "turned away"])
def test_a_hung_engine_is_called_that(pod: PodBuilder) -> None:
    cluster = with_pod(pod).probed("a", ProbeVerdict.HUNG, "3 requests, no message for 60 s")
    found = status_of(SERVED_BEFORE, cluster)
    assert said(found)["Ready"] == said(found)["Available"] == f"False/{Reason.ENGINE_HUNG}"
    assert found["failingPods"][0]["reason"] == "EngineHung"


def test_words_that_no_json_can_carry() -> None:
    assert pods.one_line("a\ud800b\x00c\n d") == "a b c d"


def test_identity_is_enough_for_a_status() -> None:
    identity = ModelIdentity.of({"metadata": {"name": "x"}})
    assert compute(StatusInputs(identity, (), None, ObservedState()), NOW)["conditions"]


REFUSED = {"type": "ReplicaFailure", "status": "True", "message": 'pods "x" is forbidden: no such quota'}


@pytest.mark.parametrize("condition", [LATE, REFUSED])
@pytest.mark.parametrize(("observed", "old_news"), [(1, True), (None, True), (2, False), (3, False)])
def test_what_a_deployment_said_of_the_last_spec_is_not_said_of_the_next(
    condition: dict[str, Any], observed: int | None, old_news: bool
) -> None:
    """Its controller has seen generation `observed` of 2."""
    cluster = a_cluster(MODEL).applied(MODEL.accepted(), conditions=[condition], observedGeneration=observed)
    assert cluster.deployment is not None
    metadata = {**cluster.deployment["metadata"], "generation": 2}
    cluster = replace(cluster, deployment={**cluster.deployment, "metadata": metadata})
    found = said(status_of(MODEL, cluster))["Ready"]
    if old_news:
        assert found == "Unknown/Pending"
    else:
        assert found in ("False/ProgressDeadlineExceeded", "False/AdmissionRejected")


TAKEN = Problem(Reason.NAME_CONFLICT, "Service default/opt exists", stalled=False)


@pytest.mark.parametrize(
    ("model", "problems", "expected"),
    [
        (SERVED_BEFORE.paused(), (), "False/Paused"),
        (SERVED_BEFORE, (TAKEN,), "False/NameConflict"),
        # It is put back at once: nobody needs to be told.
        (SERVED_BEFORE, (), "True/Serving"),
    ],
)
def test_no_traffic_is_served_without_a_service(
    model: ModelBuilder, problems: tuple[Problem, ...], expected: str
) -> None:
    for service, available in ((None, expected), (serving().service, "True/Serving")):
        cluster = replace(serving(), service=service)
        inputs = StatusInputs(model.identity(), problems, model.accepted(), cluster.observed())
        assert said(compute(inputs, NOW))["Available"] == available
