"""What one pod's state says: why it does not run, or what is known of it otherwise. It never raises."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from vllm_operator.api.conditions import Reason
from vllm_operator.observed import fields
from vllm_operator.observed.fields import condition, text
from vllm_operator.observed.state import Object
from vllm_operator.status.remedies import SPEC_CURABLE

CONTAINER: Final = "triton"
_MAX_EXCERPT: Final = 512
#: Crashes after which one of a class that only the spec can cure is taken as final.
_FINAL_CRASHES: Final = 5

_IMAGE_REASONS: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
     "RegistryUnavailable", "SignatureValidationFailed"}
)  # fmt: skip
#: `ImagePullBackOff` alternates with `ErrImagePull`: without this part both say the same.
_BACK_OFF: Final = re.compile(r'^Back-off pulling image "[^"]*"(?:: (?:ErrImagePull|ImagePullBackOff): |$)')
_MISSING_SECRET: Final = re.compile(
    r'secret "[^"]+" not found|couldn\'t find key \S+ in Secret|secrets? .* not found', re.I
)
_MISSING_CLAIM: Final = re.compile(r'persistentvolumeclaim "[^"]+" not found', re.I)
_LOST_CLAIM: Final = re.compile(r'persistentvolumeclaim "[^"]+" bound to non-existent persistentvolume', re.I)
_UNBOUND_CLAIM: Final = re.compile(
    r"unbound (immediate )?PersistentVolumeClaims?|didn't find available persistent volumes", re.I
)
#: The kubelet refuses what the scheduler gave it: a device or resource was not there after all.
_REFUSED_BY_NODE: Final = re.compile(r"OutOf|UnexpectedAdmissionError$|NodeAffinity$|Preempting$")
#: What another pod of the same model may hold, as the scheduler words it.
_NO_ROOM: Final = re.compile(
    r"Insufficient \S+|ReadWriteOncePod|didn't have free ports|cannot allocate all claims", re.I
)
#: The scheduler appends what preempting others would do, which differs from try to try.
_PREEMPTION: Final = re.compile(r"\s*(no new claims to deallocate, )?preemption: .*$", re.S)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a pod does not run. `final`: it will not run until the spec changes.

    `inferred`: the entry point does not know the text, it takes it for vLLM's refusal of the spec.
    """

    reason: Reason
    excerpt: str
    remedy: str = ""
    final: bool = False
    inferred: bool = False


def cause(pod: Object) -> Cause | None:
    """The root cause that keeps `pod` from running, or None where nothing is known to be wrong."""
    if text(pod, "status", "phase") == "Failed":
        return _failed(pod)
    if is_ready(pod):
        return None
    if node_lost(pod):
        return Cause(Reason.NODE_LOST, f"node {node(pod) or '?'} does not report")
    return _waiting(pod) or _crash(pod) or _unscheduled(pod)


def is_ready(pod: Object) -> bool:
    """Whether the kubelet calls the pod ready."""
    return condition(pod, "Ready").get("status") == "True"


def is_terminating(pod: Object) -> bool:
    """Whether the pod is being deleted."""
    return fields.value(pod, "metadata", "deletionTimestamp") is not None


def terminating_since(pod: Object) -> datetime | None:
    """When the pod was asked to end: `deletionTimestamp` is when it should have ended."""
    until = ends_by(pod)
    grace = fields.number(pod, "metadata", "deletionGracePeriodSeconds")
    return until - timedelta(seconds=grace) if until and 0 <= grace < 2**31 else until


def ends_by(pod: Object) -> datetime | None:
    """When a pod that is being deleted should have ended."""
    return fields.when(pod, "metadata", "deletionTimestamp")


def node(pod: Object) -> str:
    """The node that the pod is bound to, empty if there is none yet."""
    return text(pod, "spec", "nodeName")


def is_over(pod: Object) -> bool:
    """Whether the kubelet has given the pod up: it will not run again, and another takes its place."""
    return text(pod, "status", "phase") in ("Failed", "Succeeded")


def node_lost(pod: Object) -> bool:
    """Whether it was the node controller that turned Ready to False, for want of news from the node.

    The kubelet turns Ready only together with ContainersReady, or for a readiness gate, and says which in the
    reason; the node controller turns Ready alone.
    """
    ready = condition(pod, "Ready")
    if ready.get("status") != "False" or condition(pod, "ContainersReady").get("status") != "True":
        return False
    gates = [text(gate, "conditionType") for gate in fields.items(pod, "spec", "readinessGates")]
    gated = any(condition(pod, gate).get("status") != "True" for gate in gates)
    return not gated and ready.get("reason") != "ReadinessGatesNotReady"


def lost_readiness_at(pod: Object) -> datetime | None:
    """When the pod lost its readiness, which it had after its container started; None if it did not."""
    started = fields.when(container(pod), "state", "running", "startedAt")
    since = fields.when(condition(pod, "Ready"), "lastTransitionTime")
    if condition(pod, "Ready").get("status") != "False" or not since or not started:
        return None
    return since if since > started else None


def lost_readiness(pod: Object) -> bool:
    """Whether the pod was ready after its container started, and is no longer."""
    return lost_readiness_at(pod) is not None


def container(pod: Object) -> Mapping[str, Any]:
    """Status of the Triton container, empty before the kubelet has one."""
    statuses = fields.items(pod, "status", "containerStatuses")
    return next((found for found in statuses if found.get("name") == CONTAINER), {})


