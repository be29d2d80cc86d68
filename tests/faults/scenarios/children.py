"""Somebody deletes, edits or forges what the operator made."""

import time
from typing import Any

from faults.scenario import scenario
from faults.scene import PROBE, Scene
from operatorkit.proxy import Asked, Refusal
from operatorkit.waiting import stays, wait_for

_VOLUME = "repository"
_EVIL = "registry.example/evil:1"


@scenario(bound=30, quick=True)
def all_children_deleted(scene: Scene) -> None:
    """All children of a serving model are deleted at once."""
    scene.operator()
    scene.serve("llama")
    old = {obj["metadata"]["uid"] for objects in scene.models.children("llama").values() for obj in objects}
    scene.open("llama", because="serves again")
    for kind, objects in scene.models.children("llama").items():
        for obj in objects:
            scene.api.delete(kind, scene.namespace, obj["metadata"]["name"])

    def back() -> bool:
        now = scene.models.children("llama")
        uids = {obj["metadata"]["uid"] for objects in now.values() for obj in objects}
        return all(len(objects) == 1 for objects in now.values()) and not old & uids

    wait_for("all children are back", back, 30)
    scene.reported("llama", "Ready", "True", "Serving", within=60)
    scene.quiet()


@scenario(bound=30)
def children_edited(scene: Scene) -> None:
    """The Deployment's replicas and image and the Service's ports are edited by hand."""
    scene.operator()
    scene.serve("llama")
    (deployment,) = scene.models.children("llama")["deployments"]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    other = {"containers": [{**container, "image": "registry.example/other:1"}]}
    edit = {"spec": {"replicas": 3, "template": {"spec": other}}}
    scene.api.merge("deployments", scene.namespace, "llama", edit)
    scene.api.merge("services", scene.namespace, "llama", {"spec": {"selector": {"app": "other"}}})
    scene.open("llama", because="serves as its spec says")

    def repaired() -> bool:
        children = scene.models.children("llama")
        spec = children["deployments"][0]["spec"]
        image = spec["template"]["spec"]["containers"][0]["image"]
        selector = children["services"][0]["spec"]["selector"]
        return spec["replicas"] == 1 and image == container["image"] and "app" not in selector

    wait_for("both are as they were", repaired, 30)
    scene.reported("llama", "Ready", "True", "Serving", within=60)
    scene.quiet()


@scenario(bound=30)
def a_service_deleted_during_a_slow_write(scene: Scene) -> None:
    """The Service is deleted while the write of the Deployment takes five seconds."""
    wire = scene.wire()
    scene.operator(wire=wire)
    scene.serve("llama")
    slow: list[str] = []

    def fault(asked: Asked) -> Refusal | None:
        if asked.method == "GET" or "/deployments" not in asked.path:
            return None
        slow.append(asked.path)
        return Refusal(0, seconds=5)

    wire.fault = fault
    scene.models.edit("llama", engineArgs={"max_model_len": 128})
    wait_for("the write is on its way", lambda: slow)
    scene.api.delete("services", scene.namespace, "llama")
    scene.serves("llama")
    scene.within("the Service is back", lambda: scene.models.children("llama")["services"])
    wire.fault = None
    scene.models.wait_serving("llama")
    stays("and stays", lambda: bool(scene.models.children("llama")["services"]), 3)


def _odd_replica_set(scene: Scene, name: str, template: dict[str, Any], annotations: dict[str, str]) -> None:
    (deployment,) = scene.models.children("llama")["deployments"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    owner = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "llama",
        "uid": deployment["metadata"]["uid"],
        "controller": True,
    }
    selector = {**labels, "pod-template-hash": name}
    scene.api.create("replicasets", {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": scene.namespace, "labels": selector,
            "annotations": annotations, "ownerReferences": [owner],
        },
        "spec": {
            "replicas": 0, "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": selector}, "spec": template},
        },
    })  # fmt: skip


