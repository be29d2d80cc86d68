"""The ordered checks from which Ready and its parts follow: each finds one thing in the facts, or nothing.

The first finding of a chain wins, so a chain is ordered from the root cause to what merely follows from it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from vllm_operator.api.conditions import Reason
from vllm_operator.observed.state import ProbeVerdict
from vllm_operator.status.facts import Facts, PodFacts, Standing
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


def not_accepted_yet(facts: Facts) -> Finding | None:
    """There is no revision yet."""
    return None if facts.update_revision else Finding("Unknown", Reason.PENDING, message(Reason.PENDING))


# Are the pods up?


def scaled_to_zero(facts: Facts) -> Finding | None:
    """No pods are asked for, which is all there is to it."""
    if facts.wanted == 0 and facts.applied:
        return Finding("True", Reason.SCALED_TO_ZERO, message(Reason.SCALED_TO_ZERO))
    return None


def waiting_for_gpu(facts: Facts) -> Finding | None:
    """A rolling update needs one more GPU than there is."""
    waiting = [pod for pod in facts.updated if pod.wants_gpu]
    if not waiting or not any(pod.serves for pod in facts.old):
        return None
    pod = waiting[0]
    excerpt = pod.cause.excerpt if pod.cause else ""
    text = message(Reason.WAITING_FOR_GPU, pod=pod.name, excerpt=excerpt)
    return Finding("Unknown", Reason.WAITING_FOR_GPU, text)


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
)


def _worst(pods: tuple[PodFacts, ...]) -> tuple[PodFacts, Cause] | None:
    def rank(entry: tuple[PodFacts, Cause]) -> tuple[bool, int, str]:
        pod, cause = entry
        about_node = _ABOUT_THE_NODE.index(cause.reason) + 1 if cause.reason in _ABOUT_THE_NODE else 0
        return (not cause.final, about_node, pod.name)

    return min(((pod, pod.cause) for pod in pods if pod.cause), key=rank, default=None)


#: A refused pod never existed: its generated name is another one in every try.
_POD_NAME: Final = re.compile(r'pods "[^"]*"')


def pods_refused(facts: Facts) -> Finding | None:
    """Quota, Pod Security or a webhook does not let pods be created."""
    deployment = facts.inputs.observed.deployment or {}
    for found in (deployment.get("status") or {}).get("conditions") or ():
        if found.get("type") == "ReplicaFailure" and found.get("status") == "True":
            excerpt = one_line(_POD_NAME.sub("pods", str(found.get("message") or "")))
            return Finding(
                "False", Reason.ADMISSION_REJECTED, message(Reason.ADMISSION_REJECTED, excerpt=excerpt)
            )
    return None


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


_PROBE_REASONS: Final = {
    ProbeVerdict.FAILED: Reason.PROBE_FAILED,
    ProbeVerdict.TIMEOUT: Reason.PROBE_TIMEOUT,
    ProbeVerdict.UNREACHABLE: Reason.PROBE_UNREACHABLE,
    ProbeVerdict.PROTOCOL_ERROR: Reason.PROBE_PROTOCOL_ERROR,
}


def probe_reason(pod: PodFacts) -> tuple[Reason, str] | None:
    """What the probes hold against a pod that has its model loaded."""
    if pod.ready and pod.probe is not None and pod.probe.verdict is not ProbeVerdict.SERVING:
        return _PROBE_REASONS[pod.probe.verdict], one_line(pod.probe.message)
    if pod.lost and pod.cause is None:
        return Reason.PROBE_FAILED, "Triton no longer calls the model ready"
    return None


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


def model_loading(facts: Facts) -> Finding | None:
    """Pods run, and have not answered an inference yet."""
    if sum(pod.serves for pod in facts.updated) < facts.wanted:
        return _under_way(facts, Reason.LOADING_MODEL)
    return None


def old_pods_left(facts: Facts) -> Finding | None:
    """The update revision serves in full, and pods of another one are still there."""
    return Finding("Unknown", Reason.ROLLING_OUT, message(Reason.ROLLING_OUT)) if facts.old else None


def _under_way(facts: Facts, reason: Reason) -> Finding:
    """Nothing is wrong, it is not done: with old pods about, this is a rolling update."""
    reason = Reason.ROLLING_OUT if facts.old else reason
    return Finding("Unknown", reason, message(reason))


def unreachable(facts: Facts) -> Finding | None:
    """Whether traffic is served cannot be told: pods are ready, and the operator cannot reach them."""
    for pod in facts.pods:
        if pod.ready and pod.standing is Standing.UNREACHABLE and pod.probe is not None:
            excerpt = one_line(pod.probe.message)
            text = message(Reason.PROBE_UNREACHABLE, pod=pod.name, excerpt=excerpt)
            return Finding("Unknown", Reason.PROBE_UNREACHABLE, text)
    return None


REPOSITORY: Final[tuple[Check, ...]] = (spec_refused, blocked, not_accepted_yet)
PODS: Final[tuple[Check, ...]] = (
    scaled_to_zero, waiting_for_gpu, pod_cannot_run, pods_refused, paused, pods_to_come
)  # fmt: skip
SERVING: Final[tuple[Check, ...]] = (probe_failing, model_loading, old_pods_left)
