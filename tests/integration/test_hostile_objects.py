"""One tenant's odd objects, as the real API server stores them: no other tenant notices."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from operatorkit.api import Api, Refused, path
from operatorkit.models import SPEC, Models
from operatorkit.process import OperatorProcess
from operatorkit.waiting import wait_for

#: The API server's own bound is 10,000 in the whole object.
_DEEPEST = 9_990


@pytest.fixture(autouse=True, scope="module")
def _read_deep() -> Iterator[None]:
    """This process reads these objects, too, and the audit log of them."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(30_000)
    yield
    sys.setrecursionlimit(limit)


def _deep(models: Models, name: str, depth: int) -> None:
    nested: Any = 1
    for _ in range(depth):
        nested = {"a": nested}
    models.create(name, engineArgs={"hf_overrides": nested})


def test_deeply_nested_models_before_and_after_the_start(
    models: Models, request: pytest.FixtureRequest
) -> None:
    _deep(models, "a-first", _DEEPEST)
    models.create("other")
    operator: OperatorProcess = request.getfixturevalue("operator")
    models.wait_serving("other")
    models.wait_condition("a-first", "Ready", "False", "InvalidSpec")
    _deep(models, "later", _DEEPEST)
    _deep(models, "less", 1_500)
    models.wait_condition("later", "Ready", "False", "InvalidSpec")
    models.wait_condition("less", "Ready", "False", "InvalidSpec")
    models.edit("other", engineArgs={"max_model_len": 77})
    models.wait_serving("other")
    for name in ("a-first", "later", "less"):
        models.api.delete("vllmmodels", models.namespace, name)
    assert operator.returncode() is None
    _no_watch_failed(operator, "VLLMModel")


def test_an_integer_that_python_would_not_read_is_not_stored(api: Api, models: Models) -> None:
    spec = {**SPEC, "engineArgs": {"hf_overrides": {"a": 7}}}
    metadata = {"name": "digits", "namespace": models.namespace}
    obj = {"apiVersion": "triton-vllm.dev/v1alpha1", "kind": "VLLMModel", "metadata": metadata, "spec": spec}
    body = json.dumps(obj).replace('"a": 7', f'"a": {"9" * 5000}')
    with pytest.raises(Refused):
        api.call("POST", path("vllmmodels", models.namespace), body.encode())


def test_odd_children_end_no_watch(api: Api, models: Models, operator: OperatorProcess) -> None:
    models.create("steady")
    models.wait_serving("steady")
    for name, text in {"escaped": r"\a" * 1_000_000, "ancient": ""}.items():
        # YAML has a short word for a control character, JSON has six letters: this one is an event of 6 MB.
        metadata = f"{{name: {name}, labels: {{triton-vllm.dev/model: steady}}}}"
        body = f'{{apiVersion: v1, kind: ConfigMap, metadata: {metadata}, data: {{a: "{text}"}}}}'
        where = path("configmaps", models.namespace)
        api.call("POST", where, body.encode(), content_type="application/yaml")
    ancient = api.get("configmaps", models.namespace, "ancient")
    assert ancient is not None
    for entry in ancient["metadata"]["managedFields"]:
        entry |= {"manager": "somebody", "time": "0000-01-01T00:00:00Z"}
    stored = api.call("PUT", path("configmaps", models.namespace, "ancient"), ancient)
    times = [entry["time"] for entry in stored["metadata"]["managedFields"]]
    assert "0000-01-01T00:00:00Z" in times
    found = models.children("steady")["configmaps"]
    (ours,) = [obj["metadata"]["name"] for obj in found if "ownerReferences" in obj["metadata"]]
    api.delete("configmaps", models.namespace, ours)
    wait_for("its ConfigMap is back", lambda: api.get("configmaps", models.namespace, ours), 30)
    _no_watch_failed(operator, "ConfigMap")


def _no_watch_failed(operator: OperatorProcess, kind: str) -> None:
    metrics = operator.get("/metrics")[1]
    failures = f'vllm_operator_watch_failures_total{{kind="{kind}"'
    assert [line for line in metrics.splitlines() if line.startswith(failures)] == []
