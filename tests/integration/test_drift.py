"""Children deleted or edited by hand are back within 30 seconds."""

from collections.abc import Callable
from typing import Any

import pytest

from operatorkit.api import Api
from operatorkit.models import MODEL_LABEL, Models
from operatorkit.waiting import wait_for

pytestmark = pytest.mark.usefixtures("operator")

#: Fields that say what an object is, not when or by whom it was made.
_VOLATILE = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "annotations")
_LIMIT_SECONDS = 30
_KINDS = ("controllerrevisions", "configmaps", "services", "deployments")


def _meant(obj: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _VOLATILE}
    ours = {key: v for key, v in obj["metadata"].get("annotations", {}).items() if "triton-vllm.dev" in key}
    metadata["annotations"] = ours
    meant = {**obj, "metadata": metadata, "status": None, "kind": None, "apiVersion": None}
    if obj.get("spec", {}).get("clusterIP"):
        allocated = ("clusterIP", "clusterIPs")
        meant["spec"] = {key: value for key, value in obj["spec"].items() if key not in allocated}
    return meant


def _all(models: Models, name: str) -> dict[str, list[dict[str, Any]]]:
    return {kind: [_meant(obj) for obj in objects] for kind, objects in models.children(name).items()}


@pytest.mark.parametrize("kind", _KINDS)
def test_a_deleted_child_is_back(models: Models, name: str, api: Api, kind: str) -> None:
    models.create(name)
    models.wait_serving(name)
    before = _all(models, name)
    (child,) = models.children(name)[kind]
    api.delete(kind, models.namespace, child["metadata"]["name"])

    def back() -> bool:
        new = [obj["metadata"]["uid"] for obj in models.children(name)[kind]]
        return len(new) == 1 and new[0] != child["metadata"]["uid"]

    wait_for(f"the {kind} is back", back, _LIMIT_SECONDS)
    assert _all(models, name) == before
    models.wait_serving(name)


def test_all_children_deleted_at_once_are_back(models: Models, name: str, api: Api) -> None:
    models.create(name)
    models.wait_serving(name)
    before = _all(models, name)
    old = {obj["metadata"]["uid"] for objects in models.children(name).values() for obj in objects}
    for kind, objects in models.children(name).items():
        api.delete(kind, models.namespace, objects[0]["metadata"]["name"])

    def back() -> bool:
        children = models.children(name)
        new = {obj["metadata"]["uid"] for objects in children.values() for obj in objects}
        return all(len(objects) == 1 for objects in children.values()) and not new & old

    wait_for("all of them are back", back, _LIMIT_SECONDS)
    assert _all(models, name) == before
    models.wait_serving(name)


def _container(change: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A merge patch replaces a list whole: the container as it is, with this change."""

    def patch(obj: dict[str, Any]) -> dict[str, Any]:
        (container,) = obj["spec"]["template"]["spec"]["containers"]
        return {"spec": {"template": {"spec": {"containers": [{**container, **change}]}}}}

    return patch


_EDITS: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "replicas": ("deployments", lambda _: {"spec": {"replicas": 7}}),
    "image": ("deployments", _container({"image": "evil:1"})),
    "security context": ("deployments", _container({"securityContext": None})),
    "environment": ("deployments", _container({"env": []})),
    "atomic map": ("deployments", lambda _: {"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}}),
    "strategy": ("deployments", lambda _: {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 5}}}}),
    "a label": ("deployments", lambda _: {"metadata": {"labels": {"app.kubernetes.io/instance": "x"}}}),
    "the model label": ("services", lambda _: {"metadata": {"labels": {MODEL_LABEL: None}}}),
    "another model's label": ("services", lambda _: {"metadata": {"labels": {MODEL_LABEL: "other"}}}),
    "the owner": ("services", lambda _: {"metadata": {"ownerReferences": None}}),
    "ports": ("services", lambda _: {"spec": {"ports": [{"port": 1, "targetPort": 1}]}}),
    "selector": ("services", lambda _: {"spec": {"selector": {"app": "evil"}}}),
    "labels of a revision": ("controllerrevisions", lambda _: {"metadata": {"labels": {MODEL_LABEL: "x"}}}),
    "annotations of a revision": ("controllerrevisions", lambda _: {"metadata": {"annotations": None}}),
    "labels of a ConfigMap": ("configmaps", lambda _: {"metadata": {"labels": None}}),
}  # fmt: skip


@pytest.mark.parametrize("edit", _EDITS)
def test_an_edited_child_is_mended(models: Models, name: str, api: Api, edit: str) -> None:
    kind, patch = _EDITS[edit]
    selector = {"scheduling": {"nodeSelector": {"kubernetes.io/hostname": "node-1"}}}
    models.create(name, **(selector if edit == "atomic map" else {}))
    models.wait_serving(name)
    (child,) = models.children(name)[kind]
    before = _meant(child)
    edited = api.merge(kind, models.namespace, child["metadata"]["name"], patch(child))
    assert _meant(edited) != before

    def mended() -> bool:
        now = api.get(kind, models.namespace, child["metadata"]["name"])
        # A ConfigMap is replaced: the operator may not change one.
        same = now is not None and (
            kind == "configmaps" or now["metadata"]["uid"] == child["metadata"]["uid"]
        )
        return same and _meant(now or {}) == before

    wait_for(f"{edit} is as it was", mended, _LIMIT_SECONDS)
    models.wait_serving(name)


def test_what_others_add_is_left_alone(models: Models, name: str, api: Api) -> None:
    models.create(name)
    models.wait_serving(name)
    restart = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    api.merge("deployments", models.namespace, name, {
        "metadata": {"labels": {"team": "a"}, "annotations": {"note": "x"}},
        "spec": {"template": {"metadata": {"annotations": restart}}},
    })  # fmt: skip
    models.edit(name, replicas=2)
    wait_for("two pods serve", lambda: models.get(name)["status"]["replicaSummary"] == "2/2")
    models.wait_serving(name)
    (deployment,) = models.children(name)["deployments"]
    assert deployment["metadata"]["labels"]["team"] == "a"
    assert deployment["spec"]["template"]["metadata"]["annotations"] == restart
