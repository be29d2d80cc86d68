"""What is known of a pod is kept per pod and dated; want of evidence never turns a condition to False."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from unit.builders import NOW, ClusterBuilder, ModelBuilder, a_cluster
from unit.status.test_cases import MODEL, OLD, SERVED_BEFORE, rolling, said, serving
from vllm_operator.observed.state import ProbeVerdict
from vllm_operator.status.compute import StatusInputs, compute
from vllm_operator.status.evidence import MAX_AGE, Probing
from vllm_operator.status.facts import read

_SERVING = serving()
UNPROBED = replace(_SERVING, probes={}, pods=(_SERVING.pod("a").ready(since=NOW - timedelta(days=9)),))
#: Three failures and one period more, of 15 s each: after that a pod has its verdict.
PATIENCE = timedelta(seconds=60)
SECOND = timedelta(seconds=1)


def inputs(
    model: ModelBuilder = SERVED_BEFORE,
    cluster: ClusterBuilder = UNPROBED,
    *,
    probed_for: timedelta = timedelta(),
    unled_for: timedelta | None = timedelta(seconds=20),
    **more: Any,
) -> StatusInputs:
    """An operator that has probed the pods for some time, and before which nobody led for some time."""
    since = {f"uid-of-{pod.name}": NOW - probed_for for pod in cluster.pods}
    until = NOW - probed_for - unled_for if unled_for is not None else None
    return StatusInputs(
        model.identity(), (), model.accepted(), cluster.observed(), probing=Probing(since, until), **more
    )


def status(*args: Any, **more: Any) -> Mapping[str, Any]:
    return compute(inputs(*args, **more), NOW)


def test_nothing_is_written_after_a_restart() -> None:
    assert status() == SERVED_BEFORE.status
    assert SERVED_BEFORE.status["servingPods"] == ["uid-of-a"]


@pytest.mark.parametrize(
    ("probed_for", "unled_for", "serves"),
    [
        (timedelta(), timedelta(seconds=20), True),
        (MAX_AGE - timedelta(seconds=21), timedelta(seconds=20), True),
        (MAX_AGE - timedelta(seconds=20), timedelta(seconds=20), False),
        # However old the list is, nothing lapses before the pods could have been judged.
        (timedelta(), timedelta(days=3), True),
        (PATIENCE - SECOND, timedelta(days=3), True),
        (PATIENCE, timedelta(days=3), False),
        (PATIENCE - SECOND, None, True),
        (PATIENCE, None, False),
        # A lease from the future says no more than one of now.
        (MAX_AGE - SECOND, timedelta(days=-3), True),
    ],
)
def test_what_a_former_leader_found_lapses_by_the_lease(
    probed_for: timedelta, unled_for: timedelta | None, serves: bool
) -> None:
    found = status(probed_for=probed_for, unled_for=unled_for)
    expected = "True/Serving" if serves else "Unknown/VerdictStale"
    assert said(found)["Ready"] == said(found)["Available"] == expected
    assert found["servingPods"] == (["uid-of-a"] if serves else [])
    model = SERVED_BEFORE.with_status(found)
    assert status(model, probed_for=probed_for, unled_for=unled_for) == found, "it comes to rest"


def test_the_operator_looks_again_when_evidence_lapses() -> None:
    facts = read(inputs(probed_for=timedelta(seconds=5), unled_for=timedelta(seconds=20)), NOW)
    assert facts.next_change == NOW - timedelta(seconds=25) + MAX_AGE


def test_a_slower_prober_is_given_its_time() -> None:
    given = inputs(probed_for=PATIENCE, unled_for=timedelta(days=1))
    slow = replace(given, probing=replace(given.probing, period_seconds=160))
    assert said(compute(slow, NOW))["Available"] == "True/Serving"


@pytest.mark.parametrize(
    ("period", "timeout", "threshold", "seconds"),
    [(15, 15, 3, 60), (5, 20, 3, 65), (10, 5, 1, 20), (20, 5, 1, 40)],
)
def test_nothing_lapses_before_a_failing_pod_has_its_verdict(
    period: int, timeout: int, threshold: int, seconds: int
) -> None:
    model = SERVED_BEFORE.with_probe(periodSeconds=period, timeoutSeconds=timeout, failureThreshold=threshold)
    for probed_for, expected in ((seconds - 1, "True/Serving"), (seconds, "Unknown/VerdictStale")):
        found = status(model, probed_for=timedelta(seconds=probed_for), unled_for=timedelta(days=1))
        assert said(found)["Available"] == expected


def test_a_verdict_of_this_operator_counts_at_once() -> None:
    for verdict in (ProbeVerdict.FAILED, ProbeVerdict.TIMEOUT, ProbeVerdict.HUNG):
        found = status(cluster=serving().probed("a", verdict, "no answer"))
        assert said(found)["Ready"] == said(found)["Available"] == f"False/{verdict}"
        assert found["servingPods"] == []


def test_a_stale_verdict_is_no_evidence_for_or_against() -> None:
    for verdict in ProbeVerdict:
        cluster = serving().probed("a", verdict, "long ago")
        stale = {uid: replace(result, stale=True) for uid, result in cluster.probes.items()}
        found = status(cluster=replace(cluster, probes=stale), probed_for=timedelta(hours=1))
        assert said(found)["Ready"] == said(found)["Available"] == "Unknown/VerdictStale", verdict
        assert "failingPods" not in found
        assert found["servingPods"] == []


def test_a_pod_that_was_never_probed_is_not_counted_as_serving() -> None:
    """The former leader found `a` serving; `b` has taken its place while nobody led."""
    other = replace(UNPROBED, pods=(UNPROBED.pod("b").ready(),))
    found = status(cluster=other)
    assert said(found)["Ready"] == "Unknown/LoadingModel"
    assert (found["readyReplicas"], found["servingPods"]) == (0, [])
    assert said(found)["Available"] == "True/Serving", "nothing speaks against it yet"
    lapsed = status(SERVED_BEFORE.with_status(found), cluster=other, probed_for=PATIENCE)
    assert said(lapsed)["Ready"] == said(lapsed)["Available"] == "Unknown/VerdictStale"
    again = status(SERVED_BEFORE.with_status(lapsed), cluster=other, probed_for=2 * PATIENCE)
    assert again == lapsed, "and not False by way of Unknown"


def test_a_container_that_started_anew_while_nobody_led_has_to_be_judged() -> None:
    late = replace(UNPROBED, pods=(UNPROBED.pod("a").ready(since=NOW - SECOND),))
    assert said(status(cluster=late))["Ready"] == "Unknown/LoadingModel"
    assert said(status(cluster=late))["Available"] == "True/Serving"


@pytest.mark.parametrize(
    "gone",
    [
        lambda pod: pod.lost(),
        lambda pod: pod.crashed(),
        lambda pod: pod.loading(),
        lambda pod: pod.terminating(),
    ],
)
def test_a_pod_that_is_not_ready_is_evidence_against(gone: Any) -> None:
    cluster = replace(UNPROBED, pods=(gone(UNPROBED.pods[0]),))
    assert said(status(cluster=cluster))["Available"].startswith("False/")


def test_a_roll_of_one_replica_is_available_all_along() -> None:
    before = rolling()
    model = MODEL.with_status(
        compute(StatusInputs(OLD.identity(), (), OLD.accepted(), before.observed()), NOW)
    )
    new = before.pod("new")
    steps = [
        before.with_pods(new.loading()),
        before.with_pods(new.ready(since=NOW)),
        replace(before, pods=(before.pods[0].terminating(), new.ready(since=NOW))),
        replace(before, pods=(new.ready(since=NOW),)),
        replace(before, pods=(new.ready(since=NOW),)).probed("new"),
    ]
    seen = []
    for step in steps:
        found = status(model, step, probed_for=timedelta(seconds=3), unled_for=timedelta(days=9))
        model = model.with_status(found)
        seen.append((said(found)["Ready"], said(found)["Available"]))
    assert seen == [
        ("Unknown/RollingOut", "True/Serving"),
        ("Unknown/RollingOut", "True/Serving"),
        ("Unknown/LoadingModel", "True/Serving"),
        ("Unknown/LoadingModel", "True/Serving"),
        ("True/Serving", "True/Serving"),
    ]


def test_a_new_model_is_not_available_before_its_first_inference() -> None:
    cluster = a_cluster(MODEL).applied(MODEL.accepted())
    found = status(MODEL, cluster.with_pods(cluster.pod("a").ready()))
    assert said(found)["Available"] == "False/LoadingModel"


def without_list(status_before: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in status_before.items() if key != "servingPods"}


@pytest.mark.parametrize("probed_for", [timedelta(), timedelta(seconds=30), PATIENCE - SECOND])
def test_the_first_start_after_an_upgrade_says_nothing_false(probed_for: timedelta) -> None:
    """The version before wrote how many pods serve, and not which."""
    old = SERVED_BEFORE.with_status(without_list(SERVED_BEFORE.status))
    found = status(old, probed_for=probed_for, unled_for=timedelta(days=1))
    assert without_list(found) == old.status
    lapsed = status(old, probed_for=PATIENCE, unled_for=timedelta(days=1))
    assert said(lapsed)["Ready"] == said(lapsed)["Available"] == "Unknown/VerdictStale"


def test_after_an_upgrade_more_pods_than_were_counted_are_not_told_apart() -> None:
    cluster = UNPROBED.with_pods(UNPROBED.pod("b").ready())
    old = SERVED_BEFORE.with_replicas(2).with_status(without_list(SERVED_BEFORE.status))
    found = status(old, cluster)
    assert found["servingPods"] == []
    assert said(found)["Available"] == "True/Serving"


def test_evidence_of_the_future_or_of_nonsense_is_none() -> None:
    for nonsense in (None, "uid-of-a", [None, 3, {}], {"uid-of-a": 1}):
        model = SERVED_BEFORE.with_status({**SERVED_BEFORE.status, "servingPods": nonsense})
        assert status(model)["servingPods"] == []
