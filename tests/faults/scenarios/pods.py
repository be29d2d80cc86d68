"""Nodes are lost, pods evicted, stuck, flipping, never scheduled, never pulled."""

import json
import time
from datetime import UTC, datetime

from faults.scenario import scenario
from faults.scene import PROBE, Scene
from operatorkit.kubelet import crashing, loading, ready, skewed, waiting
from operatorkit.waiting import wait_for


@scenario(bound=40, quick=True)
def rolled_five_times(scene: Scene) -> None:
    """A model of one replica is rolled five times, each time to a pod that was never probed."""
    scene.operator()
    scene.serve("llama", engineArgs={"max_model_len": 64})
    scene.serves("llama")
    for size in (65, 66, 67, 68, 69):
        scene.models.edit("llama", engineArgs={"max_model_len": size})
        scene.reported("llama", "Ready", "True", "Serving")


@scenario(bound=100)
def a_node_is_lost(scene: Scene) -> None:
    """The node stops: its controller turns the pod's Ready to False, its containers still say ready."""
    node = scene.node()
    scene.operator()
    triton = scene.triton()
    node.behave(scene.namespace, "llama", ready(triton.address))
    scene.serve("llama", scheduling=node.scheduling)
    node.lose()
    triton.stop()
    scene.down("llama", because="its node is gone")
    scene.reported("llama", "Ready", "False", "NodeLost")
    scene.open("llama", because="its node is back")
    triton.start()
    node.find()
    scene.reported("llama", "Ready", "True", "Serving", within=120)


@scenario(bound=30)
def a_pod_is_evicted(scene: Scene) -> None:
    """The only pod is evicted; another one takes its place."""
    scene.operator()
    scene.serve("llama")
    (pod,) = scene.models.pods("llama")
    scene.open("llama", because="another pod serves")
    scene.api.delete("pods", scene.namespace, pod["metadata"]["name"])
    wait_for(
        "another pod is there",
        lambda: any(p["metadata"]["uid"] != pod["metadata"]["uid"] for p in scene.models.pods("llama")),
    )
    scene.reported("llama", "Ready", "True", "Serving")


@scenario(bound=40)
def a_pod_is_stuck_terminating(scene: Scene) -> None:
    """With Recreate the old pod never ends: the status names it and its node."""
    scene.operator()
    scene.serve("llama", rollout={"type": "Recreate"}, engineArgs={"max_model_len": 64})
    (pod,) = scene.models.pods("llama")
    scene.kubelet.holding.add((scene.namespace, "llama"))
    scene.down("llama", because="its pod is Terminating for ever")
    scene.models.edit("llama", engineArgs={"max_model_len": 128})
    try:
        wait_for("its end was asked for", lambda: "deletionTimestamp" in str(scene.models.pods("llama")))
        scene.reported("llama", "Ready", "Unknown", says=pod["metadata"]["name"])
    finally:
        scene.kubelet.holding.discard((scene.namespace, "llama"))
    scene.open("llama", because="its pod has ended")
    scene.reported("llama", "Ready", "True", "Serving", within=60)


@scenario(bound=20)
def an_image_never_pulls(scene: Scene) -> None:
    """The kubelet cannot pull the image."""
    message = 'failed to pull image "registry.example/triton-vllm:26.07": not found'
    scene.kubelet.behave(scene.namespace, "llama", waiting("ImagePullBackOff", message))
    scene.operator()
    scene.models.create("llama", probe=PROBE)
    scene.down("llama", because="no image")
    scene.reported("llama", "Ready", "False", "ImagePullFailed")


@scenario(bound=20)
def no_node_fits(scene: Scene) -> None:
    """No node has the label that the spec asks for."""
    scene.operator()
    scene.models.create("llama", probe=PROBE, scheduling={"nodeSelector": {"disk": "none-has-it"}})
    scene.down("llama", because="no node for it")
    scene.reported("llama", "Ready", "False", "Unschedulable")


