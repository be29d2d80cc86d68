"""A kubelet's part in the API: a Node for the real scheduler, and pod statuses as tests want them.

No container runs. Everything else (Deployments, ReplicaSets, scheduling, garbage collection, quota, Pod
Security) is the real control plane's doing.
"""

import contextlib
import http.client
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from operatorkit.api import Api, Refused

MODEL_LABEL = "triton-vllm.dev/model"
_POLL_SECONDS = 0.15
_LEASE_SECONDS = 5.0
_TIME = "%Y-%m-%dT%H:%M:%SZ"

#: Makes a pod's status.
Status = Callable[[dict[str, Any]], dict[str, Any]]


def ready(address: str) -> Status:
    """The model is loaded; Triton listens at `address`."""

    def status(pod: dict[str, Any]) -> dict[str, Any]:
        container = {"ready": True, "started": True, "state": {"running": {"startedAt": _now()}}}
        return _status(pod, "Running", container, ready=True) | {
            "podIP": address,
            "podIPs": [{"ip": address}],
        }

    return status


def loading() -> Status:
    """The container runs, Triton's ports are still closed."""

    def status(pod: dict[str, Any]) -> dict[str, Any]:
        container = {"ready": False, "started": False, "state": {"running": {"startedAt": _now()}}}
        return _status(pod, "Running", container)

    return status


def waiting(reason: str, message: str) -> Status:
    """The container cannot start, for example for want of an image."""
    container = {
        "ready": False,
        "started": False,
        "state": {"waiting": {"reason": reason, "message": message}},
    }
    return lambda pod: _status(pod, "Pending", container)


def crashing(message: str, exit_code: int = 1, restarts: int = 2) -> Status:
    """The container ended with a termination message and waits to be started again."""
    ended = {
        "terminated": {
            "exitCode": exit_code,
            "reason": "Error",
            "message": message,
            "startedAt": _now(),
            "finishedAt": _now(),
        }
    }
    container = {
        "ready": False,
        "started": False,
        "restartCount": restarts,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting"}},
        "lastState": ended,
    }
    return lambda pod: _status(pod, "Running", container)


