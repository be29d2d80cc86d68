"""The store: newest wins, a list also removes, and only what a model owns is its own."""

import json
from random import Random
from typing import Any

import pytest

from vllm_operator.observed.store import Key, ObservedStore

KEY = Key("ns", "llama")


def obj(
    kind: str, name: str, version: int, *, uid: str = "", owner: str = "", **extra: Any
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "ns",
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
        "labels": {"triton-vllm.dev/model": "llama"},
    }
    if owner:
        owner_kind = "VLLMModel" if "model" in owner else "Other"
        reference = {"uid": owner, "controller": True, "kind": owner_kind, "name": "llama"}
        metadata["ownerReferences"] = [reference]
    return {"apiVersion": "x", "kind": kind, "metadata": metadata, **extra}


def model(version: int = 1) -> dict[str, Any]:
    return obj("VLLMModel", "llama", version, uid="model")


def test_an_older_version_is_no_news_and_changes_nothing() -> None:
    store = ObservedStore()
    assert store.put(obj("Deployment", "llama", 10, owner="model", spec=1)) == {KEY}
    assert store.put(obj("Deployment", "llama", 10, owner="model", spec=1)) == set()
    assert store.put(obj("Deployment", "llama", 9, owner="model", spec=0)) == set()
    assert store.put(obj("Deployment", "llama", 11, owner="model", spec=2)) == {KEY}
    found = store.get("Deployment", "ns", "llama")
    assert found is not None
    assert found["spec"] == 2


def test_a_late_deletion_of_a_predecessor_does_not_remove_the_successor() -> None:
    store = ObservedStore()
    store.put(obj("Deployment", "llama", 10, uid="new"))
    assert store.discard(obj("Deployment", "llama", 5, uid="old")) == set()
    assert store.get("Deployment", "ns", "llama") is not None
    assert store.discard(obj("Deployment", "llama", 11, uid="new")) == {KEY}
    assert store.get("Deployment", "ns", "llama") is None


def test_a_list_removes_what_it_does_not_hold_but_not_what_is_newer() -> None:
    store = ObservedStore()
    for number, version in (("1", 10), ("2", 11), ("3", 50)):
        store.put(obj("Pod", f"llama-{number}", version))
    assert store.retain("Pod", None, {("ns", "llama-1")}, "40") == {KEY}
    assert store.get("Pod", "ns", "llama-2") is None
    assert store.get("Pod", "ns", "llama-3") is not None
    assert store.retain("Pod", None, {("ns", "llama-1")}, "40") == set()


def test_a_list_of_one_namespace_or_kind_leaves_the_others_alone() -> None:
    store = ObservedStore()
    store.put(obj("Pod", "llama-1", 10))
    assert store.retain("Pod", "elsewhere", (), "40") == set()
    assert store.retain("Service", None, (), "40") == set()
    assert store.get("Pod", "ns", "llama-1") is not None


def test_nothing_older_than_a_deletion_comes_back() -> None:
    now = 0.0
    store = ObservedStore(clock=lambda: now)
    store.put(obj("Service", "llama", 10, uid="one"))
    assert store.discard(obj("Service", "llama", 20, uid="one")) == {KEY}
    # The answer to a write that was on its way, and one that was read before.
    for version in (15, 20):
        assert store.put(obj("Service", "llama", version, uid="one")) == set()
    assert store.get("Service", "ns", "llama") is None
    # A label that was taken away looks like a deletion; its object comes back newer.
    assert store.put(obj("Service", "llama", 21, uid="one")) == {KEY}
    assert store.discard(obj("Service", "llama", 30, uid="one")) == {KEY}
    now = 301.0
    store.discard(obj("Service", "other", 31))
    assert store.put(obj("Service", "llama", 25, uid="one")) == {KEY}, "the tombstone was for a while"


def test_nothing_older_than_a_list_without_it_comes_back() -> None:
    store = ObservedStore()
    store.put(obj("Service", "llama", 10))
    assert store.retain("Service", "ns", (), "40") == {KEY}
    assert store.put(obj("Service", "llama", 35)) == set()
    assert store.put(obj("Service", "llama", 41)) == {KEY}


def test_what_is_only_forgotten_may_come_back_as_it_was() -> None:
    store = ObservedStore()
    store.put(model())
    store.forget_model(KEY)
    assert not store.knows(KEY)
    assert store.put(model()) == {KEY}
    assert store.knows(KEY)
    store.put(obj("Service", "llama", 10))
    assert store.forget(obj("Service", "llama", 10)) == {KEY}
    assert store.put(obj("Service", "llama", 10)) == {KEY}


def test_children_are_found_by_their_owners_not_by_their_labels() -> None:
    store = ObservedStore()
    store.put(model())
    store.put(obj("Deployment", "llama", 2, uid="dep", owner="model"))
    store.put(obj("ReplicaSet", "llama-a", 3, uid="rs", owner="dep"))
    store.put(obj("Pod", "llama-a-1", 4, uid="pod", owner="rs"))
    store.put(obj("Pod", "foreign", 5, uid="foreign", owner="other"))
    store.put(obj("ConfigMap", "llama-x", 6, owner="model"))
    store.put(obj("ConfigMap", "llama-old", 7, owner="a-former-model"))
    seen = store.observe(KEY, "model", {})
    assert seen.deployment is not None
    assert [pod["metadata"]["name"] for pod in seen.pods] == ["llama-a-1"]
    assert [config["metadata"]["name"] for config in seen.config_maps] == ["llama-x"]
    assert seen.service is None


