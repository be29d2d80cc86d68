"""Namespaces are deleted, forbidden or stuck, and quotas are full."""

import time

from faults.chronicle import Chronicle
from faults.scenario import scenario
from faults.scene import PROBE, Scene
from operatorkit.models import Models
from operatorkit.release import Release
from operatorkit.waiting import wait_for


def _two(scene: Scene) -> tuple[Release, Models]:
    """A release for the scene's namespace and another one."""
    other = scene.new_namespace()
    return scene.release_for(scene.namespace, other), Models(scene.api, other)


def _still_served(scene: Scene) -> None:
    """The scene's own namespace is worked on as ever."""
    scene.serves("llama")
    scene.models.create("later", probe=PROBE)
    scene.open("later", because="the other namespace is served")
    scene.reported("later", "Ready", "True", "Serving")
    scene.api.delete("services", scene.namespace, "llama")
    wait_for("the Service is back", lambda: scene.models.children("llama")["services"], 30)


def _forbid(scene: Scene, other: Models) -> list[tuple[str, dict[str, object]]]:
    """Take the operator's rights in a namespace away; returns them, to be given back."""
    taken = []
    for binding in scene.api.list("rolebindings", other.namespace):
        scene.api.delete("rolebindings", other.namespace, binding["metadata"]["name"])
        metadata = {key: binding["metadata"][key] for key in ("name", "namespace")}
        taken.append(("rolebindings", {**binding, "metadata": metadata}))
    assert taken, "the chart makes a RoleBinding in each watched namespace"
    return taken


@scenario(bound=40)
def a_watched_namespace_is_deleted(scene: Scene) -> None:
    """One of two watched namespaces is deleted while the operator runs."""
    release, other = _two(scene)
    scene.operator(release=release, RESYNC_SECONDS="15")
    scene.serve("llama")
    other.create("neighbour", probe=PROBE)
    other.wait_serving("neighbour")
    scene.api.delete("namespaces", "", other.namespace)
    wait_for("it is gone", lambda: scene.api.get("namespaces", "", other.namespace) is None, 90)
    _still_served(scene)


@scenario(bound=40)
def a_watched_namespace_is_not_there_at_the_start(scene: Scene) -> None:
    """One of two watched namespaces does not exist when the operator starts."""
    release, other = _two(scene)
    scene.api.delete("namespaces", "", other.namespace)
    wait_for("it is gone", lambda: scene.api.get("namespaces", "", other.namespace) is None, 90)
    scene.operator(release=release)
    scene.serve("llama")
    _still_served(scene)


@scenario(bound=90)
def a_watched_namespace_is_forbidden_at_the_start(scene: Scene) -> None:
    """The operator has no right in one of two watched namespaces when it starts; later it has."""
    release, other = _two(scene)
    taken = _forbid(scene, other)
    scene.operator(release=release, RESYNC_SECONDS="30")
    scene.serve("llama")
    _still_served(scene)
    other.create("neighbour", probe=PROBE)
    for plural, binding in taken:
        scene.api.create(plural, binding)
    scene.within(
        "the other namespace is picked up",
        lambda: other.condition("neighbour").get("reason") == "Serving",
    )


@scenario(bound=90)
def a_watched_namespace_is_forbidden_for_a_while(scene: Scene) -> None:
    """The rights in one of two watched namespaces are taken away and given back."""
    release, other = _two(scene)
    scene.restarted_when_it_ends(scene.operator(release=release, RESYNC_SECONDS="30"))
    scene.serve("llama")
    other.create("neighbour", probe=PROBE)
    other.wait_serving("neighbour")
    with Chronicle(scene.api, other.namespace) as told:
        taken = _forbid(scene, other)
        _still_served(scene)
        for plural, binding in taken:
            scene.api.create(plural, binding)
        scene.api.delete("services", other.namespace, "neighbour")
        scene.within("the Service is back", lambda: other.children("neighbour")["services"])
        said = {written.says("Available") for written in told.of("neighbour")}
        assert not any(word.startswith("False") for word in said), said


@scenario(bound=40)
def a_namespace_is_stuck_terminating(scene: Scene) -> None:
    """One of two watched namespaces is being deleted and does not end: something in it has a finalizer."""
    release, other = _two(scene)
    scene.operator(release=release, RESYNC_SECONDS="15")
    scene.serve("llama")
    other.create("neighbour", probe=PROBE)
    other.wait_serving("neighbour")
    metadata = {"name": "stuck", "namespace": other.namespace, "finalizers": ["example.com/hold"]}
    scene.api.create("configmaps", {"metadata": metadata})
    scene.api.delete("namespaces", "", other.namespace)
    try:
        wait_for("its pods are gone", lambda: not other.pods("neighbour"), 60)
        _still_served(scene)
    finally:
        scene.api.merge("configmaps", other.namespace, "stuck", {"metadata": {"finalizers": None}})


@scenario(bound=30)
def a_quota_refuses_every_pod(scene: Scene) -> None:
    """The namespace's quota has no room for a pod; then it has."""
    scene.operator()
    quota = {"metadata": {"name": "full", "namespace": scene.namespace}, "spec": {"hard": {"pods": "0"}}}
    scene.api.create("resourcequotas", quota)
    scene.models.create("llama", probe=PROBE)
    scene.down("llama", because="no pod may be made")
    scene.reported("llama", "Ready", "False", "AdmissionRejected", says="exceeded quota")
    scene.api.merge("resourcequotas", scene.namespace, "full", {"spec": {"hard": {"pods": "5"}}})
    scene.open("llama", because="there is room for it")
    # It is the ReplicaSet controller that tries again, after a back-off of its own.
    scene.reported("llama", "Ready", "True", "Serving", within=120)


@scenario(bound=60)
def a_quota_refuses_the_surge_pod_only(scene: Scene) -> None:
    """The quota has room for one pod: a roll's second one is refused, the old one serves on."""
    scene.operator()
    quota = {"metadata": {"name": "one", "namespace": scene.namespace}, "spec": {"hard": {"pods": "1"}}}
    scene.api.create("resourcequotas", quota)
    scene.serve("llama", engineArgs={"max_model_len": 64})
    scene.models.edit("llama", engineArgs={"max_model_len": 128})
    scene.serves("llama")
    scene.reported("llama", "Ready", "Unknown", says="quota")


@scenario(bound=30)
def two_hundred_events_a_second(scene: Scene) -> None:
    """A flood of foreign Events and ConfigMaps in the namespace for 10 s."""
    scene.operator()
    scene.serve("llama")
    until = time.monotonic() + 10
    number = 0
    while time.monotonic() < until:
        number += 1
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        scene.api.create("events", {
            "metadata": {"name": f"flood-{number}", "namespace": scene.namespace},
            "eventTime": now, "reportingController": "test", "reportingInstance": "test",
            "action": "Flood", "reason": "Flood", "type": "Warning", "note": "x" * 200,
            "regarding": {"kind": "Pod", "namespace": scene.namespace, "name": "llama"},
        })  # fmt: skip
    scene.serves("llama")
    scene.models.edit("llama", engineArgs={"max_model_len": 128})
    scene.reported("llama", "Ready", "True", "Serving")
