"""The applier asks nothing for what is as it should be, and takes up what a POST finds, if it is ours."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from vllm_operator.kube.apply import Applier, NameTaken
from vllm_operator.kube.client import KubeClient
from vllm_operator.kube.errors import ApiError
from vllm_operator.kube.resources import Resource

OWNER = {"kind": "VLLMModel", "metadata": {"name": "llama", "namespace": "ns", "uid": "model"}}
DESIRED = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "llama", "namespace": "ns", "labels": {"triton-vllm.dev/model": "llama"}},
    "spec": {"type": "ClusterIP"},
}


def live(owner: str, **labels: str) -> dict[str, Any]:
    fields = {"f:metadata": {"f:labels": {"f:triton-vllm.dev/model": {}}}, "f:spec": {"f:type": {}}}
    metadata = {
        "name": "llama",
        "namespace": "ns",
        "uid": "child",
        "resourceVersion": "5",
        "labels": labels,
        "ownerReferences": [{"uid": owner, "controller": True, "kind": "VLLMModel", "name": "llama"}],
        "managedFields": [{"manager": "vllm-operator", "operation": "Apply", "fieldsV1": fields}],
    }
    return {**DESIRED, "metadata": metadata}


class Client:
    """Has one object, of which it is told, and notes what is asked."""

    def __init__(self, there: dict[str, Any] | None) -> None:
        self.there = there
        self.asked: list[str] = []

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        self.asked.append("get")
        if self.there is None:
            raise ApiError("GET", 404)
        return self.there

    async def create(self, obj: Mapping[str, Any], *, field_manager: str) -> dict[str, Any]:
        self.asked.append("create")
        if self.there is not None:
            raise ApiError("POST", 409, {"reason": "AlreadyExists"})
        return {**obj, "metadata": {**obj["metadata"], "uid": "new"}}

    async def apply(self, obj: Mapping[str, Any], *, field_manager: str) -> dict[str, Any]:
        self.asked.append("apply")
        assert obj["metadata"]["uid"] == "child"
        return live("model", **{"triton-vllm.dev/model": "llama"})


async def _bring(client: Client, seen: dict[str, Any] | None) -> Mapping[str, Any] | None:
    return await Applier(cast(KubeClient, client)).bring(DESIRED, seen, OWNER)


async def test_what_is_as_it_should_be_is_no_news() -> None:
    client = Client(None)
    assert await _bring(client, live("model", **{"triton-vllm.dev/model": "llama"})) is None
    assert client.asked == []


async def test_what_is_not_there_is_made_without_a_look() -> None:
    client = Client(None)
    made = await _bring(client, None)
    assert made is not None
    assert made["metadata"]["uid"] == "new"
    assert client.asked == ["create"]


async def test_ours_without_its_label_is_found_by_the_post_and_gets_it_back() -> None:
    client = Client(live("model"))
    brought = await _bring(client, None)
    assert brought is not None
    assert brought["metadata"]["labels"] == {"triton-vllm.dev/model": "llama"}
    assert client.asked == ["create", "get", "apply"]


async def test_a_strangers_is_left_alone() -> None:
    client = Client(live("somebody"))
    client.there["metadata"]["ownerReferences"][0]["kind"] = "Other"  # type: ignore[index]
    with pytest.raises(NameTaken):
        await _bring(client, None)
    assert client.asked == ["create", "get"]