def pod_of(replica_set: str, version: int, template: str) -> dict[str, Any]:
    pod = obj("Pod", f"{replica_set}-x", version)
    pod["metadata"]["labels"]["pod-template-hash"] = template
    reference = {"uid": f"uid-{replica_set}", "controller": True, "kind": "ReplicaSet", "name": replica_set}
    pod["metadata"]["ownerReferences"] = [reference]
    return pod


def test_a_pod_is_seen_before_its_replica_set_is() -> None:
    store = ObservedStore()
    store.put(obj("Deployment", "llama", 1, uid="deployment", owner="model"))
    store.put(pod_of("llama-abc", 3, "abc"))
    store.put(pod_of("llama-other", 4, "abc"))
    store.put(pod_of("mistral-abc", 5, "abc"))
    assert [pod["metadata"]["name"] for pod in store.observe(KEY, "model", {}).pods] == ["llama-abc-x"]
    # Once it is seen its owner decides.
    store.put(obj("ReplicaSet", "llama-abc", 2, owner="a stranger"))
    assert store.observe(KEY, "model", {}).pods == ()


def test_a_child_belongs_to_its_owner_whatever_its_label_says() -> None:
    store = ObservedStore()
    relabelled = obj("Service", "llama", 3, owner="model")
    relabelled["metadata"]["labels"] = {"triton-vllm.dev/model": "other"}
    assert store.put(relabelled) == {KEY}
    assert store.observe(KEY, "model", {}).service is not None


def test_a_child_that_moves_is_news_for_both_models() -> None:
    store = ObservedStore()
    store.put(obj("Pod", "llama-1", 2))
    moved = obj("Pod", "llama-1", 3)
    moved["metadata"]["labels"] = {"triton-vllm.dev/model": "other"}
    assert store.put(moved) == {KEY, Key("ns", "other")}
    assert store.observe(KEY, "model", {}).pods == ()


def test_models_are_listed_and_field_records_of_pods_are_dropped() -> None:
    store = ObservedStore()
    store.put(model())
    pod = obj("Pod", "llama-1", 4)
    pod["metadata"]["managedFields"] = [{"manager": "kubelet"}]
    store.put(pod)
    assert store.models() == [KEY]
    found = store.get("Pod", "ns", "llama-1")
    assert found is not None
    assert "managedFields" not in found["metadata"]


@pytest.mark.parametrize("kind", ["ConfigMap", "ControllerRevision", "Deployment", "Pod", "ReplicaSet"])
@pytest.mark.parametrize("where", ["metadata", "data", "status"])
def test_no_child_fills_the_memory(kind: str, where: str) -> None:
    """Not even one that names a model as its owner: anybody may write that."""
    random = Random(7)
    noise = {f"k{n}": random.randbytes(32).hex() for n in range(20_000)}
    owner = {"apiVersion": "x", "kind": "VLLMModel", "name": "llama", "uid": "u", "controller": True}
    metadata: dict[str, Any] = {
        "namespace": "ns", "name": "big", "uid": "u1", "resourceVersion": "7", "ownerReferences": [owner]
    }  # fmt: skip
    obj: dict[str, Any] = {"apiVersion": "v1", "kind": kind, "metadata": metadata, where: noise}
    if where == "metadata":
        obj["metadata"] = {**metadata, "annotations": noise, "labels": noise}
    store = ObservedStore()
    assert store.put(obj) == {Key("ns", "llama")}
    kept = store.get(kind, "ns", "big")
    assert kept is not None
    assert len(json.dumps(kept)) < 1000
    assert kept["metadata"]["uid"] == "u1"
    assert store.discard(obj) == {Key("ns", "llama")}


def test_after_a_restored_backup_older_versions_are_what_is_true() -> None:
    store = ObservedStore()
    store.put(obj("Service", "kept", 1000, owner="model", spec="future"))
    store.put(obj("Service", "other", 1000, owner="model") | {"kind": "Deployment"})
    store.put(obj("Service", "gone", 1000, owner="model"))
    store.discard(obj("Service", "gone", 1001))
    store.rewind("Service", None)
    assert store.get("Service", "ns", "kept") is not None, "nothing is missing meanwhile"
    assert store.put(obj("Service", "kept", 500, owner="model", spec="past")) == {KEY}
    assert store.put(obj("Service", "gone", 400, owner="model")) == {KEY}
    assert store.retain("Service", None, {("ns", "kept"), ("ns", "gone")}, "510") == set()
    found = store.get("Service", "ns", "kept")
    assert found is not None
    assert found["spec"] == "past"
    assert store.put(obj("Service", "other", 500, owner="model") | {"kind": "Deployment"}) == set()


def test_a_model_that_a_list_has_in_an_older_version_is_dropped_and_asked_for() -> None:
    store = ObservedStore()
    store.put(model(1000))
    assert store.doubt(model(1000)) == set()
    assert store.doubt(model(1001)) == set()
    assert store.doubt(model(500)) == {KEY}
    assert not store.knows(KEY)
    assert store.put(model(501)) == {KEY}, "what the API server answers then is taken"
    store.discard(model(900))
    assert store.doubt(model(500)) == {KEY}, "a deletion of a time that never was"
    assert store.put(model(500)) == {KEY}
