"""`make test-faults-walk`: a random walk of faults and edits, the same again for the same seed.

Models named steady-* serve all the while, whatever is done to them; victim-* hang and heal; others come and
go. After each step every status that was written must have been true, give or take the bound; at the end all
converges and nothing is left behind.
"""

import argparse
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from faults.chronicle import Truth
from faults.scenario import Scenario
from faults.scene import PROBE, Hall, Scene
from localcluster.controlplane import ControlPlane
from operatorkit.kubelet import Kubelet, ready
from operatorkit.plane import connect
from operatorkit.proxy import Asked, Proxy, Refusal, share_refused
from operatorkit.triton import healthy_triton
from operatorkit.waiting import wait_for

#: Three failed probes, and the longest fault of the API server in between.
_BOUND_SECONDS = 90.0
_LEAK_MIB = 60.0
_LEAK_FILES = 40
_STEADY = ("steady-0", "steady-1", "steady-2")
_VICTIMS = ("victim-0", "victim-1")
_PASSING = tuple(f"passing-{number}" for number in range(6))


def main() -> int:
    """Walk; 0 when all held."""
    parser = argparse.ArgumentParser(prog="python -m faults.walk", description=__doc__)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--minutes", type=float, default=30)
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"seed {seed}: SEED={seed} make test-faults-walk walks the same way", flush=True)
    with ControlPlane() as plane, healthy_triton() as triton:
        api = connect(plane)
        with Kubelet(api, ready(triton)) as kubelet:
            hall = Hall(plane, api, kubelet, triton)
            with Scene(hall, Scenario(walk, _BOUND_SECONDS, quick=False, alone=False)) as scene:
                try:
                    Walk(scene, random.Random(seed)).run(arguments.minutes * 60)
                except AssertionError as error:
                    print(f"NOT HELD, seed {seed}: {error}\n{scene.log_text()}", flush=True)
                    return 1
    print(f"seed {seed} held", flush=True)
    return 0


def walk(scene: Scene) -> None:
    """A random walk of faults and edits"""


