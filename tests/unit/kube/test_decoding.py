"""What anybody can store is read; what cannot be read is a failure of that answer."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from unit.builders import NOW, SETTINGS, a_model
from vllm_operator.api.conditions import Reason
from vllm_operator.api.meta import STATUS_FIELD_MANAGER
from vllm_operator.api.v1alpha1 import ModelIdentity
from vllm_operator.desired.decision import decide
from vllm_operator.kube.decoding import allow_deep_objects, decode
from vllm_operator.kube.drift import difference
from vllm_operator.kube.errors import ApiError, status_of
from vllm_operator.observed.state import ObservedState
from vllm_operator.observed.store import ObservedStore
from vllm_operator.status.compute import StatusInputs, compute

#: What the API server takes (10,000), in a list, in a record of field owners.
DEPTH = 10_050


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = {"a": value} if level % 2 else [value]
    return value


@pytest.fixture(autouse=True)
def _as_in_the_operator() -> Iterator[None]:
    limit = sys.getrecursionlimit()
    allow_deep_objects()
    yield
    sys.setrecursionlimit(limit)


def test_what_is_nested_as_deep_as_the_api_server_takes_it_is_read() -> None:
    text = json.dumps({"items": nested(DEPTH)}).encode()
    assert json.dumps(decode(text, "LIST /x", 200)).encode() == text


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 500_000,
        b'{"a":' * 500_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"type": "MODI',
        b"\xff",
        b"",
        b"[]",
    ],
    ids=["lists", "maps", "digits", "cut", "no text", "empty", "no object"],
)
def test_what_cannot_be_read_is_an_error_of_that_answer(payload: bytes) -> None:
    with pytest.raises(ApiError) as raised:
        decode(payload, "LIST /x", 200)
    assert raised.value.status == 200, "the server did answer"
    assert str(raised.value).startswith("LIST /x: 200")
    assert len(str(raised.value)) < 300
    assert isinstance(status_of(payload), dict)


def test_a_model_nested_that_deep_is_refused_and_gets_its_status() -> None:
    model: Any = a_model().with_spec(engineArgs={"hf_overrides": nested(DEPTH)}).object()
    fields: Any = {}
    for _ in range(DEPTH):
        fields = {"f:a": fields}
    metadata = {**model["metadata"], "resourceVersion": "7"}
    metadata["managedFields"] = [
        {"manager": STATUS_FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields},
        {"manager": STATUS_FIELD_MANAGER, "operation": "Update", "fieldsV1": fields},
    ]
    store = ObservedStore()
    (key,) = store.put({**model, "metadata": metadata})
    model = store.get("VLLMModel", *key)
    decision = decide(model, (), SETTINGS)
    (problem,) = decision.problems
    assert problem.reason is Reason.INVALID_SPEC
    assert "nested deeper than" in problem.message
    identity = ModelIdentity.of(model)
    inputs = StatusInputs(
        identity=identity,
        problems=decision.problems,
        revision=None,
        stored=None,
        observed=ObservedState(),
        spec=decision.spec,
        replicas=1,
    )
    status = compute(inputs, NOW)
    desired = {"apiVersion": "x", "kind": "VLLMModel", "metadata": {"name": identity.name}, "status": status}
    assert difference(desired, model, STATUS_FIELD_MANAGER) is not None
