"""The API server refuses, is slow, breaks off, restarts."""

import itertools
import time
from collections.abc import Callable

from faults.scenario import scenario
from faults.scene import Scene
from operatorkit.proxy import Asked, Fault, Proxy, Refusal, share_refused
from operatorkit.waiting import wait_for


def _live_through(scene: Scene, wire: Proxy, seconds: float, *, during: Callable[[], None]) -> None:
    """A model serves all the while; another is made and a Service is deleted while the fault lasts.

    `during` is called again and again until its time is over; what ends the fault is the caller's.
    """
    (service,) = scene.models.children("kept")["services"]
    scene.api.delete("services", scene.namespace, service["metadata"]["name"])
    scene.models.create("made")
    until = time.monotonic() + seconds

    def over() -> bool:
        during()
        return time.monotonic() >= until

    wait_for("the fault's time is over", over, seconds + 30)


def _recovered(scene: Scene) -> None:
    scene.open("made", because="serves, and so does a new one")
    scene.reported("made", "Ready", "True", "Serving")
    scene.serves("made")
    wait_for("the Service is back", lambda: scene.models.children("kept")["services"], scene.scenario.bound)
    scene.models.wait_serving("kept", seconds=scene.scenario.bound)
    scene.quiet()


def _refused(scene: Scene, fault: Fault, seconds: float) -> None:
    wire = scene.wire()
    scene.operator(wire=wire)
    scene.serve("kept")
    wire.fault = fault
    _live_through(scene, wire, seconds, during=lambda: None)
    wire.fault = None
    _recovered(scene)


def _all_but_lease(refusal: Refusal) -> Fault:
    return lambda asked: None if asked.is_lease else refusal


@scenario(bound=15, quick=True)
def a_third_is_throttled(scene: Scene) -> None:
    """A third of all requests is answered 429 with Retry-After 1 for 30 s."""
    _refused(scene, share_refused(3, Refusal(429, retry_after="1")), 30)


@scenario(bound=15)
def all_is_throttled(scene: Scene) -> None:
    """Every request but the lease's is answered 429 for 45 s, longer than one request waits."""
    _refused(scene, _all_but_lease(Refusal(429, retry_after="1")), 45)


@scenario(bound=15)
def unavailable(scene: Scene) -> None:
    """Every request but the lease's is answered 503 without Retry-After for 20 s."""
    _refused(scene, _all_but_lease(Refusal(503)), 20)


@scenario(bound=40)
def internal_errors(scene: Scene) -> None:
    """Every request but the lease's is answered 500 for 20 s."""
    _refused(scene, _all_but_lease(Refusal(500)), 20)


@scenario(bound=40)
def forbidden_for_a_while(scene: Scene) -> None:
    """Every request but the lease's is answered 403 for 20 s, as while RBAC is being restored."""
    _refused(scene, _all_but_lease(Refusal(403)), 20)


@scenario(bound=40)
def token_expired(scene: Scene) -> None:
    """Every request but the lease's is answered 401 for 15 s: the token has run out."""
    wire = scene.wire()
    operator = scene.operator(wire=wire)
    scene.restarted_when_it_ends(operator)
    scene.serve("kept")
    wire.fault = _all_but_lease(Refusal(401))
    wire.break_watches()
    _live_through(scene, wire, 15, during=lambda: None)
    wire.fault = None
    _recovered(scene)


@scenario(bound=30)
def slow_answers(scene: Scene) -> None:
    """Each answer takes four seconds for 30 s."""
    _refused(scene, lambda _: Refusal(0, seconds=4), 30)


@scenario(bound=30, quick=True)
def conflicts(scene: Scene) -> None:
    """Every second write but the lease's is answered 409 for 15 s."""
    writes = itertools.count()

    def fault(asked: Asked) -> Refusal | None:
        if asked.method == "GET" or asked.is_lease:
            return None
        return Refusal(409) if next(writes) % 2 else None

    _refused(scene, fault, 15)


