"""What is true of a model's children now, read once from what was observed, for the checks to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, Protocol

from vllm_operator.api.conditions import Problem
from vllm_operator.api.spec import VLLMModelSpec
from vllm_operator.api.v1alpha1 import ModelIdentity
from vllm_operator.observed.state import Object, ObservedState, ProbeResult, ProbeVerdict
from vllm_operator.status import pods

_REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
_TEMPLATE_HASH_LABEL = "pod-template-hash"
_REPOSITORY_VOLUME = "repository"


class _ProbeTimes(Protocol):
    @property
    def period_seconds(self) -> int: ...
    @property
    def timeout_seconds(self) -> int: ...


class RevisionView(Protocol):
    """What the status needs to know of a revision; `desired.revision.Revision` is one."""

    @property
    def image(self) -> str: ...  # noqa: D102
    @property
    def model_text(self) -> str: ...  # noqa: D102
    @property
    def gpus_per_replica(self) -> int: ...  # noqa: D102
    @property
    def gpu_resource(self) -> str: ...  # noqa: D102
    @property
    def probe(self) -> _ProbeTimes: ...  # noqa: D102
    def name(self, model: str) -> str: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class StatusInputs:
    """All that a status is computed from.

    `revision` is the one that children are applied from, or would be if the model were not paused. `replicas`
    is what the Deployment is given (None: what the spec says). `leading_since` is when this operator began to
    probe: for one probe period after it, pods not probed yet keep the standing of the previous status.
    """

    identity: ModelIdentity
    problems: tuple[Problem, ...]
    revision: RevisionView | None
    observed: ObservedState
    spec: VLLMModelSpec | None = None
    replicas: int | None = None
    leading_since: datetime | None = None
    warnings: tuple[str, ...] = ()
    revisions: Sequence[Mapping[str, str]] = ()
    """The stored revisions that the operator wrote: name and sha256."""


class Standing(Enum):
    """What the probes make of a pod that the kubelet calls ready."""

    SERVING = auto()
    FAILING = auto()
    UNREACHABLE = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One pod that is not being deleted and that the kubelet has not given up."""

    name: str
    uid: str
    updated: bool
    """It is of the update revision and of the newest template."""
    ready: bool
    lost: bool
    """It was ready since its container started, and is no longer."""
    running: bool
    standing: Standing
    cause: pods.Cause | None
    probe: ProbeResult | None
    wants_gpu: bool
    """The scheduler finds no GPU for it."""

    @property
    def serves(self) -> bool:
        """It answers inferences, and the Service sends it some."""
        return self.ready and self.standing is Standing.SERVING


@dataclass(frozen=True, slots=True)
class Facts:
    """The inputs with everything that more than one check asks for."""

    inputs: StatusInputs
    wanted: int
    update_revision: str
    """Name of the revision, empty if there is none yet."""
    pods: tuple[PodFacts, ...]
    applied: bool
    """The Deployment exists."""
    updating: bool
    """The newest ReplicaSet is of the update revision."""
    updated: tuple[PodFacts, ...] = field(default=())
    old: tuple[PodFacts, ...] = field(default=())
    failed: tuple[PodFacts, ...] = field(default=())
    """Pods of the update revision that the kubelet gave up, evicted ones for example."""

    @property
    def serving(self) -> tuple[PodFacts, ...]:
        """Pods of any revision that answer inferences."""
        return tuple(pod for pod in self.pods if pod.serves)

    @property
    def rolled_out(self) -> bool:
        """All pods are of the update revision, as many as wanted, and answer inferences."""
        if self.wanted == 0:
            return self.applied and not self.old
        return self.updating and not self.old and sum(pod.serves for pod in self.updated) >= self.wanted

    @property
    def paused(self) -> bool:
        """Children are left alone."""
        return self.inputs.identity.paused


