"""When old pods may end before new ones serve: only where there is nothing to lose, and without flapping."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from unit.builders import NOW, ClusterBuilder, PodBuilder, a_cluster
from unit.status.test_cases import MODEL, NO_GPU, OLD, condition, said, status_of
from vllm_operator.observed.state import ProbeVerdict
from vllm_operator.status import room
from vllm_operator.status.facts import StatusInputs, read

THIRD = MODEL.with_engine_args(max_model_len=256)


def needed(cluster: ClusterBuilder, model=MODEL) -> bool:  # type: ignore[no-untyped-def]
    inputs = StatusInputs(model.identity(), (), model.accepted(), cluster.observed())
    return room.is_needed(read(inputs, NOW))


def wrong(*changes: Callable[[PodBuilder], PodBuilder]) -> ClusterBuilder:
    """The children of OLD with one pod for each change; MODEL has not been applied yet."""
    cluster = a_cluster(OLD).applied(OLD.accepted())
    pods = [change(cluster.pod(f"old-{number}")) for number, change in enumerate(changes)]
    return replace(cluster.with_pods(*pods), model=MODEL)


def begun(cluster: ClusterBuilder) -> ClusterBuilder:
    assert cluster.deployment is not None
    spec = {**cluster.deployment["spec"], "strategy": room.STRATEGY}
    return replace(cluster, deployment={**cluster.deployment, "spec": spec})


def crashed(pod: PodBuilder) -> PodBuilder:
    return pod.crashed(3)


def restarted(pod: PodBuilder) -> PodBuilder:
    """Between two crashes."""
    return pod.loading().with_container(restartCount=3, lastState={"terminated": {"exitCode": 1}})


def loading(pod: PodBuilder) -> PodBuilder:
    return pod.loading()


def ready(pod: PodBuilder) -> PodBuilder:
    return pod.ready()


def lost(pod: PodBuilder) -> PodBuilder:
    return pod.lost()


def just_lost(pod: PodBuilder) -> PodBuilder:
    return pod.lost().with_condition("Ready", "False", lastTransitionTime="2026-03-01T11:59:50Z")


def on_a_lost_node(pod: PodBuilder) -> PodBuilder:
    return pod.ready().with_condition("Ready", "False").with_condition("ContainersReady", "True")


def pending(pod: PodBuilder) -> PodBuilder:
    return pod.unschedulable(NO_GPU)


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ((crashed,), True),
        ((restarted,), True),
        ((loading,), True),
        ((pending,), True),
        ((lost,), True),
        ((crashed, crashed), True),
        ((ready,), False),  # a fresh leader has not judged it
        ((crashed, ready), False),
        ((just_lost,), False),
        ((on_a_lost_node,), False),
        ((), False),
    ],
    ids=lambda value: "+".join(f.__name__ for f in value) if isinstance(value, tuple) else "",
)
def test_at_the_moment_of_the_correction(
    pods: tuple[Callable[[PodBuilder], PodBuilder], ...], expected: bool
) -> None:
    assert needed(wrong(*pods)) is expected


@pytest.mark.parametrize("verdict", list(ProbeVerdict))
def test_a_ready_pod_stays_unless_its_probes_fail(verdict: ProbeVerdict) -> None:
    cluster = wrong(ready).probed("old-0", verdict, "words")
    against = verdict not in (ProbeVerdict.SERVING, ProbeVerdict.UNREACHABLE)
    assert needed(cluster) is against
    stale = {uid: replace(result, stale=True) for uid, result in cluster.probes.items()}
    assert not needed(replace(cluster, probes=stale)), "a stale verdict is no evidence"


def test_a_hung_pod_that_was_turned_away_does_not_serve() -> None:
    assert needed(wrong(just_lost).probed("old-0", ProbeVerdict.HUNG, "the engine hangs"))


def test_nothing_is_made_room_for_where_the_wanted_revision_loads() -> None:
    cluster = wrong(crashed).applied(MODEL.accepted())
    assert needed(cluster.with_pods(cluster.pod("new").unschedulable(NO_GPU)))
    assert needed(cluster.with_pods(cluster.pod("new").waiting("ContainerCreating")))
    assert needed(cluster.with_pods(crashed(cluster.pod("new"))))
    assert not needed(cluster.with_pods(cluster.pod("new").loading()))


def test_a_first_start_is_none() -> None:
    cluster = a_cluster(MODEL)
    assert not needed(cluster)
    cluster = cluster.applied(MODEL.accepted())
    for change in (crashed, restarted, loading, pending, ready):
        assert not needed(cluster.with_pods(change(cluster.pod("a"))))


def test_once_begun_it_goes_on_until_a_new_pod_is_ready() -> None:
    cluster = begun(wrong(crashed).applied(MODEL.accepted()))
    new = cluster.pod("new")
    for pods in (
        (*cluster.pods, new.unschedulable(NO_GPU)),
        (cluster.pods[0].terminating(), new.unschedulable(NO_GPU)),
        (new.waiting("ContainerCreating"),),
        (new.loading(),),
        (crashed(new),),
        (restarted(new),),
        (),
    ):
        assert needed(replace(cluster, pods=pods)), pods
    assert not needed(replace(cluster, pods=(new.ready(),)))
    assert not needed(replace(cluster, pods=(new.ready(),)).probed("new"))


def test_a_correction_of_a_correction_and_the_way_back() -> None:
    cluster = begun(wrong().applied(MODEL.accepted()))
    cluster = replace(cluster.with_pods(crashed(cluster.pod("new"))), model=THIRD)
    assert needed(cluster, THIRD)
    back = replace(cluster, model=OLD)
    assert needed(back, OLD)


def test_a_healthy_roll_is_never_touched() -> None:
    """Also where it had begun: a pod of the correction serves, and the next edit is an ordinary roll."""
    for make in (lambda c: c, begun):
        cluster = make(wrong(ready).probed("old-0"))
        assert not needed(cluster)
        cluster = make(cluster.applied(MODEL.accepted()))
        for change in (pending, loading, crashed, ready):
            assert not needed(cluster.with_pods(change(cluster.pod("new"))))


def test_pods_that_were_not_seen_may_serve() -> None:
    cluster = wrong(crashed)
    counted = {**cluster.replica_sets[0], "status": {"readyReplicas": 1}}
    assert not needed(replace(cluster, replica_sets=(counted,)))


def test_it_ends_with_the_model_scaled_to_zero() -> None:
    cluster = begun(a_cluster(MODEL.with_replicas(0)).applied(MODEL.accepted()))
    assert not needed(cluster, MODEL.with_replicas(0))


def test_the_status_names_who_holds_what_the_new_pod_waits_for() -> None:
    cluster = wrong(crashed).applied(MODEL.accepted())
    old = replace(cluster.pods[0].terminating(), more={})
    waits = replace(cluster, pods=(old, cluster.pod("new").unschedulable(NO_GPU)))
    ready_now = condition(status_of(MODEL, waits), "Ready")
    assert ready_now is not None
    assert (ready_now["status"], ready_now["reason"]) == ("Unknown", "WaitingForOldPods")
    assert (
        "on pod new: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu; pod old-0 is Terminating since"
        in (ready_now["message"])
    )


def test_an_old_pod_that_is_there_is_named_with_its_node() -> None:
    """Of another resource than GPUs; the old pod was turned away a moment ago and may come back."""
    cluster = wrong(just_lost).applied(MODEL.accepted())
    new = cluster.pod("new").unschedulable("0/1 nodes are available: 1 Insufficient memory.")
    ready_now = condition(status_of(MODEL, cluster.with_pods(new)), "Ready")
    assert ready_now is not None
    assert (ready_now["status"], ready_now["reason"]) == ("Unknown", "WaitingForOldPods")
    assert (
        "Insufficient memory; pod old-0 of the old revision is on node node-1. Remedy: free what it needs"
        in (ready_now["message"])
    )


def test_a_new_leader_calls_an_unjudged_pod_no_hindrance() -> None:
    cluster = wrong(ready).applied(MODEL.accepted())
    found = status_of(MODEL, cluster.with_pods(cluster.pod("new").unschedulable(NO_GPU)))
    assert said(found)["Ready"] == "Unknown/WaitingForGPU"


def test_recreate_says_whose_end_it_waits_for() -> None:
    cluster = wrong(ready).applied(MODEL.with_spec(rollout={"type": "Recreate"}).accepted())
    waits = replace(cluster, pods=(cluster.pods[0].terminating(),))
    ready_now = condition(status_of(MODEL, waits), "Ready")
    assert ready_now is not None
    assert ready_now["reason"] == "WaitingForOldPods"
    assert "pod old-0 is Terminating since 2026-03-01T11:59:30Z on node node-1" in ready_now["message"]


def test_a_quota_that_refuses_only_the_surge_pod() -> None:
    failure = {
        "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
        "message": 'pods "x" is forbidden: exceeded quota: gpus, requested: 1, used: 1, limited: 1',
    }  # fmt: skip
    cluster = wrong(ready).probed("old-0").applied(MODEL.accepted(), conditions=[failure])
    found = status_of(MODEL, cluster)
    assert said(found)["Ready"] == "Unknown/WaitingForQuota"
    assert said(found)["Available"] == "True/Serving"
    message = condition(found, "Ready")["message"]  # type: ignore[index]
    assert "exceeded quota: gpus" in message
    assert "Recreate" in message


def test_a_quota_that_the_ending_pod_still_counts_in() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}
    cluster = wrong(crashed).applied(MODEL.accepted(), conditions=[failure])
    found = status_of(MODEL, replace(cluster, pods=(cluster.pods[0].terminating(),)))
    assert said(found)["Ready"] == "Unknown/WaitingForOldPods"
    message = condition(found, "Ready")["message"]  # type: ignore[index]
    assert "exceeded quota: gpus; pod old-0 is Terminating since" in message


def test_lost_readiness_comes_of_age() -> None:
    inputs = StatusInputs(MODEL.identity(), (), MODEL.accepted(), wrong(just_lost).observed())
    facts = read(inputs, NOW)
    assert facts.next_change is not None
    assert not room.is_needed(facts)
    assert room.is_needed(read(inputs, facts.next_change))
    assert facts.next_change - NOW < timedelta(minutes=1)
