"""SIGKILL before and after each write, during create and roll: always the same end, nothing made twice."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from integration.conftest import StartOperator
from localcluster.controlplane import ControlPlane
from operatorkit.models import Models
from operatorkit.process import OperatorProcess
from operatorkit.proxy import Drop, Proxy, Write
from operatorkit.release import Release
from operatorkit.waiting import wait_for

Stage = Literal["before", "after"]

_VOLATILE = {"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "annotations"}
_VOLATILE |= {"name"}


@pytest.fixture(scope="module")
def wire(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Between the module's operator and the API server."""
    with Proxy(release.kubeconfig(), Path(tmp_path_factory.mktemp("wire"))) as running:
        yield running


@pytest.fixture(scope="module")
def wired(start_operator: StartOperator, wire: Proxy) -> OperatorProcess:
    """Its name stays over restarts, as a container's restart keeps the pod: it has its lease back at once."""
    return start_operator(kubeconfig=wire.kubeconfig)


class _Killer:
    """Kills the operator at the n-th write about one model, before it is sent or before it is answered."""

    def __init__(self, operator: OperatorProcess, model: str, number: int, stage: Stage) -> None:
        self._operator = operator
        self._model = model
        self._left = number
        self._stage = stage
        self._lock = threading.Lock()
        self.killed_at = ""

    def __call__(self, stage: Stage, write: Write) -> None:
        if write.is_lease or stage != self._stage or not _concerns(write, self._model):
            return
        with self._lock:
            if self.killed_at:
                raise Drop
            self._left -= 1
            if self._left == 0:
                self.killed_at = f"{stage} {write.method} {write.path}"
                os.kill(self._operator.pid, signal.SIGKILL)
                raise Drop

    def rest(self) -> None:
        """Kill no more: the answer to a write that the status shows may still be on its way."""
        with self._lock:
            self._left = -1


def _concerns(write: Write, model: str) -> bool:
    metadata = write.body.get("metadata", {}) if isinstance(write.body, dict) else {}
    last = write.path.removesuffix("/status").rpartition("/")[2]
    return _belongs(str(metadata.get("name")), model) or _belongs(last, model)


def _belongs(name: str, model: str) -> bool:
    return name == model or name.startswith((f"{model}-", f"{model}."))


def _end_state(models: Models, name: str) -> Any:
    """Children and status without what differs between two models of one spec: names, times, versions."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items() if key not in ("clusterIP", "clusterIPs")}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return value.replace(name, "MODEL") if isinstance(value, str) else value

    state: dict[str, Any] = {}
    for kind, objects in models.children(name).items():
        # The hash in some names is of content that holds the model's own name.
        hashes = {obj["metadata"]["name"].removeprefix(f"{name}-") for obj in objects}
        state[kind] = len(objects), len(hashes)
        if kind in ("services", "deployments"):
            (obj,) = objects
            metadata = {key: value for key, value in obj["metadata"].items() if key not in _VOLATILE}
            metadata["ownerReferences"] = len(metadata["ownerReferences"])
            spec = {key: value for key, value in plain(obj["spec"]).items() if key != "template"}
            state[f"{kind} content"] = plain(metadata), spec
    status = models.get(name)["status"]
    state["conditions"] = [(c["type"], c["status"], c["reason"]) for c in status["conditions"]]
    state["summary"] = status["replicaSummary"]
    state["revisions"] = status["currentRevision"] == status["updateRevision"]
    return state


def _converged(models: Models, name: str, expected: Any) -> None:
    models.wait_serving(name, seconds=60)

    def same() -> bool:
        return bool(_end_state(models, name) == expected)

    wait_for("the same end", same, note=lambda: f"{_end_state(models, name)} instead of {expected}")


def _made_twice(plane: ControlPlane, release: Release, model: str, since: int) -> list[str]:
    """Objects of a model that were created with success more than once."""
    events = plane.audit.events(user=release.user, verbs={"create"}, since=since)
    made = Counter(event.what for event in events if event.code == 201 and _belongs(event.name, model))
    return [what for what, count in made.items() if count > 1]


def _writes(plane: ControlPlane, release: Release, model: str, since: int) -> list[str]:
    """The writes of an undisturbed run, from the audit log."""
    events = plane.audit.writes(user=release.user, since=since)
    return [event.what for event in events if event.resource != "leases" and _belongs(event.name, model)]


@pytest.mark.parametrize("during", ["create", "roll"])
def test_killed_at_each_write_it_converges_to_the_same_end_and_makes_nothing_twice(
    control_plane: ControlPlane,
    release: Release,
    models: Models,
    wire: Proxy,
    wired: OperatorProcess,
    during: str,
) -> None:
    def begin(name: str) -> None:
        models.create(name, engineArgs={"max_model_len": 128})
        if during == "roll":
            models.wait_serving(name)

    def act(name: str) -> None:
        if during == "roll":
            models.edit(name, engineArgs={"max_model_len": 256})

    def run(name: str) -> None:
        if during == "create":
            begin(name)
        else:
            act(name)

    # An undisturbed run: which writes there are, and what the end is.
    calm = f"{during}-calm"
    if during == "roll":
        begin(calm)
    mark = control_plane.audit.position()
    run(calm)
    models.wait_serving(calm, seconds=60)
    expected = wait_for("it has settled", lambda: _end_state(models, calm))
    writes = _writes(control_plane, release, calm, mark)
    print(f"{during}: {len(writes)} writes", *writes, sep="\n  ")
    assert len(writes) >= 5

    kills = 0
    for stage in ("before", "after"):
        for number in range(1, len(writes) + 1):
            name = f"{during}-{stage}-{number}"
            mark = control_plane.audit.position()
            if during == "roll":
                begin(name)
            killer = _Killer(wired, name, number, stage)
            wire.hook = killer
            run(name)

            def ended(name: str = name) -> bool:
                done = models.condition(name).get("reason") == "Serving"
                return wired.returncode() is not None or done

            wait_for(f"{name}: killed at write {number}, or done with fewer", ended, 60)
            killer.rest()
            wire.hook = None
            if killer.killed_at:
                wait_for("the operator's end", lambda: wired.returncode() is not None)
                kills += 1
                wired.start()
            assert wired.returncode() is None, "the operator ended by itself"
            _converged(models, name, expected)
            assert _made_twice(control_plane, release, name, mark) == [], killer.killed_at
    print(f"{during}: {kills} kills")
    assert kills >= 2 * (len(writes) - 3), "status writes may fold, the others may not"
