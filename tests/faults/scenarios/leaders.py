"""The operator is killed, stopped or replaced, and two of them think that they lead."""

import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal

from faults.scenario import scenario
from faults.scene import SHIPPED_LEASE, Scene
from operatorkit.kubelet import ready
from operatorkit.process import OperatorProcess
from operatorkit.proxy import Asked, Drop, Proxy, Refusal, Write
from operatorkit.waiting import wait_for

_TWENTY = [f"llama-{number}" for number in range(20)]


def _pass(seconds: float) -> None:
    until = time.monotonic() + seconds
    wait_for(f"{seconds:g} s", lambda: time.monotonic() >= until, seconds + 5)


@scenario(bound=30, quick=True)
def taken_over_while_twenty_models_serve(scene: Scene) -> None:
    """The leader is killed; the next one has probed none of twenty pods when it starts."""
    first = scene.operator(POD_NAME="first", **SHIPPED_LEASE)
    scene.serve(*_TWENTY)
    second = scene.operator(POD_NAME="second", lead=False, **SHIPPED_LEASE)
    wait_for("the standby is ready", lambda: second.get("/readyz")[0] == 200)
    scene.serves(*_TWENTY)
    first.kill()
    wait_for("the other leads", second.leads, 60)
    _pass(25)  # longer than the old rule kept a standing without evidence
    for name in _TWENTY:
        scene.reported(name, "Available", "True", "Serving")


@scenario(bound=30)
def restarted_with_slow_reads(scene: Scene) -> None:
    """A restart whose reads take so long that periods and timeouts pass before the first probe."""
    first = scene.operator()
    scene.serve(*_TWENTY)
    assert first.terminate() == 0
    wire = scene.wire()

    def read_slowly(asked: Asked) -> Refusal | None:
        return None if asked.is_lease or asked.is_watch else Refusal(0, seconds=3)

    wire.fault = read_slowly
    scene.operator(wire=wire, lead=False)
    scene.serves(*_TWENTY)
    _pass(40)
    wire.fault = None
    for name in _TWENTY:
        scene.reported(name, "Available", "True", "Serving")


@scenario(bound=40)
def a_pod_hangs_while_nobody_leads(scene: Scene) -> None:
    """The leader is killed, then the pod hangs; the next leader has no evidence of its own."""
    triton = scene.triton()
    scene.kubelet.behave(scene.namespace, "llama", ready(triton.address))
    first = scene.operator(POD_NAME="first", **SHIPPED_LEASE)
    scene.serve("llama")
    first.kill()
    triton.behaviour = "hang"
    scene.open("llama", because="its pod hangs")
    scene.operator(POD_NAME="second", **SHIPPED_LEASE)
    scene.down("llama", because="its pod hangs")
    scene.reported("llama", "Ready", "False", "ProbeTimeout", "EngineHung")


@scenario(bound=20)
def a_pod_never_probed_is_not_called_serving(scene: Scene) -> None:
    """While no operator runs the serving pod is replaced by one that hangs, ready by its kubelet."""
    triton = scene.triton("hang")
    first = scene.operator()
    scene.serve("llama")
    first.kill()
    old = {pod["metadata"]["uid"] for pod in scene.models.pods("llama")}
    scene.kubelet.behave(scene.namespace, "llama", ready(triton.address))
    for pod in scene.models.pods("llama"):
        scene.api.delete("pods", scene.namespace, pod["metadata"]["name"])

    def replaced() -> bool:
        pods = scene.models.pods("llama")
        there = [c for pod in pods for c in pod.get("status", {}).get("conditions", [])]
        ready_now = any(c["type"] == "Ready" and c["status"] == "True" for c in there)
        return bool(pods) and ready_now and not old & {pod["metadata"]["uid"] for pod in pods}

    wait_for("the new pod is ready", replaced)
    scene.open("llama", because="the new pod hangs")
    scene.operator(POD_NAME="second")
    scene.down("llama", because="the new pod hangs")
    scene.reported("llama", "Available", "False", within=60)


@scenario(bound=30)
def stopped_clock(scene: Scene) -> None:
    """The leader is stopped for 30 s and continued while the second one leads and writes."""
    wires = [scene.wire(), scene.wire()]
    landed: list[float] = []

    def note(stage: Literal["before", "after"], write: Write) -> None:
        if stage == "after" and not write.is_lease:
            landed.append(time.monotonic())

    wires[0].hook = note
    first = scene.operator(wire=wires[0], POD_NAME="first", **SHIPPED_LEASE)
    scene.may_end(first)
    scene.serve("llama")
    second = scene.operator(wire=wires[1], POD_NAME="second", lead=False, **SHIPPED_LEASE)
    wait_for("the standby is ready", lambda: second.get("/readyz")[0] == 200)
    numbers = iter(range(1, 10_000))

    def edit() -> bool:
        scene.models.edit("llama", probe={"timeoutSeconds": 5 + next(numbers) % 2})
        return False

    stopped = time.monotonic()
    first.pause()
    scene.serves("llama")
    wait_for("the second leads", lambda: edit() or second.leads(), 40)
    wait_for("30 s are over", lambda: edit() or time.monotonic() > stopped + 30, 40)
    resumed = time.monotonic()
    first.resume()
    scene.within("who lost the lease has ended", lambda: first.returncode() == 1, 15)
    assert [at for at in landed if at > resumed] == [], "it wrote after it was continued"
    scene.models.wait_serving("llama")


