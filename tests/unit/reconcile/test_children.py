"""A write that clashes leaves the store with what the API server has, and nothing else."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from vllm_operator.kube.apply import Applier
from vllm_operator.kube.client import ApiError, KubeClient
from vllm_operator.kube.resources import Resource
from vllm_operator.observed.store import ObservedStore
from vllm_operator.reconcile.children import Children
from vllm_operator.reconcile.errors import TransientError

MODEL = {"kind": "VLLMModel", "metadata": {"name": "llama", "namespace": "ns", "uid": "model"}}


def deployment(replicas: int, version: int, uid: str = "child", owner: str = "model") -> dict[str, Any]:
    reference = {"uid": owner, "controller": True, "kind": "VLLMModel", "name": "llama"}
    fields: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "llama",
            "namespace": "ns",
            "uid": uid,
            "resourceVersion": str(version),
            "labels": {"triton-vllm.dev/model": "llama"},
            "ownerReferences": [reference],
            "managedFields": [{"manager": "vllm-operator", "operation": "Apply", "fieldsV1": fields}],
        },
        "spec": {"replicas": replicas},
    }


WANTED = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "llama", "namespace": "ns", "labels": {"triton-vllm.dev/model": "llama"}},
    "spec": {"replicas": 2},
}


class Clashing:
    """Refuses every write as out of date, and has `there`: an object, or why it cannot be read."""

    def __init__(self, there: dict[str, Any] | int) -> None:
        self.there = there

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        if isinstance(self.there, int):
            raise ApiError("GET", self.there)
        return self.there

    async def apply(self, obj: Mapping[str, Any], *, field_manager: str) -> dict[str, Any]:
        raise ApiError("PATCH", 409, {"reason": "Conflict"})


async def _apply_over(seen: dict[str, Any], there: dict[str, Any] | int) -> Mapping[str, Any] | None:
    """What the store has of the Deployment after a write that clashed."""
    store = ObservedStore()
    store.put(seen)
    children = Children(Applier(cast(KubeClient, Clashing(there))), store)
    with pytest.raises(TransientError):
        await children.apply([WANTED], MODEL)
    return store.get("Deployment", "ns", "llama")


async def test_an_object_that_was_edited_meanwhile_is_seen_as_it_is() -> None:
    kept = await _apply_over(deployment(1, version=5), deployment(3, version=6))
    assert kept is not None
    assert kept["metadata"]["resourceVersion"] == "6"


async def test_one_that_was_made_anew_takes_its_place() -> None:
    kept = await _apply_over(deployment(1, version=5), deployment(1, version=9, uid="new"))
    assert kept is not None
    assert kept["metadata"]["uid"] == "new"


async def test_one_that_cannot_be_read_now_stays_until_its_watch_tells() -> None:
    assert await _apply_over(deployment(1, version=5), 500) is not None


@pytest.mark.parametrize("there", [404, deployment(1, version=9, uid="new", owner="other")])
async def test_one_that_is_gone_is_forgotten(there: dict[str, Any] | int) -> None:
    assert await _apply_over(deployment(1, version=5), there) is None
