"""The ordered checks from which Ready and its parts follow: each finds one thing in the facts, or nothing.

The first finding of a chain wins, so a chain is ordered from the root cause to what merely follows from it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from vllm_operator.api.conditions import Reason
from vllm_operator.observed import fields
from vllm_operator.status.evidence import Standing
from vllm_operator.status.facts import Facts, PodFacts
from vllm_operator.status.held_against import probe_reason
from vllm_operator.status.pods import Cause, one_line
from vllm_operator.status.remedies import message

Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `stalled`: only a change of the spec can help."""

    status: Status
    reason: Reason
    message: str
    stalled: bool = False


Check = Callable[[Facts], Finding | None]


def first(checks: tuple[Check, ...], facts: Facts) -> Finding | None:
    """The first finding of a chain."""
    return next((found for check in checks if (found := check(facts)) is not None), None)


# Is the spec accepted, and are its children ours?


def spec_refused(facts: Facts) -> Finding | None:
    """The spec of this generation cannot work."""
    problems = [problem for problem in facts.inputs.problems if problem.stalled]
    if not problems:
        return None
    text = one_line("; ".join(problem.message for problem in problems), limit=4096)
    return Finding("False", problems[0].reason, message(problems[0].reason, excerpt=text), stalled=True)


def blocked(facts: Facts) -> Finding | None:
    """Something that is not in the spec keeps it from being acted on."""
    problems = facts.inputs.problems
    if not problems:
        return None
    text = one_line("; ".join(problem.message for problem in problems), limit=4096)
    return Finding("False", problems[0].reason, message(problems[0].reason, excerpt=text))


def deleting(facts: Facts) -> Finding | None:
    """The model goes, and with it its children, in whatever order."""
    identity = facts.inputs.identity
    if not identity.deletion_timestamp or facts.rolled_out:
        return None
    text = message(Reason.DELETING, excerpt=f"since {one_line(str(identity.deletion_timestamp), limit=40)}")
    return Finding("False", Reason.DELETING, text)


def reconcile_failed(facts: Facts) -> Finding | None:
    """The children could not be written for a while: what they should be and what they are may differ."""
    if not facts.inputs.failure:
        return None
    excerpt = one_line(facts.inputs.failure)
    return Finding("Unknown", Reason.RECONCILE_FAILED, message(Reason.RECONCILE_FAILED, excerpt=excerpt))


def not_rendered_yet(facts: Facts) -> Finding | None:
    """There is no revision yet, or not its ConfigMap."""
    if facts.update_revision and facts.rendered:
        return None
    reason = Reason.PAUSED if facts.paused else Reason.PENDING
    return Finding("Unknown", reason, message(reason))


# Are the pods up?


def scaled_to_zero(facts: Facts) -> Finding | None:
    """No pods are asked for, which is all there is to it."""
    if facts.wanted == 0 and facts.applied:
        return Finding("True", Reason.SCALED_TO_ZERO, message(Reason.SCALED_TO_ZERO))
    return None


def waiting_for_gpu(facts: Facts) -> Finding | None:
    """A rolling update needs one more GPU than there is."""
    waiting = [pod for pod in facts.updated if pod.wants_gpu]
    if not waiting or not any(pod.may_serve for pod in facts.old):
        return None
    pod = waiting[0]
    excerpt = pod.cause.excerpt if pod.cause else ""
    text = message(Reason.WAITING_FOR_GPU, pod=pod.name, excerpt=excerpt)
    return Finding("Unknown", Reason.WAITING_FOR_GPU, text)


def waiting_for_old_pods(facts: Facts) -> Finding | None:
    """What the new pod waits for is held by a pod of the same model: named here, the scheduler does not."""
    waiting = next((pod for pod in facts.updated if pod.finds_no_room), None)
    drains = facts.ending and facts.recreates and not facts.updated and facts.wanted
    if waiting is None and not drains:
        return None
    holders = [f"pod {pod.name} is {pod.text}" for pod in facts.ending]
    holders += [f"pod {pod.name} of the old revision is on node {pod.node}" for pod in facts.old if pod.node]
    if not holders:
        return None
    wanted = f"{waiting.cause.excerpt.rstrip('.')}; " if waiting and waiting.cause else ""
    text = message(
        Reason.WAITING_FOR_OLD_PODS,
        pod=waiting.name if waiting else "",
        excerpt=one_line(wanted + "; ".join(holders[:_MAX_NAMED])),
        remedy="" if facts.ending else _MAKE_ROOM,
    )
    return Finding("Unknown", Reason.WAITING_FOR_OLD_PODS, text)


def pod_cannot_run(facts: Facts) -> Finding | None:
    """A pod of the update revision does not run, for a known cause."""
    found = _worst(facts.updated)
    if found is None and not any(pod.serves for pod in facts.updated):
        found = _worst(facts.failed)
    if found is None:
        return None
    pod, cause = found
    text = message(cause.reason, pod=pod.name, excerpt=cause.excerpt, remedy=cause.remedy)
    return Finding("False", cause.reason, text, stalled=cause.final and _is_certain(cause, facts))


def _is_certain(cause: Cause, facts: Facts) -> bool:
    """What the entry point only takes for a refusal of the spec is one if a second pod ends with the same."""
    same = [pod for pod in facts.updated if pod.cause and pod.cause.excerpt == cause.excerpt]
    return not cause.inferred or len(same) > 1


#: Of two pods' causes, the one that says more about the model comes first; these are about where a pod runs.
_ABOUT_THE_NODE: Final = (
    Reason.CONTAINER_CRASHED,
    Reason.SECRET_NOT_FOUND,
    Reason.CONFIG_REFERENCE_MISSING,
    Reason.IMAGE_PULL_FAILED,
    Reason.PERSISTENT_VOLUME_CLAIM_NOT_FOUND,
    Reason.PERSISTENT_VOLUME_CLAIM_NOT_BOUND,
    Reason.UNSCHEDULABLE,
    Reason.NODE_LOST,
)