def is_running(pod: Object) -> bool:
    """Whether the container runs now."""
    return "running" in fields.mapping(container(pod), "state")


def crashes(pod: Object) -> int:
    """How often the container ended by itself."""
    status = container(pod)
    return fields.number(status, "restartCount") + ("terminated" in fields.mapping(status, "state"))


def needs_more(pod: Object, resource: str) -> bool:
    """Whether the scheduler found too little of `resource` for the pod."""
    scheduled = condition(pod, "PodScheduled")
    return scheduled.get("status") == "False" and f"Insufficient {resource}" in text(scheduled, "message")


def finds_no_room(pod: Object) -> bool:
    """Whether the scheduler found taken what another pod of the same model may hold."""
    scheduled = condition(pod, "PodScheduled")
    return scheduled.get("status") == "False" and bool(_NO_ROOM.search(text(scheduled, "message")))


def one_line(said: str, *, limit: int = _MAX_EXCERPT) -> str:
    """Text as part of a message: one line, bounded, and nothing in it that no JSON can carry."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in said).split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def _failed(pod: Object) -> Cause:
    """A pod that the kubelet gave up: evicted, refused, or on a node that went away."""
    said, reason = one_line(text(pod, "status", "message")), text(pod, "status", "reason")
    if reason == "Evicted":
        return Cause(Reason.HOST_OUT_OF_MEMORY if "memory" in said else Reason.DISK_FULL, said)
    if _REFUSED_BY_NODE.match(reason):
        return Cause(Reason.UNSCHEDULABLE, said)
    found = _crash(pod)
    return found or Cause(Reason.CONTAINER_CRASHED, said or reason or "the pod failed")


def _waiting(pod: Object) -> Cause | None:
    """The container cannot be created."""
    for status in _container_statuses(pod):
        reason = text(status, "state", "waiting", "reason")
        said = text(status, "state", "waiting", "message")
        if reason in _IMAGE_REASONS:
            return Cause(Reason.IMAGE_PULL_FAILED, one_line(_BACK_OFF.sub("", said) or said or reason))
        if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
            secret = _MISSING_SECRET.search(said)
            if secret:
                return Cause(Reason.SECRET_NOT_FOUND, one_line(said))
            missing = reason == "CreateContainerConfigError"
            return Cause(
                Reason.CONFIG_REFERENCE_MISSING if missing else Reason.CONTAINER_CRASHED, one_line(said)
            )
    return None


def _container_statuses(pod: Object) -> Iterator[Mapping[str, Any]]:
    yield from fields.items(pod, "status", "initContainerStatuses")
    yield from fields.items(pod, "status", "containerStatuses")


def _crash(pod: Object) -> Cause | None:
    """The container's last end, as long as it has not become ready since."""
    status = container(pod)
    ended = fields.mapping(status, "state", "terminated")
    if not ended and lost_readiness_at(pod) is None:
        ended = fields.mapping(status, "lastState", "terminated")
    if not ended:
        return None
    words = _words(ended)
    reason, excerpt, remedy = _last_words(ended, words)
    final = reason in SPEC_CURABLE and crashes(pod) >= _FINAL_CRASHES
    # Known only by its place in the output: it looks like a refusal of the spec.
    inferred = fields.value(words, "inferred") is True
    return Cause(reason, excerpt, remedy, final, inferred)


def _words(ended: Mapping[str, Any]) -> Any:
    """What the entry point wrote into the termination message, None where that is something else."""
    try:
        return json.loads(text(ended, "message"))
    except (ValueError, RecursionError):
        return None


def _last_words(ended: Mapping[str, Any], words: Any) -> tuple[Reason, str, str]:
    """Reason, excerpt and remedy of a container that ended: killed first, then what the entry point wrote."""
    code, said = fields.number(ended, "exitCode"), text(ended, "message")
    if ended.get("reason") == "OOMKilled":
        return Reason.HOST_OUT_OF_MEMORY, f"OOMKilled, exit code {code}", ""
    if text(words, "reason") in Reason.__members__.values():
        excerpt = text(words, "detail") or _first_line(text(words, "excerpt"))
        return Reason(text(words, "reason")), one_line(excerpt), one_line(text(words, "remedy"))
    if not said and code in (137, 143):
        return Reason.PROBE_KILLED, f"exit code {code}", ""
    last = said.strip().splitlines()[-1] if said.strip() else ""
    return Reason.CONTAINER_CRASHED, one_line(last) or f"exit code {code}", ""


def _first_line(said: str) -> str:
    return said.strip().splitlines()[0] if said.strip() else ""


def _unscheduled(pod: Object) -> Cause | None:
    found = condition(pod, "PodScheduled")
    if found.get("status") != "False" or found.get("reason") == "SchedulingGated":
        return None
    said = one_line(_PREEMPTION.sub("", text(found, "message")))
    if _MISSING_CLAIM.search(said):
        return Cause(Reason.PERSISTENT_VOLUME_CLAIM_NOT_FOUND, said)
    if _UNBOUND_CLAIM.search(said) or _LOST_CLAIM.search(said):
        return Cause(Reason.PERSISTENT_VOLUME_CLAIM_NOT_BOUND, said)
    return Cause(Reason.UNSCHEDULABLE, said)