@scenario(bound=30, quick=True)
def an_odd_replica_set(scene: Scene) -> None:
    """ReplicaSets with another kind of volume, and without any volume, label and number, are the model's."""
    scene.operator()
    scene.serve("llama")
    scene.serves("llama")
    containers = [{"name": "other", "image": "registry.example/x:1"}]
    volumes = [{"name": _VOLUME, "emptyDir": {}}]
    odd = {"deployment.kubernetes.io/revision": "odd"}
    _odd_replica_set(scene, "llama-odd", {"containers": containers, "volumes": volumes}, odd)
    _odd_replica_set(scene, "llama-bare", {"containers": containers}, {})
    scene.models.edit("llama", engineArgs={"max_model_len": 128})
    scene.models.wait_serving("llama", seconds=60)
    scene.models.edit("llama", replicas=2)
    scene.reported("llama", "Ready", "True", "Serving")


@scenario(bound=30)
def an_odd_hand_edit_of_the_deployment(scene: Scene) -> None:
    """A hand edit makes the repository's volume an emptyDir; a ReplicaSet of that template stays."""
    scene.operator()
    scene.serve("llama")
    (deployment,) = scene.models.children("llama")["deployments"]
    volumes = [
        {"name": _VOLUME, "emptyDir": {}} if volume["name"] == _VOLUME else volume
        for volume in deployment["spec"]["template"]["spec"]["volumes"]
    ]
    edit = {"spec": {"template": {"spec": {"volumes": volumes}}}}
    scene.api.merge("deployments", scene.namespace, "llama", edit)
    scene.serves("llama")
    scene.models.edit("llama", engineArgs={"max_model_len": 128})
    scene.reported("llama", "Ready", "True", "Serving", within=60)


def _forge(scene: Scene, name: str, revision: int) -> None:
    """A ControllerRevision as the operator makes them, with another image in it."""
    (real,) = scene.models.children("llama")["controllerrevisions"]
    forged = {
        "apiVersion": real.get("apiVersion", "apps/v1"),
        "kind": "ControllerRevision",
        "metadata": {
            key: value
            for key, value in real["metadata"].items()
            if key in ("labels", "annotations", "ownerReferences", "namespace")
        }
        | {"name": name},
        "data": _with_image(real["data"]),
        "revision": revision,
    }
    scene.api.create("controllerrevisions", forged)


def _with_image(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _EVIL if key == "image" else _with_image(item) for key, item in value.items()}
    return [_with_image(item) for item in value] if isinstance(value, list) else value


def _images(scene: Scene) -> set[str]:
    templates = [d["spec"]["template"] for d in scene.models.children("llama")["deployments"]]
    return {container["image"] for t in templates for container in t["spec"]["containers"]}


@scenario(bound=30, quick=True)
def a_forged_revision(scene: Scene) -> None:
    """A newer ControllerRevision with another image is put beside the real one, then the spec goes bad."""
    scene.operator()
    scene.serve("llama")
    _forge(scene, "llama-ffffffffff", 99)
    scene.serves("llama")
    scene.models.edit("llama", engineArgs={"no_such_argument": 1})
    scene.reported("llama", "Stalled", "True", "InvalidEngineArgs")
    stays("no foreign image runs", lambda: _EVIL not in _images(scene), 8)


@scenario(bound=30)
def a_forged_revision_while_nobody_looks(scene: Scene) -> None:
    """The real revision is replaced by one of its name with another image while no operator runs."""
    first = scene.operator()
    scene.serve("llama")
    assert first.terminate() == 0
    (real,) = scene.models.children("llama")["controllerrevisions"]
    name = real["metadata"]["name"]
    _forge(scene, "llama-forged", 99)
    scene.api.delete("controllerrevisions", scene.namespace, name)
    scene.operator(POD_NAME="second")
    scene.serves("llama")
    scene.models.edit("llama", replicas=2)
    wait_for(
        "it has scaled",
        lambda: scene.models.children("llama")["deployments"][0]["spec"]["replicas"] == 2,
    )
    scene.within("no foreign image runs", lambda: _EVIL not in _images(scene), 1)
    scene.reported("llama", "Ready", "True", "Serving")