def _worst(pods: tuple[PodFacts, ...]) -> tuple[PodFacts, Cause] | None:
    def rank(entry: tuple[PodFacts, Cause]) -> tuple[bool, int, str]:
        pod, cause = entry
        about_node = _ABOUT_THE_NODE.index(cause.reason) + 1 if cause.reason in _ABOUT_THE_NODE else 0
        return (not cause.final, about_node, pod.name)

    return min(((pod, pod.cause) for pod in pods if pod.cause), key=rank, default=None)


_MAX_NAMED: Final = 5
_MAKE_ROOM: Final = "free what it needs, or set `spec.rollout.type` to 'Recreate' to end the old pods first"
#: A refused pod never existed: its generated name is another one in every try.
_POD_NAME: Final = re.compile(r'pods "[^"]*"')


def pods_refused(facts: Facts) -> Finding | None:
    """Quota, Pod Security or a webhook does not let pods be created."""
    failure = facts.said_of_children("ReplicaFailure")
    if failure.get("status") != "True":
        return None
    excerpt = one_line(_POD_NAME.sub("pods", fields.text(failure, "message")))
    if "exceeded quota" in excerpt and any(pod.may_serve for pod in facts.old):
        text = message(Reason.WAITING_FOR_QUOTA, excerpt=excerpt)
        return Finding("Unknown", Reason.WAITING_FOR_QUOTA, text)
    if "exceeded quota" in excerpt and facts.ending:
        # A pod counts until it is gone.
        text = message(Reason.WAITING_FOR_OLD_PODS, excerpt=f"{excerpt}; {_ending(facts)}")
        return Finding("Unknown", Reason.WAITING_FOR_OLD_PODS, text)
    return Finding("False", Reason.ADMISSION_REJECTED, message(Reason.ADMISSION_REJECTED, excerpt=excerpt))


def paused(facts: Facts) -> Finding | None:
    """The spec asks for something else than what runs, and is not acted on."""
    if facts.paused and not facts.updating:
        return Finding("Unknown", Reason.PAUSED, message(Reason.PAUSED))
    return None


def pods_to_come(facts: Facts) -> Finding | None:
    """Pods of the update revision are not all created, or their containers do not run yet."""
    running = [pod for pod in facts.updated if pod.running or pod.ready]
    if facts.updating and len(running) >= facts.wanted:
        return None
    # Until its last step a rolling update stays here: old pods make up the number.
    return _under_way(facts, Reason.PENDING)


# Does the model answer?


def probe_failing(facts: Facts) -> Finding | None:
    """A pod that should answer does not."""
    found = [(pod, *held) for pod in facts.updated if (held := probe_reason(pod)) is not None]
    # An address that cannot be reached says nothing about the model: any other finding says more.
    found.sort(key=lambda entry: (entry[1] is Reason.PROBE_UNREACHABLE, entry[0].name))
    if not found:
        return None
    pod, reason, excerpt = found[0]
    status: Status = "Unknown" if reason is Reason.PROBE_UNREACHABLE else "False"
    return Finding(status, reason, message(reason, pod=pod.name, excerpt=excerpt))


def verdict_stale(facts: Facts) -> Finding | None:
    """Pods that may well serve have not been judged for too long."""
    if sum(pod.serves for pod in facts.updated) >= facts.wanted:
        return None
    return stale(facts.updated)


def stale(pods: Sequence[PodFacts]) -> Finding | None:
    """One of these pods is ready, and what is known of it is too old."""
    found = next((pod for pod in pods if pod.ready and pod.standing is Standing.STALE), None)
    if found is None:
        return None
    return Finding("Unknown", Reason.VERDICT_STALE, message(Reason.VERDICT_STALE, pod=found.name))


def model_loading(facts: Facts) -> Finding | None:
    """Pods run, and have not answered an inference yet."""
    if sum(pod.serves for pod in facts.updated) < facts.wanted:
        return _under_way(facts, Reason.LOADING_MODEL)
    return None


def old_pods_left(facts: Facts) -> Finding | None:
    """The update revision serves in full, and pods of another one are still there."""
    return Finding("Unknown", Reason.ROLLING_OUT, message(Reason.ROLLING_OUT)) if facts.old else None


def _ending(facts: Facts) -> str:
    return "; ".join(f"pod {pod.name} is {pod.text}" for pod in facts.ending[:_MAX_NAMED])


def _under_way(facts: Facts, reason: Reason) -> Finding:
    """Nothing is wrong, it is not done: with old pods about, this is a rolling update."""
    ending = _ending(facts)
    if facts.overdue:
        late = next((pod.name for pod in facts.updated if not pod.ready), "")
        excerpt = one_line("; ".join(part for part in (facts.inputs.warning, ending) if part))
        reason = Reason.PROGRESS_DEADLINE_EXCEEDED
        return Finding("False", reason, message(reason, pod=late, excerpt=excerpt))
    reason = Reason.ROLLING_OUT if facts.old else reason
    return Finding("Unknown", reason, message(reason, excerpt=ending))


REPOSITORY: Final[tuple[Check, ...]] = (deleting, spec_refused, blocked, reconcile_failed, not_rendered_yet)
PODS: Final[tuple[Check, ...]] = (
    deleting,
    scaled_to_zero,
    waiting_for_gpu,
    waiting_for_old_pods,
    pod_cannot_run,
    pods_refused,
    paused,
    pods_to_come,
)
SERVING: Final[tuple[Check, ...]] = (probe_failing, verdict_stale, model_loading, old_pods_left)
