"""Readable ways to make models, revisions and what is observed of their children."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from vllm_operator.api.meta import API_VERSION, KIND
from vllm_operator.api.v1alpha1 import ModelIdentity, VLLMModel, parse_model
from vllm_operator.desired.revision import Revision, accept
from vllm_operator.desired.state import DesiredState, build
from vllm_operator.observed.projection import project
from vllm_operator.observed.state import BackendInfo, ObservedState, ProbeResult, ProbeVerdict
from vllm_operator.settings import Settings

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SETTINGS = Settings(
    runtime_image="registry.example.com/triton:1", vllm_versions=("registry.example.com/*=0.32.0",)
)


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class ModelBuilder:
    """A VLLMModel object in the making; every method gives a new builder."""

    name: str = "opt"
    generation: int = 1
    spec: Mapping[str, Any] = field(
        default_factory=lambda: {"source": {"huggingFace": {"repository": "facebook/opt-125m"}}}
    )
    status: Mapping[str, Any] = field(default_factory=dict)

    def named(self, name: str) -> Self:
        return replace(self, name=name)

    def at_generation(self, generation: int) -> Self:
        return replace(self, generation=generation)

    def with_spec(self, **fields: Any) -> Self:
        return replace(self, spec={**self.spec, **fields})

    def with_source(self, **source: Any) -> Self:
        return self.with_spec(source=source)

    def with_gpus(self, count: int, **more: Any) -> Self:
        return self.with_spec(gpus={"count": count, **more})

    def with_replicas(self, replicas: int) -> Self:
        return self.with_spec(replicas=replicas)

    def with_engine_args(self, **arguments: Any) -> Self:
        return self.with_spec(engineArgs={**self.spec.get("engineArgs", {}), **arguments})

    def with_runtime(self, **runtime: Any) -> Self:
        return self.with_spec(runtime={**self.spec.get("runtime", {}), **runtime})

    def with_probe(self, **probe: Any) -> Self:
        return self.with_spec(probe=probe)

    def paused(self) -> Self:
        return self.with_spec(paused=True)

    def with_status(self, status: Mapping[str, Any]) -> Self:
        return replace(self, status=status)

    def object(self) -> dict[str, Any]:
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": self.name,
                "namespace": "default",
                "uid": f"uid-of-{self.name}",
                "generation": self.generation,
            },
            "spec": deepcopy(dict(self.spec)),
            "status": deepcopy(dict(self.status)),
        }

    def identity(self) -> ModelIdentity:
        return ModelIdentity.of(self.object())

    def parsed(self) -> VLLMModel:
        return parse_model(self.object())

    def accepted(self, settings: Settings = SETTINGS, current: Revision | None = None) -> Revision:
        return accept(self.parsed(), settings, current=current)

    def built(self, settings: Settings = SETTINGS) -> DesiredState:
        model = self.parsed()
        return build(model.identity, self.accepted(settings), replicas=model.spec.replicas)


def a_model() -> ModelBuilder:
    return ModelBuilder()


@dataclass(frozen=True)
class PodBuilder:
    """A pod of a ReplicaSet, as the kubelet and the scheduler report it."""

    name: str
    template_hash: str
    phase: str = "Pending"
    conditions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    container: Mapping[str, Any] | None = None
    deleted: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)

    def with_condition(self, kind: str, status: str, **more: Any) -> Self:
        entry = {
            "type": kind,
            "status": status,
            "lastTransitionTime": stamp(NOW - timedelta(hours=1)),
            **more,
        }
        return replace(self, conditions={**self.conditions, kind: entry})

    def with_container(self, **status: Any) -> Self:
        base = {"name": "triton", "ready": False, "started": False, "restartCount": 0}
        return replace(self, container={**base, **(self.container or {}), **status})

    def scheduled(self) -> Self:
        return self.with_condition("PodScheduled", "True")

    def unschedulable(self, message: str) -> Self:
        return self.with_condition("PodScheduled", "False", reason="Unschedulable", message=message)

    def waiting(self, reason: str, message: str = "") -> Self:
        waiting = {"reason": reason, "message": message}
        return self.scheduled().with_container(state={"waiting": waiting})

    def loading(self) -> Self:
        running = {"running": {"startedAt": stamp(NOW - timedelta(minutes=5))}}
        return (
            replace(self.scheduled(), phase="Running")
            .with_container(state=running)
            .with_condition("Ready", "False")
        )

    def ready(self, since: datetime = NOW - timedelta(minutes=2)) -> Self:
        pod = self.loading().with_container(ready=True, started=True)
        return pod.with_condition("Ready", "True", lastTransitionTime=stamp(since))

    def lost(self) -> Self:
        pod = self.loading().with_container(ready=False, started=True)
        return pod.with_condition("Ready", "False", lastTransitionTime=stamp(NOW - timedelta(minutes=1)))

    def crashed(self, restarts: int = 1, **terminated: Any) -> Self:
        """In back-off after an end."""
        ended = {"exitCode": 1, "reason": "Error", **terminated}
        state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting"}}
        pod = replace(self.scheduled(), phase="Running").with_condition("Ready", "False")
        return pod.with_container(restartCount=restarts, state=state, lastState={"terminated": ended})

    def failed(self, reason: str, message: str) -> Self:
        return replace(self.scheduled(), phase="Failed", more={"reason": reason, "message": message})

    def terminating(self) -> Self:
        return replace(self, deleted=True)

    def object(self) -> dict[str, Any]:
        metadata: dict[str, Any] = {
            "name": self.name,
            "namespace": "default",
            "uid": f"uid-of-{self.name}",
            "labels": {"pod-template-hash": self.template_hash},
        }
        if self.deleted:
            metadata["deletionTimestamp"] = stamp(NOW)
            metadata["deletionGracePeriodSeconds"] = 30
        status: dict[str, Any] = {
            "phase": self.phase,
            "conditions": list(self.conditions.values()),
            **self.more,
        }
        if self.container is not None:
            status["containerStatuses"] = [dict(self.container)]
        bound = self.conditions.get("PodScheduled", {}).get("status") == "True"
        spec = {"nodeName": "node-1"} if bound else {}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


@dataclass(frozen=True)
class ClusterBuilder:
    """The children of one model as observed, from none at all to a rolling update."""

    model: ModelBuilder
    deployment: Mapping[str, Any] | None = None
    service: Mapping[str, Any] | None = None
    config_maps: tuple[Mapping[str, Any], ...] = ()
    controller_revisions: tuple[Mapping[str, Any], ...] = ()
    replica_sets: tuple[Mapping[str, Any], ...] = ()
    pods: tuple[PodBuilder, ...] = ()
    probes: Mapping[str, ProbeResult] = field(default_factory=dict)

    def applied(self, revision: Revision, **status: Any) -> Self:
        """The children have this revision, and the controller has made a ReplicaSet of it."""
        model = self.model.parsed()
        children = build(model.identity, revision, replicas=model.spec.replicas)
        deployment = children.deployment
        number = len(self.replica_sets) + 1
        replica_set = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{self.model.name}-{number}",
                "uid": f"rs-{number}",
                "labels": {"pod-template-hash": self.hash(number)},
                "annotations": {"deployment.kubernetes.io/revision": str(number)},
            },
            "spec": {"template": deployment["spec"]["template"]},
        }
        return replace(
            self,
            deployment={**deployment, "status": status},
            service=children.service,
            config_maps=(*self.config_maps, children.config_map),
            controller_revisions=(*self.controller_revisions, revision.to_object(model.identity, number)),
            replica_sets=(*self.replica_sets, replica_set),
        )

    @staticmethod
    def hash(number: int) -> str:
        return f"hash{number}"

    def pod(self, name: str, of: int | None = None) -> PodBuilder:
        """A pod of ReplicaSet number `of`, the newest if not said."""
        return PodBuilder(name, self.hash(of or len(self.replica_sets)))

    def with_pods(self, *pods: PodBuilder) -> Self:
        return replace(self, pods=(*self.pods, *pods))

    def probed(
        self,
        name: str,
        verdict: ProbeVerdict = ProbeVerdict.SERVING,
        message: str = "",
        backend: BackendInfo | None = None,
    ) -> Self:
        uid = f"uid-of-{name}"
        result = ProbeResult(uid, verdict, message, NOW - timedelta(minutes=1), backend or BackendInfo())
        return replace(self, probes={**self.probes, uid: result})

    def observed(self) -> ObservedState:
        """As the store has it: what is read of an object must be in its projection."""
        return ObservedState(
            deployment=self.deployment,
            service=self.service,
            config_maps=self.config_maps,
            controller_revisions=self.controller_revisions,
            replica_sets=tuple(map(project, self.replica_sets)),
            pods=tuple(project(pod.object()) for pod in self.pods),
            probes=self.probes,
        )


def a_cluster(model: ModelBuilder) -> ClusterBuilder:
    return ClusterBuilder(model)
