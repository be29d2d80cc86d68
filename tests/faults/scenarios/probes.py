"""Engines hang, lie, answer late or not at all."""

import time

from faults.scenario import scenario
from faults.scene import PROBE, Scene
from operatorkit.kubelet import loading, ready
from operatorkit.models import Models
from operatorkit.waiting import stays, wait_for
from tritonstandin import TritonStandIn

_HUNG = ("ProbeTimeout", "EngineHung")


def _with_triton(scene: Scene, **spec: object) -> TritonStandIn:
    """A serving model whose Triton is the scenario's."""
    triton = scene.triton()
    scene.kubelet.behave(scene.namespace, "llama", ready(triton.address))
    scene.operator()
    scene.serve("llama", **spec)
    return triton


def _heals(scene: Scene) -> None:
    scene.open("llama", because="it answers again")
    scene.reported("llama", "Ready", "True", "Serving")


@scenario(bound=30, quick=True)
def a_pod_hangs(scene: Scene) -> None:
    """Triton takes inferences and never answers; then it does."""
    triton = _with_triton(scene)
    triton.behaviour = "hang"
    scene.down("llama", because="inferences hang")
    scene.reported("llama", "Ready", "False", *_HUNG)
    triton.behaviour = "serve"
    _heals(scene)


@scenario(bound=30)
def a_pod_answers_with_errors(scene: Scene) -> None:
    """Each inference is answered with an error."""
    triton = _with_triton(scene)
    triton.behaviour = "error"
    scene.down("llama", because="inferences fail")
    scene.reported("llama", "Ready", "False", "ProbeFailed")
    triton.behaviour = "serve"
    _heals(scene)


@scenario(bound=30)
def a_pod_answers_in_another_way(scene: Scene) -> None:
    """Each inference is answered without the output that was asked for."""
    triton = _with_triton(scene)
    triton.behaviour = "mute"
    scene.down("llama", because="answers lack the output")
    scene.reported("llama", "Ready", "False", "ProbeProtocolError", "ProbeFailed")


@scenario(bound=30)
def a_port_is_closed(scene: Scene) -> None:
    """Triton's port refuses connections while the kubelet calls the pod ready.

    Unknown, not False: a NetworkPolicy may refuse the operator alone (docs/conditions.md).
    """
    triton = _with_triton(scene)
    triton.stop()
    scene.down("llama", because="its port is closed")
    scene.reported("llama", "Ready", "Unknown", "ProbeUnreachable")
    triton.start()
    _heals(scene)


@scenario(bound=30)
def the_engine_is_dead(scene: Scene) -> None:
    """The backend reports a dead engine."""
    triton = _with_triton(scene)
    assert triton.info is not None
    triton.info = {**triton.info, "engine": "dead"}
    triton.behaviour = "error"
    scene.down("llama", because="its engine is dead")
    scene.reported("llama", "Ready", "False", "ProbeFailed", "EngineDead")


@scenario(bound=40)
def the_engine_hangs_and_says_so(scene: Scene) -> None:
    """The backend reports a hung engine, and the kubelet turns the pod away."""
    triton = _with_triton(scene)
    assert triton.info is not None
    triton.info = {**triton.info, "engine": "hung"}
    triton.behaviour = "hang"
    scene.down("llama", because="its engine hangs")
    scene.reported("llama", "Ready", "False", "EngineHung")

    def turned_away(pod: dict[str, object]) -> dict[str, object]:
        status = ready(triton.address)(pod)
        for condition in status["conditions"]:
            if condition["type"] in ("Ready", "ContainersReady"):
                condition["status"] = "False"
        for container in status["containerStatuses"]:
            container["ready"] = False
        return status

    scene.kubelet.behave(scene.namespace, "llama", turned_away)
    began = time.monotonic()
    wait_for("20 s", lambda: time.monotonic() > began + 20, 25)
    scene.reported("llama", "Ready", "False", "EngineHung")


@scenario(bound=40)
def a_slow_pod_is_not_a_hung_one(scene: Scene) -> None:
    """One of two pods is loading for long; the other one serves."""
    triton = scene.triton()
    scene.operator()
    scene.serve("llama")
    scene.serves("llama")
    first = {pod["metadata"]["uid"] for pod in scene.models.pods("llama")}

    def status(pod: dict[str, object]) -> dict[str, object]:
        metadata = pod["metadata"]
        known = isinstance(metadata, dict) and metadata["uid"] in first
        return (scene.healthy if known else loading())(pod)

    scene.kubelet.behave(scene.namespace, "llama", status)
    scene.models.edit("llama", replicas=2)
    wait_for("two pods", lambda: len(scene.models.pods("llama")) == 2)
    scene.reported("llama", "Available", "True")
    stays(
        "Available stays",
        lambda: scene.models.condition("llama", "Available").get("status", "True") == "True",
        15,
    )
    assert triton.inferences == 0


@scenario(bound=120)
def wrong_answers_under_traffic(scene: Scene) -> None:
    """The model answers garbage under traffic, which the backend reports as successes."""
    probe = {**PROBE, "generate": {"prompt": "The capital of France is", "expectContains": "Paris"}}
    triton = _with_triton(scene, probe=probe)
    assert triton.info is not None
    triton.info = {**triton.info, "seconds_since_last_success": 0.1}
    triton.text = " garbage"
    scene.down("llama", because="its answers are garbage")
    scene.reported("llama", "Ready", "False", "ProbeFailed")
    triton.text = " Paris"
    _heals(scene)


@scenario(bound=40)
def one_attempt_at_a_time(scene: Scene) -> None:
    """A pod hangs for 40 s with a timeout of four periods: one inference at a time is sent to it."""
    probe = {"periodSeconds": 5, "timeoutSeconds": 20, "failureThreshold": 1}
    triton = _with_triton(scene, probe=probe)
    before = triton.inferences
    triton.behaviour = "hang"
    scene.down("llama", because="inferences hang")
    scene.reported("llama", "Ready", "False", *_HUNG)
    for number in range(10):
        scene.models.edit("llama", probe={"timeoutSeconds": 19 + number % 2})
    began = time.monotonic()
    wait_for("40 s", lambda: time.monotonic() > began + 40, 45)
    assert triton.most_in_flight <= 1, f"{triton.most_in_flight} inferences at once"
    assert triton.inferences - before <= 20, f"{triton.inferences - before} inferences"


@scenario(bound=60)
def sixty_hanging_models_beside_another(scene: Scene) -> None:
    """One tenant's sixty models hang; the pod of another tenant fails, and that comes out in time."""
    other = Models(scene.api, scene.new_namespace())
    release = scene.release_for(scene.namespace, other.namespace)
    triton = scene.triton()
    scene.kubelet.behave(scene.namespace, "llama", ready(triton.address))
    scene.operator(release=release)
    scene.serve("llama")
    hanging = scene.triton("hang")
    for number in range(60):
        scene.kubelet.behave(other.namespace, f"hangs-{number}", ready(hanging.address))
        other.create(f"hangs-{number}", probe={"periodSeconds": 5, "timeoutSeconds": 20})

    def all_loaded() -> bool:
        there = scene.api.list("vllmmodels", other.namespace)
        return [model.get("status", {}).get("replicas") for model in there].count(1) == 60

    wait_for("sixty pods hang", all_loaded, 120)
    scene.serves("llama")
    began = time.monotonic()
    wait_for("30 s", lambda: time.monotonic() > began + 30, 35)
    assert scene.models.condition("llama", "Available")["status"] == "True"
    triton.behaviour = "error"
    scene.down("llama", because="inferences fail")
    scene.reported("llama", "Ready", "False", "ProbeFailed")