@scenario(bound=20)
def a_container_crashes_again_and_again(scene: Scene) -> None:
    """The container of a serving model ends and waits for its back-off."""
    scene.operator()
    scene.serve("llama")
    said = {"reason": "ContainerCrashed", "detail": "ValueError: on fire", "exitCode": 1}
    scene.down("llama", because="its container crashes")
    scene.kubelet.behave(scene.namespace, "llama", crashing(json.dumps(said)))
    scene.reported("llama", "Ready", "False", "ContainerCrashed", says="on fire")
    scene.kubelet.behave(scene.namespace, "llama", scene.healthy)
    scene.open("llama", because="its container is well again")
    scene.reported("llama", "Ready", "True", "Serving", within=40)


@scenario(bound=20, quick=True)
def fifty_flips_in_ten_seconds(scene: Scene) -> None:
    """The pod's readiness flips fifty times in ten seconds and ends ready."""
    scene.operator()
    scene.serve("llama")
    scene.open("llama", because="ready in the end")
    (pod,) = scene.models.pods("llama")
    name = pod["metadata"]["name"]
    for number in range(50):
        flipped_at = time.monotonic()
        status = (loading() if number % 2 == 0 else scene.healthy)(pod)
        scene.api.merge("pods", scene.namespace, name, {"status": status}, "status")
        wait_for("a fifth of a second", lambda at=flipped_at: time.monotonic() > at + 0.1)
    scene.serves("llama")
    scene.reported("llama", "Ready", "True", "Serving")
    scene.quiet()


@scenario(bound=30)
def fifty_edits_in_ten_seconds(scene: Scene) -> None:
    """The spec is edited fifty times in ten seconds; the last edit is what runs."""
    scene.operator()
    scene.serve("llama")
    for size in range(100, 150):
        scene.models.edit("llama", engineArgs={"max_model_len": size})
    scene.serves("llama")
    scene.reported("llama", "Ready", "True", "Serving", within=90)


def _skewed_clock(scene: Scene, seconds: float) -> None:
    scene.kubelet.behave(scene.namespace, "llama", skewed(scene.healthy, seconds))
    scene.operator()
    scene.serve("llama")
    scene.serves("llama")
    scene.models.edit("llama", engineArgs={"max_model_len": 128})
    scene.reported("llama", "Ready", "True", "Serving", within=60)
    scene.down("llama", because="its container crashes")
    said = {"reason": "ContainerCrashed", "detail": "ValueError: on fire", "exitCode": 1}
    scene.kubelet.behave(scene.namespace, "llama", skewed(crashing(json.dumps(said)), seconds))
    scene.reported("llama", "Ready", "False", "ContainerCrashed")


@scenario(bound=30)
def a_node_clock_an_hour_behind(scene: Scene) -> None:
    """The node's clock, and so all times in pod statuses, is an hour behind."""
    _skewed_clock(scene, -3600)


@scenario(bound=30)
def a_node_clock_an_hour_ahead(scene: Scene) -> None:
    """The node's clock, and so all times in pod statuses, is an hour ahead."""
    _skewed_clock(scene, 3600)


@scenario(bound=60)
def nothing_happens_past_the_deadline(scene: Scene) -> None:
    """A pod is ContainerCreating past the progress deadline; its newest Warning is FailedMount.

    The deadline is set by hand, so the model is paused: its own is more than twenty minutes.
    """
    scene.operator()
    scene.kubelet.behave(scene.namespace, "llama", waiting("ContainerCreating", ""))
    scene.models.create("llama", probe=PROBE)
    pods = wait_for("its pod", lambda: scene.models.pods("llama"))
    scene.models.wait_condition("llama", "Ready", "Unknown", "Pending")
    scene.models.edit("llama", paused=True)
    scene.api.create("events", {
        "metadata": {"name": "failed-mount", "namespace": scene.namespace},
        "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": "kubelet", "reportingInstance": "node-1", "action": "Mounting",
        "reason": "FailedMount", "type": "Warning", "note": "MountVolume.SetUp failed for volume weights",
        "regarding": {
            "kind": "Pod", "apiVersion": "v1", "namespace": scene.namespace,
            "name": pods[0]["metadata"]["name"], "uid": pods[0]["metadata"]["uid"],
        },
    })  # fmt: skip
    scene.down("llama", because="a volume cannot be mounted")
    deadline = {"spec": {"progressDeadlineSeconds": 1, "minReadySeconds": 0}}
    scene.api.merge("deployments", scene.namespace, "llama", deadline)
    scene.reported("llama", "Ready", "False", "ProgressDeadlineExceeded", says="MountVolume.SetUp failed")
