"""What a scenario works with: a namespace, an operator and all that a test can break, ended when it ends."""

import itertools
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from faults.chronicle import Chronicle, Truth
from faults.scenario import Outcome, Scenario, Stage
from localcluster.controlplane import ControlPlane
from operatorkit.api import Api
from operatorkit.kubelet import Kubelet, ready
from operatorkit.models import Models
from operatorkit.process import REPOSITORY, OperatorProcess
from operatorkit.proxy import Proxy
from operatorkit.release import Release
from operatorkit.waiting import wait_for
from tritonstandin import TritonStandIn

#: The lease as the chart ships it: for scenarios about who leads.
SHIPPED_LEASE = {"LEASE_DURATION_SECONDS": "15", "LEASE_RENEW_DEADLINE_SECONDS": "10"}
#: It runs, it was told to end, it was killed.
_ASKED_FOR = (None, 0, -9)
#: Two failed probes, five seconds each.
PROBE = {"periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 2}


@dataclass(frozen=True)
class Hall:
    """What all scenarios share: the control plane, one healthy node, one healthy Triton."""

    plane: ControlPlane
    api: Api
    kubelet: Kubelet
    triton: str
    """The healthy Triton's address."""


class Scene:
    """One scenario's world. `serve`, `true` and `reported` are its words; the rest is there to be broken."""

    def __init__(self, hall: Hall, scenario: Scenario) -> None:
        self.hall, self.plane, self.api, self.kubelet = hall, hall.plane, hall.api, hall.kubelet
        self.scenario = scenario
        self.healthy = ready(hall.triton)
        self._stack = ExitStack()
        self._numbers = itertools.count(1)
        self._operators: list[OperatorProcess] = []
        self._ended: set[int] = set()
        self._stages: list[Stage] = []

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self._stack.close)
            self.directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            self.namespace = self.new_namespace()
            self.models = Models(self.api, self.namespace)
            self.chronicle = self._stack.enter_context(Chronicle(self.api, self.namespace))
            self.release = self.release_for(self.namespace)
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # What there is

    def new_namespace(self) -> str:
        """A namespace that enforces restricted Pod Security and is deleted in the end."""
        word = self.scenario.run.__name__.replace("_", "-")[:30].strip("-")
        name = f"{word}-{secrets.token_hex(3)}"
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.api.create("namespaces", {"metadata": {"name": name, "labels": labels}})
        self._stack.callback(self.api.delete, "namespaces", "", name)
        wait_for("its ServiceAccount", lambda: self.api.get("serviceaccounts", name, "default"))
        return name

    def release_for(self, *namespaces: str) -> Release:
        """The chart's rights in the first of some namespaces, to watch them all."""
        return Release(self.plane, self.api, namespace=namespaces[0], watch=namespaces)

    def operator(
        self,
        *,
        wire: Proxy | None = None,
        release: Release | None = None,
        lead: bool = True,
        source: Path = REPOSITORY / "operator",
        **settings: str,
    ) -> OperatorProcess:
        """Another operator process; with a wire, through it; with a source, another version."""
        release = release or self.release
        kubeconfig = wire.kubeconfig if wire else release.kubeconfig()
        process = OperatorProcess(kubeconfig, release.settings(**settings), source)
        self._stack.enter_context(process)
        self._operators.append(process)
        if lead:
            process.wait_until_leading()
        return process

    def wire(self, release: Release | None = None) -> Proxy:
        """A way to the API server that can be broken."""
        (directory := self.directory / f"wire-{next(self._numbers)}").mkdir()
        return self._stack.enter_context(Proxy((release or self.release).kubeconfig(), directory))

    def triton(self, behaviour: str = "serve") -> TritonStandIn:
        """A Triton of the scenario's own."""
        return self._stack.enter_context(TritonStandIn(behaviour))

    def node(self, *, gpus: int = 4) -> Kubelet:
        """A node of the scenario's own: its `scheduling` is the only way to it."""
        name = f"node-{secrets.token_hex(3)}"
        self._stack.callback(self.api.delete, "nodes", "", name)
        return self._stack.enter_context(Kubelet(self.api, self.healthy, gpus=gpus, node=name, tainted=True))

    def restarted_when_it_ends(self, operator: OperatorProcess) -> None:
        """As the kubelet does: its end is a part of the scenario, its way back is a new start."""
        self.may_end(operator)
        over = threading.Event()
        watchdog = threading.Thread(target=_restart, args=(operator, over), daemon=True)
        watchdog.start()
        self._stack.callback(watchdog.join)
        self._stack.callback(over.set)

    def may_end(self, operator: OperatorProcess) -> None:
        """This operator's end is a part of the scenario."""
        self._ended.add(id(operator))

    # What is true and what is said

    def serve(self, *names: str, **spec: Any) -> None:
        """Models that serve, and are known to."""
        for name in names:
            self.models.create(name, **{"probe": PROBE, **spec})
        for name in names:
            self.models.wait_serving(name, seconds=120)
            self.chronicle.true(name, Truth.SERVES)

    def serves(self, *names: str) -> None:
        """From now on they serve, whatever else is done."""
        for name in names:
            self.chronicle.true(name, Truth.SERVES)
        self._begin("serves")

    def down(self, *names: str, because: str) -> None:
        """From now on none of their pods serves."""
        for name in names:
            self.chronicle.true(name, Truth.DOWN)
        self._begin(because)

    def open(self, *names: str, because: str) -> None:
        """From now on it is changing, or nobody can tell."""
        for name in names:
            self.chronicle.true(name, Truth.OPEN)
        self._begin(because)

    def reported(
        self,
        name: str,
        kind: str,
        status: str,
        *reasons: str,
        within: float | None = None,
        says: str = "",
        models: Models | None = None,
    ) -> Mapping[str, str]:
        """Wait until the status says so: one of the reasons if any is given, with `says` in its message."""
        models = models or self.models
        limit = self.scenario.bound if within is None else within

        def look() -> Mapping[str, str] | None:
            found = models.condition(name, kind)
            fits = found.get("status") == status and (not reasons or found.get("reason") in reasons)
            return found if fits and says in found.get("message", "") else None

        def note() -> str:
            return str(models.get(name).get("status", {}).get("conditions"))

        wanted = f"{kind} of {name} is {status}/{' or '.join(reasons) or '*'} {says}".strip()
        found = wait_for(wanted, look, limit, note=note)
        truths = self.chronicle.truths.get(name, [(0.0, Truth.SERVES)])
        since, truth = truths[-1]
        # What was true all the while is not told late.
        delay = None if truth is Truth.SERVES else time.monotonic() - since
        self._told(f"{kind}={status}/{found['reason']}", delay)
        return found

    def within(self, what: str, look: Callable[[], Any], seconds: float | None = None) -> None:
        """Wait for something else than a condition; it is what the table shows as reported."""
        began = time.monotonic()
        wait_for(what, look, self.scenario.bound if seconds is None else seconds)
        self._told(what, time.monotonic() - began)

    def _begin(self, truth: str) -> None:
        if not self._stages or self._stages[-1].truth != truth:
            self._stages.append(Stage(truth))

    def _told(self, reported: str, delay: float | None) -> None:
        """The last thing that is waited for in a stage is what it was about."""
        truth = self._stages.pop().truth if self._stages else ""
        self._stages.append(Stage(truth, reported, delay))

    def writes(self, since: int) -> list[str]:
        """What the release's operators wrote since a mark of the audit log, the Lease left out."""
        events = self.plane.audit.writes(user=self.release.user, since=since)
        return [event.what for event in events if event.resource != "leases"]

    def quiet(self, seconds: float = 3, within: float = 20) -> None:
        """Wait until the operators write nothing for some seconds."""
        mark, since = self.plane.audit.position(), time.monotonic()

        def still() -> bool:
            nonlocal mark, since
            if self.writes(mark):
                mark, since = self.plane.audit.position(), time.monotonic()
            return time.monotonic() - since >= seconds

        wait_for(f"no write for {seconds:g} s", still, within)

    def outcome(self, problem: str = "") -> Outcome:
        """What the table shows; a scenario that ran through is judged by what was ever said, too."""
        problem = problem or "; ".join(self._wrong())
        stages = [stage for stage in self._stages if stage.reported] or self._stages[-1:]
        return Outcome(self.scenario, tuple(stages), problem)

    def _wrong(self) -> list[str]:
        bound = self.scenario.bound
        wrong = [str(said) for said in self.chronicle.falsehoods() if said.seconds > bound]
        wrong += self.chronicle.turned_false_while_serving()
        for operator in self._operators:
            if id(operator) not in self._ended and operator.returncode() not in _ASKED_FOR:
                wrong.append(f"an operator ended with {operator.returncode()}")
            bugs = [line for line in operator.log() if "bug in the operator" in str(line.get("event"))]
            if bugs:
                wrong.append(f"a reconcile raised: {str(bugs[0].get('exception'))[-300:]!r}")
        return wrong[:4]

    def log_text(self) -> str:
        """The last lines of each operator, and every status, for a failure."""
        logs = [f"--- operator {i}\n{o.log_text()[-4000:]}" for i, o in enumerate(self._operators)]
        return "\n".join([*logs, "--- statuses", *self.chronicle.lines()])


def _restart(operator: OperatorProcess, over: threading.Event) -> None:
    while not over.wait(1):
        if operator.returncode() is not None:
            operator.start()
