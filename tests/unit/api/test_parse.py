"""Reading objects: strict about types, deaf to a newer CRD's fields, all problems at once, no traceback."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unit.builders import a_model
from unit.specs import SPECS
from vllm_operator.api.conditions import Problem
from vllm_operator.api.v1alpha1 import ModelIdentity, SpecInvalid, parse_model

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


def problems(**spec: Any) -> list[str]:
    with pytest.raises(SpecInvalid) as caught:
        a_model().with_spec(**spec).parsed()
    return [problem.message for problem in caught.value.problems]


def test_fields_of_a_newer_crd_are_ignored() -> None:
    model = a_model().with_spec(inventedLater=1, runtime={"inventedLater": {"a": 1}})
    assert model.parsed().spec == a_model().with_spec(runtime={}).parsed().spec


def test_all_problems_with_their_paths() -> None:
    assert problems(
        replicas="2",
        gpus={"count": -1},
        resources={"limits": {"memory": "much"}},
        runtime={"env": [{"name": "A=B"}], "logLevel": "loud"},
        engineArgs={"tensor_parallel_size": 2.5},
    ) == [
        "spec.engineArgs.tensor_parallel_size: must be an integer",
        "spec.replicas: must be an integer",
        "spec.gpus.count: must be greater than or equal to 0",
        "spec.resources.limits.memory: must be a quantity greater than zero, such as '16Gi' or '500m'",
        "spec.runtime.env[0].name: must consist of letters, digits and '_', and not start with a digit",
        "spec.runtime.logLevel: must be one of 'error', 'warning', 'info' or 'debug'",
    ]


def test_rules_over_several_fields() -> None:
    assert problems(
        gpus={"count": 1},
        engineArgs={"tensor_parallel_size": 2, "data_parallel_size": 2},
        runtime={"frontEnds": 4},
        rollout={"type": "Recreate", "rollingUpdate": {}},
    ) == [
        "spec.gpus.count: `gpus.count` must not be less than the product of the parallel sizes in "
        "`engineArgs` (`tensor_parallel_size`, `pipeline_parallel_size`, `data_parallel_size`, "
        "`prefill_context_parallel_size`)",
        "spec.runtime.frontEnds: `runtime.frontEnds` and `engineArgs.data_parallel_size` must not both be "
        "greater than 1: several engines cannot share front ends; set one of the two to 1",
        "spec.rollout.rollingUpdate: must not be set when `type` is 'Recreate'",
    ]


@pytest.mark.parametrize(
    ("front_ends", "words"),
    [
        (0, "must be greater than or equal to 1"),
        (9, "must be less than or equal to 8"),
        ("2", "must be an integer"),
        (True, "must be an integer"),
    ],
)
def test_bounds_of_front_ends(front_ends: Any, words: str) -> None:
    assert problems(runtime={"frontEnds": front_ends}) == [f"spec.runtime.frontEnds: {words}"]


@pytest.mark.parametrize(
    ("runtime", "arguments"),
    [
        ({"frontEnds": 8}, {}),
        ({"frontEnds": 8}, {"data_parallel_size": 1, "tensor_parallel_size": 2}),
        ({"frontEnds": 1}, {"data_parallel_size": 2}),
        ({}, {"data_parallel_size": 2}),
    ],
)
def test_one_engine_may_have_front_ends_and_one_front_end_engines(
    runtime: dict[str, Any], arguments: dict[str, Any]
) -> None:
    model = a_model().with_runtime(**runtime).with_engine_args(**arguments)
    assert model.parsed().spec.runtime.front_ends == runtime.get("frontEnds", 1)


@given(spec=JSON)
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_any_json_is_parsed_or_refused(spec: Any) -> None:
    obj = {"metadata": {"name": "m", "namespace": "n", "uid": "u", "generation": 1}, "spec": spec}
    ModelIdentity.of(obj)
    with pytest.raises(SpecInvalid):
        parse_model(obj)


@given(spec=SPECS, place=st.integers(0, 1000), junk=JSON)
@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
def test_a_mutated_spec_is_parsed_or_refused(spec: dict[str, Any], place: int, junk: Any) -> None:
    # The strategy may hand out the same list again.
    spec = deepcopy(spec)
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        entries = (
            node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        )
        for key, child in list(entries):
            places.append((node, key))
            collect(child)

    collect(spec)
    node, key = places[place % len(places)]
    node[key] = junk
    obj = a_model().object() | {"spec": spec}
    ModelIdentity.of(obj)
    found: tuple[Problem, ...] = ()
    try:
        parse_model(obj)
    except SpecInvalid as invalid:
        found = invalid.problems
    assert all(problem.message.startswith("spec") for problem in found)


@pytest.mark.parametrize(
    ("spec", "replicas", "paused"),
    [
        ({}, 1, False),
        ({"replicas": 0, "paused": True}, 0, True),
        ({"replicas": "3", "paused": "yes"}, None, False),
        ({"replicas": True}, None, False),
        ({"replicas": -1}, None, False),
        ({"replicas": 2**31}, None, False),
        (None, 1, False),
        ("nonsense", 1, False),
    ],
)
def test_identity_of_what_cannot_be_parsed(spec: Any, replicas: int | None, paused: bool) -> None:
    identity = ModelIdentity.of({"metadata": {"name": "m"}, "spec": spec, "status": "forged"})
    assert (identity.replicas, identity.paused, identity.status) == (replicas, paused, {})
