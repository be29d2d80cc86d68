"""The measurements, one after the other, on one control plane with one operator."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from faults.chronicle import Chronicle, Truth
from localcluster.controlplane import ControlPlane
from operatorkit.kubelet import Kubelet, ready
from operatorkit.models import Models
from operatorkit.plane import connect
from operatorkit.process import OperatorProcess
from operatorkit.release import Release
from operatorkit.triton import healthy_triton
from operatorkit.waiting import wait_for
from scale import requests
from scale.process import MemorySamples, peak_mib

_NAMESPACE = "bench"
#: The defaults of the resource.
_PROBE = {"periodSeconds": 15, "timeoutSeconds": 15, "failureThreshold": 3}
_CREATORS = 4
#: Rest: two windows in a row that used about the same CPU time. New pods are probed more often at first.
_WINDOW_SECONDS = 60.0
_WINDOWS = 10
_EDITED_MODELS = 1000


@dataclass(frozen=True)
class Times:
    """How long the parts that are about time last, in seconds."""

    churn: float
    slope: float
    edits: float


class Bench:
    """One size. `run` returns plain JSON: what was measured, by the names that `report` knows."""

    def __init__(self, count: int, times: Times) -> None:
        self.count = count
        self.times = times
        self.result: dict[str, Any] = {"models": count, "cores": os.cpu_count()}

    def run(self) -> dict[str, Any]:
        """All of it."""
        self.result["date"] = datetime.now(UTC).date().isoformat()
        self.result["python"] = platform.python_version()
        with ControlPlane() as plane, healthy_triton() as triton:
            self.plane, self.api = plane, connect(plane)
            self.result["kubernetes"] = plane.version
            with Kubelet(self.api, ready(triton)):
                self._in_namespace()
        return self.result

    def _in_namespace(self) -> None:
        self.api.create("namespaces", {"metadata": {"name": _NAMESPACE}})
        wait_for("the namespace", lambda: self.api.get("serviceaccounts", _NAMESPACE, "default"))
        self.release = Release(self.plane, self.api, namespace=_NAMESPACE)
        self.models = Models(self.api, _NAMESPACE)
        with OperatorProcess(self.release.kubeconfig(), self.release.settings()) as operator:
            self.operator = operator
            operator.wait_until_leading()
            self._create()
            self._rest()
            self._latency()
            self._slope()
            self._restart()
            assert operator.terminate() == 0

    def _create(self) -> None:
        """From the first creation to the last model's last child and first status."""
        cpu = self.operator.usage()[0]
        mark, began = self.plane.audit.position(), time.monotonic()
        with ThreadPoolExecutor(_CREATORS) as pool:
            made = pool.map(lambda number: self.models.create(_name(number), probe=_PROBE), range(self.count))
            for number, _ in enumerate(made, 1):
                if number % 500 == 0:
                    self._say(f"{number} created")
        self.result["created_seconds"] = time.monotonic() - began
        self._wait("statuses", lambda models: sum(_evaluated(model) for model in models))
        self.result["cpu_ms_per_model"] = (self.operator.usage()[0] - cpu) * 1000 / self.count
        self.result |= requests.creation(self.plane.audit, self.release.user, mark, self.count)
        self._wait("serving", lambda models: sum(_serving(model) for model in models))
        self.result["serving_seconds"] = time.monotonic() - began
        self.result["peak_start_mib"] = peak_mib(self.operator.pid)

    def _rest(self) -> None:
        """Nothing is asked for: what the operator uses all the same."""
        used: list[float] = []
        for _ in range(_WINDOWS):
            cpu, mark = self.operator.usage()[0], self.plane.audit.position()
            _pass(_WINDOW_SECONDS)
            used.append(self.operator.usage()[0] - cpu)
            self._say(f"at rest: {used[-1]:.1f} CPU s a minute")
            if len(used) > 1 and abs(used[-1] - used[-2]) <= max(0.05 * used[-2], 0.3):
                break
        self.result["rest_cpu_seconds_a_minute"] = used[-1]
        self.result["rest_requests"] = requests.counted(self.plane.audit, self.release.user, mark)
        self.result["rest_resident_mib"] = self.operator.usage()[1]
        self.result["effective_period_seconds"] = self._metric("vllm_operator_probe_effective_period_seconds")

    def _latency(self) -> None:
        """One edit a second; from the API server's answer to it to that to the status that follows it."""
        edited = min(self.count, _EDITED_MODELS)
        mark, number = self.plane.audit.position(), 0
        for number in _each_second(self.times.edits):
            self.models.edit(_name(number % edited), probe={"timeoutSeconds": 16 + number % 40})
        wait_for("the last status", lambda: _evaluated(self.models.get(_name(number % edited))))
        found = requests.latencies(self.plane.audit, self.release.user, mark)
        self.result["edits"] = len(found)
        self.result["latency_p50_ms"] = statistics.median(found) * 1000
        self.result["latency_p99_ms"] = sorted(found)[int(len(found) * 0.99)] * 1000
        self._say(f"{len(found)} edits: p99 {self.result['latency_p99_ms']:.0f} ms")

    def _slope(self) -> None:
        """Edits, deletions and creations: what memory does after the first minutes of them."""
        self._churn(self.times.churn)
        with MemorySamples(self.operator) as samples:
            self._churn(self.times.slope)
        self.result["churned_resident_mib"] = self.operator.usage()[1]
        self.result["slope_mib_an_hour"] = samples.slope_an_hour() if self.times.slope else None

    def _churn(self, seconds: float) -> None:
        for number in _each_second(seconds):
            name = _name(number % self.count)
            if number % 10 == 9:
                self.api.delete("vllmmodels", _NAMESPACE, name)
                wait_for("it is gone", lambda name=name: self.api.get("vllmmodels", _NAMESPACE, name) is None)
                self.models.create(name, probe=_PROBE)
            else:
                self.models.edit(name, probe={"timeoutSeconds": 16 + (7 * number + 3) % 40})
            if number % 60 == 59:
                self._say(f"churn: {self.operator.usage()[1]:.0f} MiB")
        self._wait("serving", lambda models: sum(_serving(model) for model in models))

    def _restart(self) -> None:
        """SIGTERM and a new process: what it asks, writes and says of models that serve all the while."""
        with Chronicle(self.api, _NAMESPACE) as told:
            for number in range(self.count):
                told.true(_name(number), Truth.SERVES)
            mark = self.plane.audit.position()
            assert self.operator.terminate() == 0
            self.operator.start()
            began = time.monotonic()
            self.operator.wait_until_leading()
            wait_for("every model is reconciled", lambda: self._reconciled() >= self.count, 900)
            self.result["restart_seconds"] = time.monotonic() - began
            self.result["restart_requests"] = requests.counted(self.plane.audit, self.release.user, mark)
            self._say(f"restarted in {self.result['restart_seconds']:.1f} s")
            periods = 2 * (self._metric("vllm_operator_probe_effective_period_seconds") or 15)
            _pass(min(max(periods, 60), 600))
            said = [w.says("Available") for n in range(self.count) for w in told.of(_name(n))[1:]]
            self.result["restart_called_false"] = sum(word.startswith("False") for word in said)
            self.result["restart_called_unknown"] = sum(word.startswith("Unknown") for word in said)
            self.result["restart_watched_seconds"] = time.monotonic() - began
        self.result["restart_peak_mib"] = peak_mib(self.operator.pid)
        self.result["restart_resident_mib"] = self.operator.usage()[1]
        writes = requests.counted(self.plane.audit, self.release.user, mark)
        self.result["restart_writes"] = sum(n for what, n in writes.items() if not requests.is_read(what))

    def _wait(self, what: str, count: Callable[[list[dict[str, Any]]], int]) -> None:
        """Until all models are counted, showing how far it is."""
        # A list of thousands of models is work for the API server: not ten of them a second.
        pause = 1 + self.count / 1000
        deadline = time.monotonic() + 120 + self.count
        while (there := count(self.api.list("vllmmodels", _NAMESPACE))) < self.count:
            self._say(f"{what}: {there} of {self.count}")
            assert time.monotonic() < deadline, f"{what}: not all within {120 + self.count} s"
            _pass(pause)

    def _say(self, what: str) -> None:
        print(f"[{self.count} models] {what}", flush=True)

    def _reconciled(self) -> float:
        return self._metric("vllm_operator_reconcile_total", total=True) or 0

    def _metric(self, name: str, *, total: bool = False) -> float | None:
        lines = self.operator.get("/metrics")[1].splitlines()
        values = [float(line.split()[-1]) for line in lines if line.startswith((f"{name}{{", f"{name} "))]
        return (sum(values) if total else max(values)) if values else None


def _name(number: int) -> str:
    return f"model-{number}"


def _evaluated(model: dict[str, Any]) -> bool:
    return bool(model.get("status", {}).get("observedGeneration", 0) == model["metadata"]["generation"])


def _serving(model: dict[str, Any]) -> bool:
    conditions = model.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _pass(seconds: float) -> None:
    """Let time pass: here it is what is measured."""
    time.sleep(seconds)


def _each_second(seconds: float) -> Iterator[int]:
    began = time.monotonic()
    for number in range(round(seconds)):
        yield number
        _pass(max(0.0, began + number + 1 - time.monotonic()))
