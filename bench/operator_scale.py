"""`make bench-operator`: what many VLLMModels cost, on a real control plane without nodes' work.

Pods get their statuses through the API as a kubelet would give them, and one gRPC server answers all probes.
Times and request counts are taken from the API server's audit log, CPU and memory from /proc. Writes
bench/results/operator.md.
"""

# ruff: noqa: E402
import argparse
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / folder) for folder in ("tests", "hack/localcluster", "operator")]

from localcluster.auditlog import AuditEvent
from localcluster.controlplane import ControlPlane
from operatorkit.api import Api
from operatorkit.kubelet import Kubelet, ready
from operatorkit.models import Models
from operatorkit.plane import connect
from operatorkit.process import OperatorProcess
from operatorkit.release import Release
from operatorkit.waiting import wait_for
from tritonstandin import TritonStandIn

_NAMESPACE = "bench"
_CHILDREN = ("controllerrevisions", "configmaps", "services", "deployments")


_DOMINATES = """\
## What dominates

From a profile (cProfile, 100 models, imports left out), so a finding about the code and not of this run:
kopf's own work on each watch event, a copy of the object and a diff that nothing here reads, takes about half
of the operator's CPU (14 events per model); reconciling takes under 40 %, of which about half is TLS and HTTP
of 13 requests per model, the rest mostly comparing live objects with desired ones (1.5 ms each). The four
GETs before the four creates are the price of telling a foreign object before anything is made. Wall time is
the API server's and etcd's: they use most of the two cores.
""".splitlines()


@dataclass
class Result:
    """What was measured."""

    models: int
    created_seconds: float = 0
    to_children: list[float] = field(default_factory=list)
    to_status: list[float] = field(default_factory=list)
    serving_seconds: float = 0
    requests: Counter[str] = field(default_factory=Counter)
    requests_until_serving: Counter[str] = field(default_factory=Counter)
    cpu_seconds: float = 0
    resident_mib: float = 0
    idle_cpu_per_minute: float = 0
    restart_seconds: float = 0
    restart_cpu_seconds: float = 0
    restart_resident_mib: float = 0
    restart_requests: Counter[str] = field(default_factory=Counter)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "bench/results/operator.md")
    arguments = parser.parse_args()
    with ControlPlane() as plane, TritonStandIn() as triton:
        api = connect(plane)
        with Kubelet(api, ready(triton.address)):
            text = _report(_measure(plane, api, arguments.models))
    print(text)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(text)


def _measure(plane: ControlPlane, api: Api, count: int) -> Result:
    api.create("namespaces", {"metadata": {"name": _NAMESPACE}})
    wait_for("the namespace", lambda: api.get("serviceaccounts", _NAMESPACE, "default"))
    release = Release(plane, api, namespace=_NAMESPACE)
    models, result = Models(api, _NAMESPACE), Result(count)
    probe = {"periodSeconds": 15, "timeoutSeconds": 15, "failureThreshold": 3}
    with OperatorProcess(release.kubeconfig(), release.settings()) as operator:
        operator.wait_until_leading()
        idle_cpu, _ = operator.usage()
        mark = plane.audit.position()
        began = time.monotonic()
        for number in range(count):
            models.create(f"model-{number}", probe=probe)
        result.created_seconds = time.monotonic() - began
        wait_for("every model has the operator's status", lambda: _evaluated(api) == count, 600)
        events = plane.audit.events(user=release.user, since=mark)
        _times(result, plane, events, mark)
        result.requests = _counted(events)
        result.cpu_seconds = operator.usage()[0] - idle_cpu
        wait_for("every model serves", lambda: _serving(api) == count, 900)
        result.serving_seconds = time.monotonic() - began
        result.requests_until_serving = _counted(plane.audit.events(user=release.user, since=mark))
        result.resident_mib = operator.usage()[1]
        before, since = operator.usage()[0], time.monotonic()
        wait_for("half a minute of rest", lambda: time.monotonic() - since >= 30, 60)
        result.idle_cpu_per_minute = (operator.usage()[0] - before) * 2
        assert operator.terminate() == 0
        mark = plane.audit.position()
        began = time.monotonic()
        operator.start()
        operator.wait_until_leading()
        wait_for("every model is reconciled again", lambda: _reconciled(operator) >= count, 300)
        result.restart_seconds = time.monotonic() - began
        result.restart_cpu_seconds, result.restart_resident_mib = operator.usage()
        result.restart_requests = _counted(plane.audit.events(user=release.user, since=mark))
    return result