@scenario(bound=60)
def one_child_cannot_be_written(scene: Scene) -> None:
    """Writes of Deployments are answered 500 for longer than a probe's period; the old pods serve on."""
    wire = scene.wire()
    scene.operator(wire=wire)
    scene.serve("llama")
    scene.serves("llama")
    wire.fault = lambda asked: (
        Refusal(500) if asked.method != "GET" and "/deployments" in asked.path else None
    )
    scene.models.edit("llama", engineArgs={"max_model_len": 128})
    scene.reported("llama", "Ready", "Unknown", "ReconcileFailed")
    wire.fault = None
    scene.reported("llama", "Ready", "True", "Serving")


@scenario(bound=40)
def cut_off(scene: Scene) -> None:
    """Nothing passes for 20 s, either way, and no connection is closed."""
    wire = scene.wire()
    scene.restarted_when_it_ends(scene.operator(wire=wire))
    scene.serve("kept")
    wire.cut()
    _live_through(scene, wire, 20, during=lambda: None)
    wire.mend()
    wire.break_connections()
    _recovered(scene)


@scenario(bound=40)
def connections_break(scene: Scene) -> None:
    """Every open connection is broken, again and again, for 15 s."""
    wire = scene.wire()
    scene.restarted_when_it_ends(scene.operator(wire=wire))
    scene.serve("kept")
    _live_through(scene, wire, 15, during=wire.break_connections)
    _recovered(scene)


@scenario(bound=60)
def definition_gone(scene: Scene) -> None:
    """VLLMModels are answered 404 for 10 s, as while the definition is replaced."""
    wire = scene.wire()
    scene.restarted_when_it_ends(scene.operator(wire=wire))
    scene.serve("kept")
    wire.fault = lambda asked: Refusal(404) if "/vllmmodels" in asked.path else None
    wire.break_watches()
    _live_through(scene, wire, 10, during=lambda: None)
    wire.fault = None
    _recovered(scene)


@scenario(bound=40)
def throttled_at_the_start(scene: Scene) -> None:
    """The first reads of a new operator are answered 429 for 15 s."""
    wire = scene.wire()
    first = scene.operator()
    scene.serve("kept")
    assert first.terminate() == 0
    scene.may_end(first)
    wire.fault = _all_but_lease(Refusal(429, retry_after="1"))
    scene.operator(wire=wire, lead=False)
    _live_through(scene, wire, 15, during=lambda: None)
    wire.fault = None
    _recovered(scene)


@scenario(bound=60, alone=True)
def restarted(scene: Scene) -> None:
    """The API server is killed and comes back after five seconds."""
    scene.restarted_when_it_ends(scene.operator())
    scene.serve("kept")
    scene.plane.apiserver.kill()
    killed = time.monotonic()
    wait_for("five seconds without it", lambda: time.monotonic() > killed + 5)
    scene.plane.apiserver.start()
    scene.models.create("made", probe={"periodSeconds": 5, "timeoutSeconds": 5})
    _recovered_after_restart(scene)


def _recovered_after_restart(scene: Scene) -> None:
    scene.open("made", because="serves, and so does a new one")
    scene.reported("made", "Ready", "True", "Serving")
    scene.quiet()


@scenario(bound=60, alone=True)
def etcd_is_slow(scene: Scene) -> None:
    """Etcd answers nothing for two of every three seconds, for 20 s."""
    scene.restarted_when_it_ends(scene.operator())
    scene.serve("kept")
    scene.models.create("made")
    etcd = scene.plane.component("etcd")
    until = time.monotonic() + 20
    try:
        while time.monotonic() < until:
            etcd.pause()
            paused = time.monotonic()
            wait_for("two seconds", lambda paused=paused: time.monotonic() > paused + 2)
            etcd.resume()
            wait_for("one second", lambda paused=paused: time.monotonic() > paused + 3)
    finally:
        etcd.resume()
    _recovered_after_restart(scene)
