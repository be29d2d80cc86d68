"""What is true of a model's children now, read once from what was observed, for the checks to look at.

Total: whatever others have written into these objects, reading them raises nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from vllm_operator.api.conditions import Problem
from vllm_operator.api.spec import VLLMModelSpec
from vllm_operator.api.v1alpha1 import ModelIdentity
from vllm_operator.observed import fields
from vllm_operator.observed.state import Object, ObservedState, ProbeResult
from vllm_operator.status import pods
from vllm_operator.status.evidence import Evidence, ProbeTimes, Probing, Standing, gather

_REVISION_ANNOTATION: Final = "deployment.kubernetes.io/revision"
_TEMPLATE_HASH_LABEL: Final = "pod-template-hash"
REPOSITORY_VOLUME: Final = "repository"
#: The kubelet needs a moment after the grace period of a pod, and the news of it another.
_STUCK_AFTER: Final = timedelta(seconds=30)


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
    def probe(self) -> ProbeTimes: ...  # noqa: D102
    def name(self, model: str) -> str: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class StatusInputs:
    """All that a status is computed from.

    `revision` is the one that children are applied from, or would be if the model were not paused; `stored`
    is the newest one that was there before. `replicas` is what the Deployment is given (None: what the spec
    says). `failure` says why the children cannot be brought to what they should be, once that has lasted for
    a while. `warning` quotes the newest Warning event of a pod that makes no progress.
    """

    identity: ModelIdentity
    problems: tuple[Problem, ...]
    revision: RevisionView | None
    observed: ObservedState
    spec: VLLMModelSpec | None = None
    replicas: int | None = None
    warnings: tuple[str, ...] = ()
    probing: Probing = field(default_factory=Probing)
    stored: RevisionView | None = None
    failure: str = ""
    warning: str = ""
    revisions: Sequence[Mapping[str, str]] = ()
    """The stored revisions that the operator wrote: name and sha256."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One pod that is not being deleted and that the kubelet has not given up."""

    name: str
    uid: str
    node: str
    updated: bool
    """It is of the update revision and of the newest template."""
    ready: bool
    lost_at: datetime | None
    """When it lost the readiness that it had since its container started; None if it did not."""
    running: bool
    standing: Standing
    cause: pods.Cause | None
    probe: ProbeResult | None
    wants_gpu: bool
    """The scheduler finds no GPU for it."""
    finds_no_room: bool
    """The scheduler finds taken what another pod of the model may hold."""

    @property
    def serves(self) -> bool:
        """It answers inferences, and the Service sends it some."""
        return self.ready and self.standing is Standing.SERVING

    @property
    def may_serve(self) -> bool:
        """It is ready, and nothing speaks against it."""
        return self.ready and self.standing is not Standing.FAILING

    @property
    def loads(self) -> bool:
        """Its container runs, and nothing is known to be wrong with it."""
        return self.running and self.cause is None


@dataclass(frozen=True, slots=True)
class EndingPod:
    """A pod that is being deleted: it may still hold a GPU or a claim."""

    name: str
    uid: str
    text: str
    """`Terminating since T on node N`."""
    stuck: bool
    """Its grace period is over, and it is still there."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The inputs with everything that more than one check asks for."""

    inputs: StatusInputs
    now: datetime
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
    ending: tuple[EndingPod, ...] = field(default=())
    next_change: datetime | None = None
    """When these facts will be others without any event to tell."""

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
    def rendered(self) -> bool:
        """The update revision's ConfigMap exists."""
        return any(fields.name(found) == self.update_revision for found in self.inputs.observed.config_maps)

    @property
    def recreates(self) -> bool:
        """The Deployment ends all old pods before it makes new ones."""
        return fields.text(self.inputs.observed.deployment, "spec", "strategy", "type") == "Recreate"

    @property
    def overdue(self) -> bool:
        """The Deployment has made no progress for as long as it may take."""
        progressing = self.said_of_children("Progressing")
        found = (progressing.get("status"), progressing.get("reason"))
        return found == ("False", "ProgressDeadlineExceeded") and not self.rolled_out

    def said_of_children(self, kind: str) -> Mapping[str, Any]:
        """A condition of the Deployment; empty where its controller has not seen its newest spec."""
        deployment = self.inputs.observed.deployment
        seen = fields.number(deployment, "status", "observedGeneration")
        if seen < fields.number(deployment, "metadata", "generation"):
            return {}
        return fields.condition(deployment, kind)

    @property
    def paused(self) -> bool:
        """Children are left alone."""
        return self.inputs.identity.paused