def _evaluated(api: Api) -> int:
    return sum(model["status"]["observedGeneration"] > 0 for model in api.list("vllmmodels", _NAMESPACE))


def _serving(api: Api) -> int:
    return sum(
        any(c["type"] == "Ready" and c["status"] == "True" for c in model["status"]["conditions"])
        for model in api.list("vllmmodels", _NAMESPACE)
    )


def _reconciled(operator: OperatorProcess) -> float:
    lines = operator.get("/metrics")[1].splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm_operator_reconcile_total"))


def _times(result: Result, plane: ControlPlane, events: list[AuditEvent], mark: int) -> None:
    """From the answer to the user's create to those to the operator's last child and to its first status."""
    created = {
        event.name: event.completed
        for event in plane.audit.events(verbs={"create"}, resource="vllmmodels", since=mark)
    }
    children: dict[str, list[float]] = {name: [] for name in created}
    status: dict[str, float] = {}
    for event in events:
        name = event.name
        if event.verb == "create" and event.resource in ("controllerrevisions", "configmaps"):
            name = name.rpartition("-")[0]
        if name not in created:
            continue
        after = (event.completed - created[name]).total_seconds()
        if event.verb == "create" and event.resource in _CHILDREN:
            children[name].append(after)
        elif event.resource == "vllmmodels" and event.subresource == "status":
            status.setdefault(name, after)
    result.to_children = sorted(max(seconds) for seconds in children.values())
    result.to_status = sorted(status.values())


def _counted(events: list[AuditEvent]) -> Counter[str]:
    parts = ((e.verb, f"{e.resource}/{e.subresource}" if e.subresource else e.resource) for e in events)
    return Counter(f"{verb} {resource}" for verb, resource in parts if resource not in ("leases", ""))


def _report(result: Result) -> str:
    count = result.models

    def spread(values: list[float]) -> str:
        middle, late = statistics.median(values), values[int(len(values) * 0.99)]
        return f"median {middle:.2f} s, 99 % {late:.2f} s, longest {values[-1]:.2f} s"

    def table(requests: Counter[str]) -> list[str]:
        return [f"| {what} | {number} | {number / count:.2f} |" for what, number in requests.most_common()]

    reconciles = result.requests_until_serving["get vllmmodels"]
    reads = ("get", "list", "watch")
    writes = sum(n for what, n in result.restart_requests.items() if what.split()[0] not in reads)
    idle = f"{result.idle_cpu_per_minute:.1f} s per minute"
    each = 1000 * result.cpu_seconds / count
    again = f"{result.restart_cpu_seconds:.1f} CPU s, {result.restart_resident_mib:.0f} MiB, {writes} writes"
    rows = {
        f"creating the {count} objects, one after the other": f"{result.created_seconds:.1f} s",
        "a model's creation until it has all its children": spread(result.to_children),
        "a model's creation until it has the operator's status": spread(result.to_status),
        "first creation until all of them serve (a pod each, probed)": f"{result.serving_seconds:.1f} s",
        "operator CPU until all had their status": f"{result.cpu_seconds:.1f} s, {each:.0f} ms each",
        f"operator memory with {count} serving models": f"{result.resident_mib:.0f} MiB resident",
        "operator CPU at rest, a pod each probed every 15 s": idle,
        "restart until every model was reconciled again": f"{result.restart_seconds:.1f} s, {again}",
        "reconciles until all served": f"{reconciles}, {reconciles / count:.1f} each",
    }
    lines = [
        f"# {count} VLLMModels on the control-plane profile",
        "",
        "Written by `make bench-operator`. Two cores run the API server, etcd, the controllers, the",
        "scheduler, the load generator and the operator, so times are upper bounds. CPU seconds and",
        "requests are the operator's own.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {what} | {value} |" for what, value in rows.items()),
        "",
        "## Requests of the operator until every model had its status",
        "",
        "| request | total | per model |",
        "|---|---|---|",
        *table(result.requests),
        "",
        "## Until every model served",
        "",
        "| request | total | per model |",
        "|---|---|---|",
        *table(result.requests_until_serving),
        "",
        *_DOMINATES,
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