class Walk:
    """The state of one walk. All choices come from `dice`, in an order that time does not change."""

    def __init__(self, scene: Scene, dice: random.Random) -> None:
        self.scene, self.dice = scene, dice
        self.wire: Proxy = scene.wire()
        self.operator = scene.operator(wire=self.wire)
        scene.restarted_when_it_ends(self.operator)
        self.tritons = {name: scene.triton() for name in _VICTIMS}
        self.there: set[str] = set()
        self.number = 0
        self.steps: list[Callable[[], str]] = [
            self.edit, self.edit, self.scale, self.create, self.create, self.delete, self.wrong_edit,
            self.delete_child, self.edit_child, self.hang, self.kill, self.throttle, self.errors, self.slow,
            self.cut, self.expire, self.break_connections,
        ]  # fmt: skip

    def run(self, seconds: float) -> None:
        """Step after step until the time is over, then put everything right and look."""
        for name, triton in self.tritons.items():
            self.scene.kubelet.behave(self.scene.namespace, name, ready(triton.address))
        self.scene.serve(*_STEADY, *_VICTIMS, engineArgs={"max_model_len": 64})
        began, memory, files = time.monotonic(), self._memory(), self._files()
        while time.monotonic() < began + seconds:
            self.number += 1
            said = self.dice.choice(self.steps)()
            print(f"[{time.monotonic() - began:6.0f} s] {self.number}: {said}", flush=True)
            self._pass(self.dice.uniform(0.2, 4))
            self._true_so_far()
        self._converge()
        self._nothing_left(memory, files)

    # What people do

    def edit(self) -> str:
        """A new revision of a model that serves on while it rolls."""
        name = self.dice.choice(_STEADY)
        size = self.dice.randrange(64, 4096)
        self.scene.models.edit(name, engineArgs={"max_model_len": size})
        return f"edit {name}: max_model_len {size}"

    def scale(self) -> str:
        """More or fewer pods, never none."""
        name, replicas = self.dice.choice(_STEADY), self.dice.randrange(1, 4)
        self.scene.models.edit(name, replicas=replicas)
        return f"scale {name} to {replicas}"

    def create(self) -> str:
        """One of those that come and go."""
        name = self.dice.choice(_PASSING)
        if name in self.there:
            return f"{name} is there already"
        if self.scene.api.get("vllmmodels", self.scene.namespace, name) is None:
            self.scene.models.create(name, probe=PROBE)
        self.there.add(name)
        return f"create {name}"

    def delete(self) -> str:
        """In the background, as kubectl does."""
        name = self.dice.choice(_PASSING)
        self.scene.api.delete("vllmmodels", self.scene.namespace, name)
        self.there.discard(name)
        return f"delete {name}"

    def wrong_edit(self) -> str:
        """An argument that vLLM does not have, taken out again."""
        name = self.dice.choice(_STEADY)
        self.scene.models.edit(name, engineArgs={"no_such_argument": 1})
        self._pass(self.dice.uniform(0, 3))
        self.scene.models.edit(name, engineArgs={"no_such_argument": None})
        return f"wrong edit of {name}, corrected"

    def delete_child(self) -> str:
        """Not the Deployment: that takes the pods along."""
        name = self.dice.choice(_STEADY)
        kind = self.dice.choice(("services", "configmaps", "controllerrevisions"))
        for child in self.scene.models.children(name)[kind][:1]:
            self.scene.api.delete(kind, self.scene.namespace, child["metadata"]["name"])
        return f"delete a child of {name} among {kind}"

    def edit_child(self) -> str:
        """A Deployment scaled by hand."""
        name, replicas = self.dice.choice(_STEADY), self.dice.randrange(1, 5)
        self.scene.api.merge("deployments", self.scene.namespace, name, {"spec": {"replicas": replicas}})
        return f"scale the Deployment of {name} to {replicas} by hand"

    # What fails

    def hang(self) -> str:
        """A pod hangs until that is said, and heals."""
        name = self.dice.choice(_VICTIMS)
        self.tritons[name].behaviour = "hang"
        self.scene.chronicle.true(name, Truth.DOWN)
        self.scene.reported(name, "Ready", "False")
        self.scene.reported(name, "Available", "False")
        self.scene.chronicle.true(name, Truth.OPEN)
        self.tritons[name].behaviour = "serve"
        self.scene.reported(name, "Ready", "True")
        self.scene.chronicle.true(name, Truth.SERVES)
        return f"{name} hung and healed"

    def kill(self) -> str:
        """SIGKILL; it is started again as the kubelet would."""
        self.operator.kill()
        return "kill the operator"

    def throttle(self) -> str:
        """Some requests are answered 429."""
        share, seconds = self.dice.randrange(2, 5), self.dice.uniform(2, 15)
        self._while(share_refused(share, Refusal(429, retry_after="1")), seconds)
        return f"every {share}th request was throttled for {seconds:.0f} s"

    def errors(self) -> str:
        """All but the lease is answered with an error."""
        status, seconds = self.dice.choice((500, 503, 403, 404, 409)), self.dice.uniform(1, 10)
        self._while(lambda asked: None if asked.is_lease else Refusal(status), seconds)
        return f"everything was answered {status} for {seconds:.0f} s"

    def slow(self) -> str:
        """Each answer takes its time."""
        each, seconds = self.dice.uniform(0.5, 4), self.dice.uniform(2, 10)
        self._while(lambda _: Refusal(0, seconds=each), seconds)
        return f"each answer took {each:.1f} s for {seconds:.0f} s"

    def cut(self) -> str:
        """Nothing passes."""
        seconds = self.dice.uniform(1, 10)
        self.wire.cut()
        self._pass(seconds)
        self.wire.mend()
        self.wire.break_connections()
        return f"cut off for {seconds:.0f} s"

    def expire(self) -> str:
        """The watches end, and one or all are refused for a while."""
        status = self.dice.choice((410, 404, 400, 500))
        in_stream = self.dice.random() < 0.5
        plural = self.dice.choice(("", "pods", "services", "deployments", "vllmmodels"))
        seconds = self.dice.uniform(0.5, 5)

        def refuse(asked: Asked) -> Refusal | None:
            hit = asked.is_watch and asked.path.endswith(plural)
            return Refusal(status, in_stream=in_stream, seconds=0.5) if hit else None

        self.wire.fault = refuse
        self.wire.break_watches()
        self._pass(seconds)
        self.wire.fault = None
        how = " in the stream" if in_stream else ""
        return f"watches of {plural or 'everything'} were answered {status}{how} for {seconds:.0f} s"

    def break_connections(self) -> str:
        """All that are open."""
        self.wire.break_connections()
        return "break all connections"

    # What must hold

    def _true_so_far(self) -> None:
        wrong = [str(said) for said in self.scene.chronicle.falsehoods() if said.seconds > _BOUND_SECONDS]
        wrong += self.scene.chronicle.turned_false_while_serving()
        assert not wrong, "; ".join(wrong[:5])
        assert "bug in the operator" not in self.operator.log_text(), "a reconcile raised"

    def _converge(self) -> None:
        self.wire.fault = None
        for name in (*_STEADY, *_VICTIMS, *sorted(self.there)):
            self.scene.models.wait_serving(name, seconds=_BOUND_SECONDS)
        self.scene.quiet(seconds=5, within=60)
        self._true_so_far()

    def _nothing_left(self, memory: float, files: int) -> None:
        """No object of a model that is gone, no memory, no file or socket."""
        expected = sorted((*_STEADY, *_VICTIMS, *self.there))

        def names(plural: str) -> list[str]:
            label = "triton-vllm.dev/model"
            there = self.scene.api.list(plural, self.scene.namespace, labelSelector=label)
            return sorted(obj["metadata"]["labels"][label] for obj in there)

        for plural in ("deployments", "services"):
            wait_for(f"{plural} of what exists", lambda plural=plural: names(plural) == expected, 60)
        for plural in ("configmaps", "controllerrevisions"):
            wait_for(
                f"{plural} of what exists", lambda plural=plural: set(names(plural)) == set(expected), 60
            )
        grown = self._memory() - memory
        print(f"{self.number} steps; memory {grown:+.0f} MiB, open files {self._files() - files:+d}")
        assert grown < _LEAK_MIB, f"{grown:.0f} MiB more than at the start"
        assert self._files() - files < _LEAK_FILES, f"{self._files()} open files, {files} at the start"

    def _memory(self) -> float:
        return self.operator.usage()[1]

    def _files(self) -> int:
        return len(os.listdir(Path(f"/proc/{self.operator.pid}/fd")))

    def _while(self, fault: Callable[[Asked], Refusal | None], seconds: float) -> None:
        self.wire.fault = fault
        self._pass(seconds)
        self.wire.fault = None

    def _pass(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        wait_for("time passes", lambda: time.monotonic() >= until, seconds + 5)


if __name__ == "__main__":
    sys.exit(main())