@scenario(bound=30)
def a_foreign_finalizer(scene: Scene) -> None:
    """A model with somebody's finalizer is deleted in the foreground: its pods go, the object stays."""
    scene.operator()
    scene.serve("llama")
    held = {"metadata": {"finalizers": ["example.com/hold"]}}
    scene.api.merge("vllmmodels", scene.namespace, "llama", held)
    scene.open("llama", because="its pods are being deleted")
    scene.api.delete("vllmmodels", scene.namespace, "llama", propagationPolicy="Foreground")
    try:
        wait_for("its pods are gone", lambda: not scene.models.pods("llama"), 60)
        scene.down("llama", because="it has no pod")

        def said() -> bool:
            found = scene.models.get("llama").get("status", {}).get("conditions", [])
            ready = {c["type"]: c["status"] for c in found}
            return ready.get("Ready") != "True" and ready.get("Available") != "True"

        scene.within("neither Ready nor Available", said)
    finally:
        scene.api.merge("vllmmodels", scene.namespace, "llama", {"metadata": {"finalizers": None}})


@scenario(bound=30)
def a_name_is_taken(scene: Scene) -> None:
    """Another object has the Service's name; it is left as it is, and later it goes."""
    scene.operator()
    taken = {"name": "llama", "namespace": scene.namespace}
    scene.api.create("services", {"metadata": taken, "spec": {"ports": [{"port": 1}]}})
    scene.models.create("llama", probe=PROBE)
    scene.down("llama", because="the name is taken")
    scene.reported("llama", "Ready", "False", "NameConflict")
    assert scene.api.get("services", scene.namespace, "llama")["spec"]["ports"][0]["port"] == 1  # type: ignore[index]
    scene.api.delete("services", scene.namespace, "llama")
    scene.open("llama", because="the name is free")
    scene.reported("llama", "Ready", "True", "Serving")


@scenario(bound=30)
def created_and_deleted(scene: Scene) -> None:
    """Twenty models are created and deleted right away, some of them created again."""
    scene.operator()
    for number in range(20):
        name = f"llama-{number}"
        scene.models.create(name, probe=PROBE)
        scene.api.delete("vllmmodels", scene.namespace, name)
        if number % 4 == 0:
            scene.models.create(name, probe=PROBE)
    scene.open("llama-0", because="five of the twenty exist")
    kept = [f"llama-{number}" for number in range(0, 20, 4)]
    for name in kept:
        scene.models.wait_serving(name, seconds=90)

    def only_kept() -> bool:
        there = scene.api.list("deployments", scene.namespace)
        return sorted(obj["metadata"]["name"] for obj in there) == sorted(kept)

    scene.within("only what exists has children", only_kept)
    scene.quiet()


@scenario(bound=30)
def orphans_taken_up(scene: Scene) -> None:
    """A model is deleted without its children and made again: they are taken up, its pods stay."""
    scene.operator()
    scene.serve("llama")
    pods = {pod["metadata"]["uid"] for pod in scene.models.pods("llama")}
    scene.api.delete("vllmmodels", scene.namespace, "llama", propagationPolicy="Orphan")
    wait_for("it is gone", lambda: scene.api.get("vllmmodels", scene.namespace, "llama") is None)
    scene.models.create("llama", probe=PROBE)
    scene.open("llama", because="serves")
    scene.reported("llama", "Ready", "True", "Serving", "NameConflict", within=60)
    assert {pod["metadata"]["uid"] for pod in scene.models.pods("llama")} >= pods


@scenario(bound=20)
def paused_before_anything_was_made(scene: Scene) -> None:
    """A model is created paused: nothing of it exists, and the status names nothing that does not."""
    scene.operator()
    scene.models.create("llama", paused=True, probe=PROBE)
    scene.open("llama", because="nothing was made")
    wait_for("it has a status", lambda: scene.models.condition("llama"))
    began = time.monotonic()
    wait_for("it has settled", lambda: time.monotonic() > began + 3)
    status = scene.models.get("llama")["status"]
    assert not any(scene.models.children("llama").values())
    of_children = ("updateRevision", "currentRevision")
    named = {key: status[key] for key in of_children if status.get(key)}
    scene.within(f"nothing is named that is not there: {named}", lambda: not named, 1)
    scene.models.edit("llama", paused=False)
    scene.open("llama", because="it may be made now")
    scene.reported("llama", "Ready", "True", "Serving")
