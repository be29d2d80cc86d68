"""What the operator reads was written by others: whatever it is, reading it raises nothing."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from unit.builders import NOW, a_cluster
from unit.status.test_cases import MODEL, NO_GPU, OLD, SERVED_BEFORE, rolling
from vllm_operator.api.status import VLLMModelStatus
from vllm_operator.desired.state import to_prune
from vllm_operator.observed.state import BackendInfo, ObservedState
from vllm_operator.reconcile.targets import probe_targets
from vllm_operator.status import room, warning
from vllm_operator.status.compute import StatusInputs, compute
from vllm_operator.status.events import events
from vllm_operator.status.facts import read

#: What a field may hold instead of what it should.
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**30, max_value=10**31),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [
            "0",
            "-1",
            "1e9",
            "\uff19",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "2026-03-01",
            "\ud800",
            "NaN",
        ]
    ),
    st.just([]),
    st.just({}),
    st.just([None, 1, "x", [], {}]),
    st.just({"type": "Ready", "status": []}),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield path
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, member in members:
        yield from places(member, (*path, key))


def mangled(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    """The value with another one at `path`; an odd value of "DROP" takes the member away."""
    if not path:
        return odd
    key, *rest = path
    if isinstance(value, list):
        return [mangled(item, tuple(rest), odd) if index == key else item for index, item in enumerate(value)]
    if odd == "DROP" and not rest:
        return {name: item for name, item in value.items() if name != key}
    return {name: mangled(item, tuple(rest), odd) if name == key else item for name, item in value.items()}


def cluster_of_all_kinds() -> ObservedState:
    cluster = rolling()
    pods = [
        cluster.pod("a").crashed(3, message=json.dumps({"reason": "GPUOutOfMemory", "detail": "\ud800 x"})),
        cluster.pod("b").ready(),
        cluster.pod("c").lost(),
        cluster.pod("d").unschedulable(NO_GPU),
        cluster.pod("e").waiting("ErrImagePull", "no"),
        cluster.pod("f").failed("Evicted", "memory"),
        cluster.pod("g").ready().terminating(),
    ]
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    whole = cluster.with_pods(*pods).observed()
    assert whole.deployment is not None
    return replace(whole, deployment={**whole.deployment, "status": {"conditions": [failure, late]}})


WHOLE = cluster_of_all_kinds()
GROUPS = ("pods", "replica_sets", "config_maps", "controller_revisions")


@st.composite
def observed(draw: st.DrawFn) -> ObservedState:
    state = WHOLE
    for _ in range(draw(st.integers(1, 4))):
        group = draw(st.sampled_from((*GROUPS, "deployment", "service")))
        odd = draw(st.one_of(ODD, st.just("DROP")))
        if group in GROUPS:
            objects = list(getattr(state, group))
            index = draw(st.integers(0, len(objects) - 1))
            path = draw(st.sampled_from(list(places(objects[index]))))
            objects[index] = mangled(objects[index], path, odd)
            state = replace(state, **{group: tuple(objects)})
        else:
            path = draw(st.sampled_from([path for path in places(getattr(state, group)) if path]))
            state = replace(state, **{group: mangled(getattr(state, group), path, odd)})
    return state


@st.composite
def previous(draw: st.DrawFn) -> dict[str, Any]:
    status = dict(SERVED_BEFORE.status)
    path = draw(st.sampled_from([path for path in places(status) if path]))
    found: dict[str, Any] = mangled(status, path, draw(ODD))
    return found


def read_everything(state: ObservedState, model: Any) -> None:
    revision = MODEL.accepted()
    inputs = StatusInputs(model.identity(), (), revision, state, stored=OLD.accepted())
    facts = read(inputs, NOW)
    room.is_needed(facts)
    warning.pod_to_ask_about(facts)
    status = compute(inputs, NOW)
    json.dumps(status, ensure_ascii=False).encode(errors="surrogatepass")
    for condition in status["conditions"]:
        condition["message"].encode()
    list(events(inputs, NOW, reporter="operator-0"))
    to_prune(model.identity(), revision, state, history_limit=1)
    probe_targets(state, revision, {revision.name("opt"): revision})


@settings(max_examples=300, deadline=None)
@given(observed())
def test_no_object_of_others_stops_a_status(state: ObservedState) -> None:
    read_everything(state, SERVED_BEFORE)


@settings(max_examples=100, deadline=None)
@given(previous())
def test_no_previous_status_stops_the_next(status: dict[str, Any]) -> None:
    read_everything(WHOLE, SERVED_BEFORE.with_status(status))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        ODD
        | st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("type", "note", "reason", "series", "eventTime", "metadata"), ODD)
        )
    )
)
def test_no_event_stops_a_status(found: list[Any]) -> None:
    assert isinstance(warning.newest(found), str)


def test_a_replica_set_of_an_edited_deployment_without_our_volume() -> None:
    cluster = a_cluster(MODEL).applied(MODEL.accepted())
    (mine,) = cluster.replica_sets
    template = {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [], "volumes": [{"name": "repository"}]},
    }
    annotations = {"deployment.kubernetes.io/revision": "x"}
    metadata = {**mine["metadata"], "name": "odd", "annotations": annotations}
    odd = {**mine, "metadata": metadata, "spec": {"template": template}}
    for state in (replace(cluster, replica_sets=(mine, odd)), replace(cluster, replica_sets=(odd,))):
        read_everything(state.observed(), MODEL)
    kept = to_prune(
        MODEL.identity(),
        MODEL.accepted(),
        replace(cluster, replica_sets=(mine, odd)).observed(),
        history_limit=0,
    )
    assert kept == ()


def test_no_number_of_pods_or_strangers_makes_a_status_too_long() -> None:
    """One that the schema does not take is refused whole, each time."""
    cluster = a_cluster(MODEL).applied(MODEL.accepted())
    for number in range(64):
        text = f"{number} ".ljust(128, "x")
        name = f"a{number}"
        cluster = cluster.with_pods(cluster.pod(name).ready())
        cluster = cluster.probed(name, backend=BackendInfo(text, text, (text,) * 10))
    strangers = tuple(f"ControllerRevision {'x' * 253} {number} is not used" for number in range(500))
    inputs = StatusInputs(
        MODEL.identity(),
        (),
        MODEL.accepted(),
        cluster.observed(),
        spec=MODEL.parsed().spec,
        warnings=strangers,
    )
    status = compute(inputs, NOW)
    assert VLLMModelStatus.model_validate_json(json.dumps(status)).runtime is not None
    (found,) = (c for c in status["conditions"] if c["type"] == "RepositoryReady")
    assert strangers[0] in found["message"]
