"""What one pod's state says: why it does not run, or what is known of it otherwise."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from vllm_operator.api.conditions import Reason
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
    status: Mapping[str, Any] = pod.get("status") or {}
    if status.get("phase") == "Failed":
        return _failed(pod, status)
    if is_ready(pod):
        return None
    return _waiting(pod) or _crash(pod) or _unscheduled(status)


def condition(pod: Object, kind: str) -> Mapping[str, Any]:
    """One condition of the pod, empty if it has none of that kind."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return next((found for found in conditions if found.get("type") == kind), {})


def is_ready(pod: Object) -> bool:
    """Whether the kubelet calls the pod ready."""
    return condition(pod, "Ready").get("status") == "True"


def is_terminating(pod: Object) -> bool:
    """Whether the pod is being deleted."""
    return pod["metadata"].get("deletionTimestamp") is not None


def is_over(pod: Object) -> bool:
    """Whether the kubelet has given the pod up: it will not run again, and another takes its place."""
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def lost_readiness(pod: Object) -> bool:
    """Whether the pod was ready after its container started, and is no longer."""
    ready, running = condition(pod, "Ready"), (container(pod).get("state") or {}).get("running") or {}
    since, started = ready.get("lastTransitionTime"), running.get("startedAt")
    if ready.get("status") != "False" or not since or not started:
        return False
    return datetime.fromisoformat(since) > datetime.fromisoformat(started)


def container(pod: Object) -> Mapping[str, Any]:
    """Status of the Triton container, empty before the kubelet has one."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((found for found in statuses if found.get("name") == CONTAINER), {})


def crashes(pod: Object) -> int:
    """How often the container ended by itself."""
    status = container(pod)
    return int(status.get("restartCount") or 0) + ("terminated" in (status.get("state") or {}))


def needs_more(pod: Object, resource: str) -> bool:
    """Whether the scheduler found too little of `resource` for the pod."""
    scheduled = condition(pod, "PodScheduled")
    return scheduled.get("status") == "False" and f"Insufficient {resource}" in (
        scheduled.get("message") or ""
    )


def one_line(text: str, *, limit: int = _MAX_EXCERPT) -> str:
    """Text as part of a message: one line, bounded."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def _failed(pod: Object, status: Mapping[str, Any]) -> Cause:
    """A pod that the kubelet gave up: evicted, refused, or on a node that went away."""
    text = one_line(str(status.get("message") or ""))
    if status.get("reason") == "Evicted":
        return Cause(Reason.HOST_OUT_OF_MEMORY if "memory" in text else Reason.DISK_FULL, text)
    if _REFUSED_BY_NODE.match(str(status.get("reason") or "")):
        return Cause(Reason.UNSCHEDULABLE, text)
    found = _crash(pod)
    return found or Cause(Reason.CONTAINER_CRASHED, text or str(status.get("reason") or "the pod failed"))


def _waiting(pod: Object) -> Cause | None:
    """The container cannot be created."""
    for status in _container_statuses(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason, text = waiting.get("reason"), str(waiting.get("message") or "")
        if reason in _IMAGE_REASONS:
            return Cause(Reason.IMAGE_PULL_FAILED, one_line(_BACK_OFF.sub("", text) or text or reason))
        if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
            secret = _MISSING_SECRET.search(text)
            if secret:
                return Cause(Reason.SECRET_NOT_FOUND, one_line(text))
            missing = reason == "CreateContainerConfigError"
            return Cause(
                Reason.CONFIG_REFERENCE_MISSING if missing else Reason.CONTAINER_CRASHED, one_line(text)
            )
    return None


def _container_statuses(pod: Object) -> Iterator[Mapping[str, Any]]:
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _crash(pod: Object) -> Cause | None:
    """The container's last end, as long as it has not become ready since."""
    status = container(pod)
    ended = (status.get("state") or {}).get("terminated")
    if not ended and not lost_readiness(pod):
        ended = (status.get("lastState") or {}).get("terminated")
    if not ended:
        return None
    reason, excerpt, remedy = _last_words(ended)
    final = reason in SPEC_CURABLE and crashes(pod) >= _FINAL_CRASHES
    return Cause(reason, excerpt, remedy, final, _is_inferred(ended))


def _last_words(ended: Mapping[str, Any]) -> tuple[Reason, str, str]:
    """Reason, excerpt and remedy of a container that ended: killed first, then what the entry point wrote."""
    code, text = ended.get("exitCode"), str(ended.get("message") or "")
    if ended.get("reason") == "OOMKilled":
        return Reason.HOST_OUT_OF_MEMORY, f"OOMKilled, exit code {code}", ""
    try:
        words = json.loads(text)
    except ValueError:
        words = None
    if isinstance(words, dict) and words.get("reason") in Reason.__members__.values():
        excerpt = str(words.get("detail") or "") or _first_line(str(words.get("excerpt") or ""))
        return Reason(words["reason"]), one_line(excerpt), one_line(str(words.get("remedy") or ""))
    if not text and code in (137, 143):
        return Reason.PROBE_KILLED, f"exit code {code}", ""
    last = text.strip().splitlines()[-1] if text.strip() else ""
    return Reason.CONTAINER_CRASHED, one_line(last) or f"exit code {code}", ""


def _is_inferred(ended: Mapping[str, Any]) -> bool:
    """Whether the entry point knows the text only by its place: it looks like a refusal of the spec."""
    try:
        words = json.loads(str(ended.get("message") or ""))
    except (ValueError, RecursionError):
        return False
    return isinstance(words, dict) and words.get("inferred") is True


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""


def _unscheduled(status: Mapping[str, Any]) -> Cause | None:
    for found in status.get("conditions") or ():
        if found.get("type") == "PodScheduled" and found.get("status") == "False":
            text = one_line(_PREEMPTION.sub("", str(found.get("message") or "")))
            if found.get("reason") == "SchedulingGated":
                return None
            if _MISSING_CLAIM.search(text):
                return Cause(Reason.PERSISTENT_VOLUME_CLAIM_NOT_FOUND, text)
            if _UNBOUND_CLAIM.search(text) or _LOST_CLAIM.search(text):
                return Cause(Reason.PERSISTENT_VOLUME_CLAIM_NOT_BOUND, text)
            return Cause(Reason.UNSCHEDULABLE, text)
    return None
