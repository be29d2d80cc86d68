"""Watches end, expire, go silent or are lost for good."""

import time

from faults.scenario import scenario
from faults.scene import Scene
from operatorkit.kubelet import ready
from operatorkit.proxy import Asked, Refusal
from operatorkit.waiting import wait_for

#: A watch that shows nothing is given up after a minute; then a lease and a start.
_GIVEN_UP_SECONDS = 150.0


def _since(began: float) -> float:
    return time.monotonic() - began


def _lost(scene: Scene, plural: str, refusal: Refusal) -> None:
    """All watches end, one is refused for a while, and then the pod hangs: that must come out."""
    wire = scene.wire()
    scene.restarted_when_it_ends(scene.operator(wire=wire))
    triton = scene.triton()
    scene.kubelet.behave(scene.namespace, "llama", ready(triton.address))
    scene.serve("llama")
    refused: list[str] = []

    def fault(asked: Asked) -> Refusal | None:
        if asked.is_watch and asked.path.endswith(f"/{plural}") and len(refused) < 3:
            refused.append(asked.path)
            return refusal
        return None

    wire.fault = fault
    wire.break_watches()
    wait_for("the watch was refused", lambda: refused)
    triton.behaviour = "hang"
    scene.down("llama", because="its pod hangs")
    scene.reported("llama", "Ready", "False", "ProbeTimeout", "ProbeFailed", "EngineHung")
    triton.behaviour = "serve"
    scene.open("llama", because="its pod hangs, and a Service is gone")
    scene.api.delete("services", scene.namespace, "llama")
    wait_for("the Service is back", lambda: scene.models.children("llama")["services"], _GIVEN_UP_SECONDS)
    scene.models.wait_serving("llama", seconds=_GIVEN_UP_SECONDS)


@scenario(bound=_GIVEN_UP_SECONDS)
def models_lost_by_410(scene: Scene) -> None:
    """All watches end; the one of VLLMModels is answered 410."""
    _lost(scene, "vllmmodels", Refusal(410))


@scenario(bound=_GIVEN_UP_SECONDS)
def pods_lost_by_404(scene: Scene) -> None:
    """All watches end; the one of Pods is answered 404."""
    _lost(scene, "pods", Refusal(404))


@scenario(bound=_GIVEN_UP_SECONDS)
def deployments_lost_by_400(scene: Scene) -> None:
    """All watches end; the one of Deployments is answered 400."""
    _lost(scene, "deployments", Refusal(400))


@scenario(bound=_GIVEN_UP_SECONDS)
def services_lost_by_an_error_event(scene: Scene) -> None:
    """All watches end; the one of Services is answered an ERROR 500 in its stream."""
    _lost(scene, "services", Refusal(500, in_stream=True))


@scenario(bound=_GIVEN_UP_SECONDS)
def models_lost_by_an_error_event(scene: Scene) -> None:
    """All watches end; the one of VLLMModels is answered an ERROR 500 in its stream."""
    _lost(scene, "vllmmodels", Refusal(500, in_stream=True))


@scenario(bound=60)
def every_watch_expired(scene: Scene) -> None:
    """Every watch is told 410 in its stream for 20 s, while a Service is deleted and a model is made."""
    wire = scene.wire()
    scene.restarted_when_it_ends(scene.operator(wire=wire))
    scene.serve("kept")
    wire.fault = lambda asked: Refusal(410, in_stream=True, seconds=1) if asked.is_watch else None
    wire.break_watches()
    scene.api.delete("services", scene.namespace, "kept")
    scene.models.create("made")
    scene.open("made", because="both serve")
    (began := scene.chronicle.since("made"))
    wait_for("20 s", lambda: _since(began) > 20)
    wire.fault = None
    scene.reported("made", "Ready", "True", "Serving")
    wait_for("the Service is back", lambda: scene.models.children("kept")["services"], 60)


@scenario(bound=_GIVEN_UP_SECONDS)
def a_silent_watch(scene: Scene) -> None:
    """The watch of Services stays open and tells nothing; a Service is deleted."""
    wire = scene.wire()
    scene.restarted_when_it_ends(scene.operator(wire=wire, RESYNC_SECONDS="60"))
    scene.serve("kept")
    wire.mute_watch = lambda path: path.endswith("/services")
    scene.api.delete("services", scene.namespace, "kept")
    scene.serves("kept")
    wire_heals = scene.chronicle.since("kept")
    wait_for("60 s of silence", lambda: _since(wire_heals) > 60, 70)
    wire.mute_watch = lambda _: False
    scene.within("the Service is back", lambda: scene.models.children("kept")["services"])


@scenario(bound=60)
def rolled_while_a_watch_is_down(scene: Scene) -> None:
    """ReplicaSets can be neither listed nor watched for 30 s; the model is rolled meanwhile."""
    wire = scene.wire()
    scene.restarted_when_it_ends(scene.operator(wire=wire))
    scene.serve("llama", engineArgs={"max_model_len": 64})
    scene.serves("llama")
    (old,) = scene.models.pods("llama")
    wire.fault = lambda asked: Refusal(500) if asked.path.endswith("/replicasets") else None
    wire.break_watches()
    scene.models.edit("llama", engineArgs={"max_model_len": 128})
    began = time.monotonic()
    wait_for(
        "the old pod is gone",
        lambda: old["metadata"]["uid"] not in [pod["metadata"]["uid"] for pod in scene.models.pods("llama")],
    )
    wait_for("30 s without it", lambda: _since(began) > 30, 40)
    wire.fault = None
    scene.reported("llama", "Ready", "True", "Serving")


@scenario(bound=60, quick=True)
def a_deletion_lost_across_an_expired_watch(scene: Scene) -> None:
    """A Service is deleted while its watch is down, and the watch comes back with 410."""
    wire = scene.wire()
    scene.restarted_when_it_ends(scene.operator(wire=wire, RESYNC_SECONDS="600"))
    scene.serve("kept")
    refusals: list[int] = []

    def fault(asked: Asked) -> Refusal | None:
        if asked.is_watch and asked.path.endswith("/services") and len(refusals) < 2:
            refusals.append(1)
            return Refusal(410, in_stream=True, seconds=2)
        return None

    wire.fault = fault
    wire.break_watches()
    wait_for("the watch was refused", lambda: refusals)
    scene.api.delete("services", scene.namespace, "kept")
    scene.serves("kept")
    scene.within("the Service is back", lambda: scene.models.children("kept")["services"])
