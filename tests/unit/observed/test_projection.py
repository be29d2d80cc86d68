"""What is kept of a pod and a ReplicaSet, and that packed objects come back as they were."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vllm_operator.observed.packing import Packer, unpack
from vllm_operator.observed.projection import project

_METADATA = {
    "name": "llama-1",
    "namespace": "ns",
    "uid": "u",
    "resourceVersion": "7",
    "deletionTimestamp": "2026-01-01T00:00:00Z",
    "deletionGracePeriodSeconds": 30,
    "annotations": {"deployment.kubernetes.io/revision": "3"},
    "labels": {"a": "b"},
    "ownerReferences": [{"uid": "rs", "controller": True}],
}
_VOLUMES = [
    {"name": "repository", "configMap": {"name": "llama-x"}},
    {"name": "cache", "persistentVolumeClaim": {"claimName": "big"}},
]
_KEPT_VOLUMES = {"volumes": _VOLUMES[:1]}


def test_a_pod_keeps_what_is_read_of_it() -> None:
    container = {"name": "triton", "image": "i", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**_METADATA, "managedFields": [{"manager": "kubelet"}]},
        "spec": {
            "nodeName": "node-1",
            "readinessGates": [{"conditionType": "example.com/in-mesh"}],
            "volumes": _VOLUMES,
            "containers": [{**container, "env": [{"name": "A"}]}],
            "tolerations": [{}],
        },
        "status": {"phase": "Running", "podIP": "10.0.0.1"},
    }
    kept = project(pod)
    assert kept["metadata"] == _METADATA
    assert kept["status"] == pod["status"]
    gates = {"readinessGates": [{"conditionType": "example.com/in-mesh"}]}
    assert kept["spec"] == {"nodeName": "node-1", "containers": [container], **gates, **_KEPT_VOLUMES}


def test_a_replica_set_keeps_what_is_read_of_it() -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"volumes": _VOLUMES, "containers": [{}]}}
    replica_set = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": _METADATA,
        "spec": {"replicas": 0, "template": template, "selector": {}},
        "status": {"replicas": 0},
    }
    kept = project(replica_set)
    assert kept["metadata"] == _METADATA
    assert kept["spec"] == {
        "replicas": 0,
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": _KEPT_VOLUMES},
    }


def test_an_odd_object_is_kept_too() -> None:
    for kind in ("Pod", "ReplicaSet"):
        assert project({"kind": kind, "metadata": {"name": "x"}, "spec": {}})["metadata"] == {"name": "x"}


def test_what_is_applied_is_kept_whole() -> None:
    """A model's own, and what the operator made and has lost its owner."""
    owner = {"kind": "VLLMModel", "name": "llama", "uid": "u", "controller": True}
    for metadata in (
        {"managedFields": [{"manager": "m"}], "ownerReferences": [owner]},
        {"managedFields": [{"manager": "m"}, {"manager": "vllm-operator"}]},
    ):
        deployment = {"kind": "Deployment", "metadata": metadata, "spec": {"x": 1}}
        assert project(deployment) == deployment


@pytest.mark.parametrize("kind", ["ConfigMap", "ControllerRevision", "Deployment", "Service"])
@pytest.mark.parametrize(
    "owners", [[], [{"kind": "Team", "controller": True}], [{"kind": "VLLMModel", "name": "llama"}]]
)
def test_of_what_is_nobodys_only_its_identity_is_kept(kind: str, owners: list[dict[str, Any]]) -> None:
    metadata = {**_METADATA, "ownerReferences": owners, "managedFields": [{"manager": "kubectl"}]}
    metadata["labels"] = {"triton-vllm.dev/model": "llama", "a": "b"}
    kept = project({"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {"a": "b"}, "spec": {}})
    assert set(kept) == {"apiVersion", "kind", "metadata"}
    assert kept["metadata"]["labels"] == {"triton-vllm.dev/model": "llama"}
    assert kept["metadata"].get("ownerReferences", []) == owners[:1] * ("controller" in str(owners))
    assert set(kept["metadata"]) <= {
        "name", "namespace", "uid", "resourceVersion", "deletionTimestamp", "labels", "ownerReferences"
    }  # fmt: skip


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(st.text(), _JSON), min_size=1, max_size=5))
def test_packed_objects_come_back_as_they_were(bodies: list[dict[str, Any]]) -> None:
    packer = Packer()
    objects = [{**body, "kind": "Pod"} for body in bodies]
    assert [unpack(packer.pack(obj)) for obj in objects] == objects


def test_objects_of_one_kind_take_little_room() -> None:
    packer = Packer()
    objects = [
        {
            "kind": "Pod",
            "metadata": {"name": f"llama-{n}"},
            "spec": {f"field-{i}": i * 7919 for i in range(500)},
        }
        for n in range(3)
    ]
    packed = [packer.pack(obj) for obj in objects]
    assert len(packed[2].data) < len(json.dumps(objects[2])) / 20