def read(inputs: StatusInputs, now: datetime) -> Facts:
    """Derive the facts."""
    observed, identity = inputs.observed, inputs.identity
    revision_name = inputs.revision.name(identity.name) if inputs.revision else ""
    newest = max(observed.replica_sets, key=_number, default=None)
    template_hash = _label(newest, _TEMPLATE_HASH_LABEL)
    template = fields.mapping(newest, "spec", "template", "spec")
    updating = fields.config_map(template, REPOSITORY_VOLUME) == revision_name != ""
    present = [pod for pod in sorted(observed.pods, key=fields.name) if not pods.is_terminating(pod)]
    evidence = _evidence(inputs, present, now)
    gone: list[PodFacts] = []
    alive: list[PodFacts] = []
    for pod in present:
        updated = updating and _label(pod, _TEMPLATE_HASH_LABEL) == template_hash
        facts = _pod_facts(pod, inputs, evidence, updated=updated)
        (gone if pods.is_over(pod) else alive).append(facts)
    return Facts(
        inputs=inputs,
        now=now,
        wanted=_wanted(inputs),
        update_revision=revision_name,
        pods=tuple(alive),
        applied=observed.deployment is not None,
        updating=updating,
        updated=tuple(pod for pod in alive if pod.updated),
        old=tuple(pod for pod in alive if not pod.updated),
        failed=tuple(pod for pod in gone if pod.updated),
        ending=tuple(
            _ending(pod, now)
            for pod in sorted(observed.pods, key=fields.name)
            if pods.is_terminating(pod) and not pods.is_over(pod)
        ),
        next_change=min(_times(inputs, alive, evidence, now), default=None),
    )


def lost_for_good_at(pod: PodFacts, inputs: StatusInputs) -> datetime | None:
    """When a pod that lost its readiness has been without it for as long as it takes probes to judge."""
    probe = inputs.revision.probe if inputs.revision else None
    seconds = probe.period_seconds * probe.failure_threshold if probe else 0
    return pod.lost_at + timedelta(seconds=seconds) if pod.lost_at else None


def _times(inputs: StatusInputs, alive: list[PodFacts], evidence: Evidence, now: datetime) -> list[datetime]:
    """What is to come of age: evidence, lost readiness, and the ends of pods that should have ended."""
    unjudged = [pod for pod in alive if pod.ready and pod.probe is None]
    times = [evidence.lapses_at(pod.uid) for pod in unjudged]
    times += [at for pod in alive if (at := lost_for_good_at(pod, inputs))]
    times += [at + _STUCK_AFTER for pod in inputs.observed.pods if (at := pods.ends_by(pod))]
    return [at for at in times if at > now]


def _evidence(inputs: StatusInputs, present: list[Object], now: datetime) -> Evidence:
    probe = inputs.revision.probe if inputs.revision else None
    ready = frozenset(_uid(pod) for pod in present if pods.is_ready(pod) and not pods.is_over(pod))
    return gather(inputs.identity.status, inputs.probing, probe, ready=ready, now=now)


def _wanted(inputs: StatusInputs) -> int:
    actual = fields.number(inputs.observed.deployment, "spec", "replicas", default=1)
    asked = inputs.replicas if inputs.replicas is not None else inputs.identity.replicas
    # The replicas of a paused model are left alone like the rest of its children.
    if inputs.observed.deployment is not None and (inputs.identity.paused or asked is None):
        return actual
    return 1 if asked is None else asked


def _number(replica_set: Object) -> int:
    return fields.number(replica_set, "metadata", "annotations", _REVISION_ANNOTATION)


def _label(obj: Object | None, label: str) -> str:
    return fields.text(obj, "metadata", "labels", label)


def _uid(pod: Object) -> str:
    return fields.text(pod, "metadata", "uid")


def _pod_facts(pod: Object, inputs: StatusInputs, evidence: Evidence, *, updated: bool) -> PodFacts:
    uid = _uid(pod)
    probe = inputs.observed.probes.get(uid)
    resource = inputs.revision.gpu_resource if inputs.revision else ""
    ready_since = fields.when(fields.condition(pod, "Ready"), "lastTransitionTime")
    return PodFacts(
        name=fields.name(pod),
        uid=uid,
        node=pods.node(pod),
        updated=updated,
        ready=pods.is_ready(pod),
        lost_at=pods.lost_readiness_at(pod),
        running=pods.is_running(pod),
        standing=evidence.standing(uid, probe, ready_since),
        cause=pods.cause(pod),
        probe=probe,
        wants_gpu=bool(resource) and pods.needs_more(pod, resource),
        finds_no_room=pods.finds_no_room(pod),
    )


def _ending(pod: Object, now: datetime) -> EndingPod:
    since, until = pods.terminating_since(pod), pods.ends_by(pod)
    text = "Terminating" + (f" since {since.strftime('%Y-%m-%dT%H:%M:%SZ')}" if since else "")
    text += f" on node {node}" if (node := pods.node(pod)) else ""
    stuck = until is not None and now >= until + _STUCK_AFTER
    return EndingPod(fields.name(pod), _uid(pod), text, stuck)
