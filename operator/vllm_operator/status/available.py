"""Available: what was found serving stays so until something speaks against it."""

from vllm_operator.api.conditions import ConditionType, Reason
from vllm_operator.status.evidence import Standing, was
from vllm_operator.status.facts import Facts
from vllm_operator.status.pods import one_line
from vllm_operator.status.policies import Finding, Status, stale
from vllm_operator.status.remedies import message


def available(facts: Facts, otherwise: Finding) -> Finding:
    """Whether traffic is served; `otherwise` is why it would not be.

    It turns from True to False only by evidence against: a verdict, or that no pod is ready. For want of
    evidence it stays True for as long as pods may take to be judged, then it is Unknown.
    """
    if facts.serving:
        return _without_service(facts) or Finding("True", Reason.SERVING, message(Reason.SERVING))
    if found := _unreachable(facts) or zero(facts):
        return found
    before = was(facts.inputs.identity.status, ConditionType.AVAILABLE)
    unjudged = [pod for pod in facts.pods if pod.ready and pod.standing in (Standing.NEW, Standing.STALE)]
    if before == "True" and any(pod.standing is Standing.NEW for pod in unjudged):
        return Finding("True", Reason.SERVING, "The pods that are ready now are about to be asked.")
    if found := stale([pod for pod in unjudged if pod.probe or before in ("True", "Unknown")]):
        return found
    status: Status = "Unknown" if unjudged and before == "Unknown" else "False"
    return Finding(status, otherwise.reason, otherwise.message)


def _without_service(facts: Facts) -> Finding | None:
    """Pods answer, and nothing brings them requests, nor will it by itself."""
    taken = any(problem.reason is Reason.NAME_CONFLICT for problem in facts.inputs.problems)
    if facts.inputs.observed.service is not None or not (facts.paused or taken):
        return None
    reason = Reason.NAME_CONFLICT if taken else Reason.PAUSED
    return Finding("False", reason, message(reason, excerpt="its Service does not exist"))


def _unreachable(facts: Facts) -> Finding | None:
    """Whether traffic is served cannot be told: pods are ready, and the operator cannot reach them."""
    for pod in facts.pods:
        if pod.ready and pod.standing is Standing.UNREACHABLE and pod.probe is not None:
            excerpt = one_line(pod.probe.message)
            text = message(Reason.PROBE_UNREACHABLE, pod=pod.name, excerpt=excerpt)
            return Finding("Unknown", Reason.PROBE_UNREACHABLE, text)
    return None


def zero(facts: Facts) -> Finding | None:
    """Zero replicas are as asked for, and serve nothing."""
    if facts.wanted == 0:
        return Finding("False", Reason.SCALED_TO_ZERO, message(Reason.SCALED_TO_ZERO))
    return None
