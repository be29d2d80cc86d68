"""What holds for every valid spec: it renders, within the limits of Kubernetes, and always the same."""

import json
import re
from copy import deepcopy
from typing import Any

import kubernetes_validate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unit.builders import SETTINGS, a_model
from unit.specs import NAMES, SPECS
from vllm_operator.desired.effects import Restart, changes
from vllm_operator.desired.revision import Revision, accept
from vllm_operator.desired.state import build
from vllm_operator.status import room

RELAXED = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))


@given(name=NAMES, spec=SPECS)
@RELAXED
def test_every_valid_spec_builds(name: str, spec: dict[str, Any]) -> None:
    model = a_model().named(name).with_spec(**spec)
    revision = model.accepted()
    state = build(model.identity(), revision, replicas=3)
    for obj in (*state.objects, revision.to_object(model.identity(), 1)):
        assert len(obj["metadata"]["name"]) <= 63
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", obj["metadata"]["name"])
        assert len(json.dumps(obj)) < 200_000
    (container,) = state.deployment["spec"]["template"]["spec"]["containers"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    volumes = [volume["name"] for volume in state.deployment["spec"]["template"]["spec"]["volumes"]]
    assert mounted == set(volumes)
    assert len(set(volumes)) == len(volumes)
    paths = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert len(set(paths)) == len(paths)


@given(spec=SPECS)
@settings(parent=RELAXED, max_examples=25)
def test_every_valid_spec_makes_valid_kubernetes_objects(spec: dict[str, Any]) -> None:
    model = a_model().with_spec(**spec)
    for obj in model.built().objects:
        kubernetes_validate.validate(deepcopy(obj), "1.35", strict=True)


@given(spec=SPECS)
@RELAXED
def test_a_revision_survives_its_controller_revision(spec: dict[str, Any]) -> None:
    model = a_model().with_spec(**spec)
    revision = model.accepted()
    stored = json.loads(json.dumps(revision.to_object(model.identity(), 4)))
    assert Revision.from_object(stored) == revision
    assert build(model.identity(), Revision.from_object(stored), replicas=2) == build(
        model.identity(), revision, replicas=2
    )


@given(spec=SPECS, order=st.randoms(use_true_random=False))
@RELAXED
def test_the_hash_does_not_depend_on_order_or_number_form(spec: dict[str, Any], order: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            order.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return value

    again = shuffled(spec)
    arguments = again.get("engineArgs", {})
    if "seed" in arguments:
        arguments["seed"] = float(arguments["seed"])
    first, second = a_model().with_spec(**spec).accepted(), a_model().with_spec(**again).accepted()
    assert first.hash == second.hash
    assert first.accepted_from == second.accepted_from


@given(before=SPECS, after=SPECS)
@RELAXED
def test_pods_restart_exactly_when_the_table_says_so(before: dict[str, Any], after: dict[str, Any]) -> None:
    old, new = a_model().with_spec(**before), a_model().with_spec(**after)
    announced = {change.effect.restart for change in changes(old.parsed().spec, new.parsed().spec)}
    first = old.accepted()
    second = accept(new.parsed(), SETTINGS, current=first)
    if second.hash != first.hash:
        assert announced & {Restart.ROLLS, Restart.REFUSED}
    if announced <= {Restart.NONE}:
        assert second.hash == first.hash


def test_another_strategy_for_now_changes_nothing_but_the_strategy() -> None:
    model = a_model()
    identity, revision = model.identity(), model.accepted()
    usual = build(identity, revision, replicas=2)
    hasty = build(identity, revision, replicas=2, strategy=room.STRATEGY)
    assert hasty.deployment["spec"].pop("strategy") == room.STRATEGY
    assert usual.deployment["spec"].pop("strategy") == revision.strategy
    assert hasty == usual
    assert revision.name("opt") == model.accepted().name("opt"), "and is in no revision"