def read(inputs: StatusInputs, now: datetime) -> Facts:
    """Derive the facts."""
    observed, identity = inputs.observed, inputs.identity
    revision_name = inputs.revision.name(identity.name) if inputs.revision else ""
    newest = _newest_replica_set(observed)
    template_hash = _label(newest, _TEMPLATE_HASH_LABEL) if newest else ""
    updating = newest is not None and _config_map(newest["spec"]["template"]) == revision_name != ""
    keeping = _keeps(inputs, now)
    gone: list[PodFacts] = []
    alive: list[PodFacts] = []
    for pod in sorted(observed.pods, key=lambda pod: str(pod["metadata"]["name"])):
        if pods.is_terminating(pod):
            continue
        updated = updating and _label(pod, _TEMPLATE_HASH_LABEL) == template_hash
        facts = _pod_facts(pod, observed, inputs, updated=updated, keeping=keeping)
        (gone if pods.is_over(pod) else alive).append(facts)
    return Facts(
        inputs=inputs,
        wanted=_wanted(inputs),
        update_revision=revision_name,
        pods=tuple(alive),
        applied=observed.deployment is not None,
        updating=updating,
        updated=tuple(pod for pod in alive if pod.updated),
        old=tuple(pod for pod in alive if not pod.updated),
        failed=tuple(pod for pod in gone if pod.updated),
    )


def _wanted(inputs: StatusInputs) -> int:
    deployment = inputs.observed.deployment
    actual = int(deployment["spec"].get("replicas", 1)) if deployment else None
    asked = inputs.replicas if inputs.replicas is not None else inputs.identity.replicas
    # The replicas of a paused model are left alone like the rest of its children.
    if actual is not None and (inputs.identity.paused or asked is None):
        return actual
    return 1 if asked is None else asked


def _newest_replica_set(observed: ObservedState) -> Object | None:
    def number(replica_set: Object) -> int:
        annotations = replica_set["metadata"].get("annotations") or {}
        return int(annotations.get(_REVISION_ANNOTATION, 0))

    return max(observed.replica_sets, key=number, default=None)


def _config_map(template: Object) -> str:
    volumes = template["spec"].get("volumes") or ()
    names = (volume["configMap"]["name"] for volume in volumes if volume["name"] == _REPOSITORY_VOLUME)
    return next(names, "")


def _label(obj: Object, name: str) -> str:
    return str((obj["metadata"].get("labels") or {}).get(name, ""))


def _pod_facts(
    pod: Object, observed: ObservedState, inputs: StatusInputs, *, updated: bool, keeping: bool
) -> PodFacts:
    metadata = pod["metadata"]
    probe = observed.probes.get(metadata["uid"])
    resource = inputs.revision.gpu_resource if inputs.revision else ""
    return PodFacts(
        name=metadata["name"],
        uid=metadata["uid"],
        updated=updated,
        ready=pods.is_ready(pod),
        lost=pods.lost_readiness(pod),
        running="running" in (pods.container(pod).get("state") or {}),
        standing=_standing(pod, probe, inputs, keeping=keeping),
        cause=pods.cause(pod),
        probe=probe,
        wants_gpu=bool(resource) and pods.needs_more(pod, resource),
    )


def _standing(pod: Object, probe: ProbeResult | None, inputs: StatusInputs, *, keeping: bool) -> Standing:
    if probe is not None:
        verdicts = {ProbeVerdict.SERVING: Standing.SERVING, ProbeVerdict.UNREACHABLE: Standing.UNREACHABLE}
        return verdicts.get(probe.verdict, Standing.FAILING)
    if keeping and _was_serving(pod, inputs):
        return Standing.SERVING
    return Standing.UNKNOWN


def _keeps(inputs: StatusInputs, now: datetime) -> bool:
    """Whether this operator is too young to have probed every pod."""
    if inputs.leading_since is None or inputs.revision is None:
        return False
    probe = inputs.revision.probe
    return now < inputs.leading_since + timedelta(seconds=probe.period_seconds + probe.timeout_seconds)


def _was_serving(pod: Object, inputs: StatusInputs) -> bool:
    """Whether the previous status counted the pod, and it was ready before this operator began."""
    previous: Mapping[str, Any] = inputs.identity.status
    available = any(
        found.get("type") == "Available" and found.get("status") == "True"
        for found in previous.get("conditions") or ()
    )
    failing = {found.get("name") for found in previous.get("failingPods") or ()}
    since = pods.condition(pod, "Ready").get("lastTransitionTime")
    if not available or pod["metadata"]["name"] in failing or not since or inputs.leading_since is None:
        return False
    return datetime.fromisoformat(since) <= inputs.leading_since