@scenario(bound=30)
def handed_over(scene: Scene) -> None:
    """The leader is told to end: the lease is free at once."""
    first = scene.operator(POD_NAME="first", **SHIPPED_LEASE)
    scene.serve("llama")
    second = scene.operator(POD_NAME="second", lead=False, **SHIPPED_LEASE)
    wait_for("the standby is ready", lambda: second.get("/readyz")[0] == 200)
    scene.serves("llama")
    assert first.terminate() == 0
    scene.within("the other leads", second.leads, 10)
    scene.models.edit("llama", engineArgs={"max_model_len": 77})
    scene.models.wait_serving("llama")


@scenario(bound=60)
def a_lease_from_the_future(scene: Scene) -> None:
    """The lease is held by nobody who lives, renewed tomorrow by another clock."""
    first = scene.operator(**SHIPPED_LEASE)
    scene.serve("llama")
    assert first.terminate() == 0
    lease = scene.api.list("leases", scene.namespace)[0]["metadata"]["name"]
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    held = {"holderIdentity": "ghost", "renewTime": tomorrow, "leaseDurationSeconds": 15}
    scene.api.merge("leases", scene.namespace, lease, {"spec": held})
    scene.serves("llama")
    second = scene.operator(POD_NAME="second", lead=False, **SHIPPED_LEASE)
    scene.within("it leads", second.leads)
    scene.models.edit("llama", engineArgs={"max_model_len": 77})
    scene.models.wait_serving("llama")


@scenario(bound=60)
def the_lease_is_deleted(scene: Scene) -> None:
    """Somebody deletes the lease: who held it ends, and starts again."""
    scene.restarted_when_it_ends(scene.operator(**SHIPPED_LEASE))
    scene.serve("llama")
    lease = scene.api.list("leases", scene.namespace)[0]
    scene.api.delete("leases", scene.namespace, lease["metadata"]["name"])
    scene.serves("llama")

    def held_again() -> bool:
        found = scene.api.list("leases", scene.namespace)
        return bool(found) and found[0]["metadata"]["uid"] != lease["metadata"]["uid"]

    scene.within("a lease is held again", held_again)
    scene.models.edit("llama", engineArgs={"max_model_len": 77})
    scene.models.wait_serving("llama", seconds=60)


class _Killer:
    """SIGKILL at the n-th write that is not the lease's."""

    def __init__(self, operator: OperatorProcess, number: int, stage: str) -> None:
        self._operator, self._left, self._stage = operator, number, stage
        self._lock = threading.Lock()
        self.done = False

    def __call__(self, stage: Literal["before", "after"], write: Write) -> None:
        if write.is_lease or stage != self._stage:
            return
        with self._lock:
            if self.done:
                raise Drop
            self._left -= 1
            if self._left == 0:
                self.done = True
                os.kill(self._operator.pid, signal.SIGKILL)
                raise Drop


def _killed_at_each_write(scene: Scene, act: Callable[[str], None], *, serving: bool) -> None:
    wire: Proxy = scene.wire()
    operator = scene.operator(wire=wire)
    kills = 0
    scene.open("llama-before-1", because="each model serves in the end")
    for stage in ("before", "after"):
        for number in range(1, 7):
            name = f"llama-{stage}-{number}"
            if serving:
                scene.serve(name)
            killer = wire.hook = _Killer(operator, number, stage)
            act(name)

            def ended(name: str = name, killer: _Killer = killer) -> bool:
                return killer.done or scene.models.condition(name).get("reason") == "Serving"

            wait_for(f"killed at write {number}, or done with fewer", ended)
            wire.hook = None
            if killer.done:
                kills += 1
                wait_for("its end", lambda: operator.returncode() is not None)
                operator.start()
            scene.models.wait_serving(name, seconds=60)
            children = scene.models.children(name)
            assert len(children["deployments"]) == len(children["services"]) == 1
    scene.within(f"{kills} kills, each with the same end", lambda: kills >= 8, 1)
    scene.quiet()


@scenario(bound=60)
def killed_at_each_write_of_a_creation(scene: Scene) -> None:
    """SIGKILL before and after each write while a model is made."""

    def create(name: str) -> None:
        scene.models.create(name)

    _killed_at_each_write(scene, create, serving=False)


@scenario(bound=60)
def killed_at_each_write_of_a_roll(scene: Scene) -> None:
    """SIGKILL before and after each write while a serving model is rolled."""

    def roll(name: str) -> None:
        scene.models.edit(name, engineArgs={"max_model_len": 128})

    _killed_at_each_write(scene, roll, serving=True)