def skewed(status: Status, seconds: float) -> Status:
    """The same, by a node's clock that is wrong by so much."""

    def shift(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {key: shift(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [shift(item) for item in value]
        if key in ("lastTransitionTime", "startedAt", "finishedAt"):
            moved = datetime.strptime(value, _TIME).replace(tzinfo=UTC) + timedelta(seconds=seconds)
            return moved.strftime(_TIME)
        return value

    return lambda pod: shift(status(pod))


class Kubelet:
    """A thread that keeps one Node alive and its pods in the statuses that `behave` asked for."""

    def __init__(
        self, api: Api, default: Status, *, gpus: int = 4, node: str = "node-1", tainted: bool = False
    ) -> None:
        self._api = api
        self._default = default
        self._gpus = gpus
        self._node = node
        self._tainted = tainted
        self._behaviours: dict[tuple[str, str], Status] = {}
        self._done: dict[str, Status] = {}
        self.holding: set[tuple[str, str]] = set()
        """Namespace and name of models whose pods do not end when they are told to."""
        self._pods: dict[str, dict[str, Any]] = {}
        self._lost = threading.Event()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=work, name="kubelet", daemon=True) for work in (self._run, self._beat)
        ]
        # Not joined: its last request ends by itself.
        self._watching = threading.Thread(target=self._watch, name="kubelet-watch", daemon=True)

    def __enter__(self) -> Self:
        self._register()
        self._watching.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def behave(self, namespace: str, model: str, status: Status) -> None:
        """From now on the model's pods, those that exist too, get this status."""
        self._behaviours[namespace, model] = status

    @property
    def scheduling(self) -> dict[str, Any]:
        """A VLLMModel's `scheduling` that brings its pods to this node, and to a tainted one."""
        tolerated = {"key": "node", "operator": "Equal", "value": self._node, "effect": "NoSchedule"}
        return {"nodeSelector": {"kubernetes.io/hostname": self._node}, "tolerations": [tolerated]}

    def lose(self) -> None:
        """The machine is gone: no heart beat, no pod's status."""
        self._lost.set()

    def find(self) -> None:
        """It is back: it says so of itself and of its pods."""
        self._lost.clear()
        self._renew()
        ready_again = {"status": {"conditions": [_condition("Ready", True)]}}
        self._api.merge("nodes", "", self._node, ready_again, "status")
        self._done.clear()

    def _run(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            if self._lost.is_set():
                continue
            for pod in list(self._pods.values()):
                with contextlib.suppress(Refused, OSError):
                    # An API server that a test stops, or a pod that is gone.
                    self._tend(pod)

    def _watch(self) -> None:
        """Know the node's pods: lists of thousands would be the API server's main work."""
        here = {"fieldSelector": f"spec.nodeName={self._node}"}
        while not self._stop.is_set():
            with contextlib.suppress(Refused, OSError, http.client.HTTPException, ValueError):
                pods, version = self._api.snapshot("pods", **here)
                self._pods = {pod["metadata"]["uid"]: pod for pod in pods}
                for event in self._api.watch("pods", "", version, **here):
                    pod = event["object"]
                    if event["type"] in ("ADDED", "MODIFIED"):
                        self._pods[pod["metadata"]["uid"]] = pod
                    elif event["type"] == "DELETED":
                        self._pods.pop(pod["metadata"]["uid"], None)
                    elif event["type"] == "ERROR":
                        break
                    if self._stop.is_set():
                        return
            self._stop.wait(_POLL_SECONDS)

    def _beat(self) -> None:
        """By a thread of its own: a Node that is late is NotReady, and so are its pods."""
        while not self._stop.wait(_LEASE_SECONDS):
            with contextlib.suppress(Refused, OSError):
                if not self._lost.is_set():
                    self._renew()

    def _tend(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
        model = (metadata.get("labels") or {}).get(MODEL_LABEL, "")
        if metadata.get("deletionTimestamp"):
            if (namespace, model) not in self.holding:
                self._api.delete("pods", namespace, name, gracePeriodSeconds=0, preconditions={"uid": uid})
            return
        wanted = self._behaviours.get((namespace, model), self._default)
        if self._done.get(uid) is not wanted:
            self._api.merge("pods", namespace, name, {"status": wanted(pod)}, "status")
            self._done[uid] = wanted

    def _register(self) -> None:
        capacity = {
            "cpu": "20000",
            "memory": "400Ti",
            "ephemeral-storage": "4000Ti",
            "pods": "20000",
            "nvidia.com/gpu": str(self._gpus),
        }
        metadata = {"name": self._node, "labels": {"kubernetes.io/hostname": self._node}}
        taints = [{"key": "node", "value": self._node, "effect": "NoSchedule"}] if self._tainted else []
        node = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"taints": taints}}
        self._api.create("nodes", node)
        status = {"capacity": capacity, "allocatable": capacity, "conditions": [_condition("Ready", True)]}
        self._api.merge("nodes", "", self._node, {"status": status}, "status")
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._node, "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": self._node, "leaseDurationSeconds": 40, "renewTime": _now_micro()},
        }
        self._api.create("leases", lease)

    def _renew(self) -> None:
        self._api.merge("leases", "kube-node-lease", self._node, {"spec": {"renewTime": _now_micro()}})


def _status(
    pod: dict[str, Any], phase: str, container: dict[str, Any], *, ready: bool = False
) -> dict[str, Any]:
    # A kubelet writes what is false when it first sees the pod, before any container starts.
    since = None if ready else pod["metadata"]["creationTimestamp"]
    conditions = [
        _condition("PodScheduled", True),
        _condition("Initialized", True),
        _condition("ContainersReady", ready, since),
        _condition("Ready", ready, since),
    ]
    statuses = [
        {"name": spec["name"], "image": spec["image"], "imageID": "", "restartCount": 0, **container}
        for spec in pod["spec"]["containers"]
    ]
    return {"phase": phase, "conditions": conditions, "containerStatuses": statuses}


def _condition(kind: str, true: bool, since: str | None = None) -> dict[str, str]:
    return {"type": kind, "status": "True" if true else "False", "lastTransitionTime": since or _now()}


def _now() -> str:
    return datetime.now(UTC).strftime(_TIME)


def _now_micro() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
