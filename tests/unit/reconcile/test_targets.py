"""Which pods are probed, and which are only asked how they are."""

from dataclasses import replace

import pytest

from unit.builders import SETTINGS, ModelBuilder, PodBuilder, a_cluster, a_model
from vllm_operator.desired.decision import Decision, decide
from vllm_operator.observed.state import Object, ObservedState
from vllm_operator.observed.target import ProbeTarget
from vllm_operator.reconcile.targets import probe_targets

ADDRESS = {"podIP": "10.0.0.7"}
REVISION = a_model().accepted()
CLUSTER = a_cluster(a_model()).applied(REVISION)


def a_pod() -> PodBuilder:
    return replace(CLUSTER.pod("opt-1"), more=ADDRESS)


@pytest.mark.parametrize(
    ("pod", "ask_only"),
    [
        (a_pod().ready(), False),
        (a_pod().lost(), True),
        (a_pod().loading(), None),
        (a_pod().crashed(), None),
        (a_pod().ready().terminating(), None),
        (a_pod().lost().terminating(), None),
        (replace(a_pod().ready(), more={}), None),
        (replace(a_pod().lost(), phase="Failed"), None),
    ],
)
def test_ready_pods_are_probed_and_those_that_lost_it_are_asked(
    pod: PodBuilder, ask_only: bool | None
) -> None:
    targets = probe_targets(CLUSTER.with_pods(pod).observed(), REVISION, {})
    assert [target.ask_only for target in targets] == ([] if ask_only is None else [ask_only])


def test_without_a_revision_nobody_knows_how_to_ask() -> None:
    assert probe_targets(CLUSTER.with_pods(a_pod().ready()).observed(), None, {}) == ()


GENERATE = {"generate": {"prompt": "Who?", "expectContains": "I"}}
BEFORE = a_model().with_probe(**GENERATE)


def pod_of(name: str, revision: str) -> Object:
    """As the API server has it, with the ConfigMap of its revision."""
    pod = replace(CLUSTER.pod(name), more=ADDRESS).ready().object()
    volumes = [{"name": "repository", "configMap": {"name": revision}}]
    return {**pod, "spec": {**pod["spec"], "volumes": volumes}}


def decided(before: ModelBuilder, after: ModelBuilder) -> tuple[Decision, ...]:
    """What was decided before an edit, and what after it."""
    first = decide(before.object(), [], SETTINGS)
    stored = [first.controller_revision] if first.controller_revision else []
    status = {
        "updateRevision": name_of(first),
        "runtime": {"image": SETTINGS.runtime_image},
    }
    return first, decide(after.with_status(status).object(), stored, SETTINGS)


def name_of(decision: Decision) -> str:
    assert decision.controller_revision is not None
    return str(decision.controller_revision["metadata"]["name"])


def targets(decision: Decision, *pods: Object) -> tuple[ProbeTarget, ...]:
    return probe_targets(ObservedState(pods=pods), decision.revision, decision.revisions)


@pytest.mark.parametrize(
    "after",
    [
        BEFORE.with_engine_args(seed=1).with_probe(generate={"prompt": "Who?", "expectContains": "You"}),
        BEFORE.with_engine_args(runner="pooling").with_probe(embed={"input": "x"}),
        a_model().with_engine_args(runner="pooling"),
        BEFORE.with_spec(servedName="another"),
        BEFORE.with_engine_args(seed=1).with_probe(periodSeconds=5, timeoutSeconds=5, failureThreshold=1),
    ],
)
def test_a_pod_is_asked_what_its_own_revision_asks(after: ModelBuilder) -> None:
    first, then = decided(BEFORE, after)
    assert name_of(first) != name_of(then)
    old, new = targets(then, pod_of("old", name_of(first)), pod_of("new", name_of(then)))
    assert (old,) == targets(first, pod_of("old", name_of(first))), "the edit changes nothing for it"
    assert (new,) == targets(decide(after.object(), [], SETTINGS), pod_of("new", name_of(then)))


def test_a_new_question_alone_is_put_to_the_pods_that_are_there() -> None:
    first, then = decided(BEFORE, BEFORE.with_probe(generate={"prompt": "What?"}))
    assert name_of(first) == name_of(then)
    (target,) = targets(then, pod_of("old", name_of(first)))
    assert (target.prompt, target.expect_contains) == ("What?", None)


def test_a_pod_of_no_known_revision_is_asked_what_the_model_asks_now() -> None:
    first, _ = decided(BEFORE, BEFORE)
    (target,) = targets(first, pod_of("odd", "opt-forged"))
    assert target.prompt == "Who?"
