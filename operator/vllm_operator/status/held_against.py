"""What is held against one pod: by the kubelet, by its probes, or by the time that its end takes."""

from typing import Final

from vllm_operator.api.conditions import Reason
from vllm_operator.observed.state import ProbeVerdict
from vllm_operator.status.facts import EndingPod, PodFacts
from vllm_operator.status.pods import one_line

_PROBE_REASONS: Final = {
    ProbeVerdict.FAILED: Reason.PROBE_FAILED,
    ProbeVerdict.TIMEOUT: Reason.PROBE_TIMEOUT,
    ProbeVerdict.UNREACHABLE: Reason.PROBE_UNREACHABLE,
    ProbeVerdict.PROTOCOL_ERROR: Reason.PROBE_PROTOCOL_ERROR,
    ProbeVerdict.HUNG: Reason.ENGINE_HUNG,
}


def probe_reason(pod: PodFacts) -> tuple[Reason, str] | None:
    """What the probes hold against a pod that has its model loaded."""
    probe = pod.probe
    verdict = probe.verdict if probe is not None and not probe.stale else ProbeVerdict.SERVING
    # A pod that was turned away can still say that its engine hangs.
    if probe and verdict is not ProbeVerdict.SERVING and (pod.ready or verdict is ProbeVerdict.HUNG):
        return _PROBE_REASONS[verdict], one_line(probe.message)
    if pod.lost_at and pod.cause is None:
        return Reason.PROBE_FAILED, "Triton no longer calls the model ready"
    return None


def held_against(pod: PodFacts) -> tuple[Reason, str] | None:
    """What is wrong with a pod."""
    return (pod.cause.reason, pod.cause.excerpt) if pod.cause else probe_reason(pod)


def stuck(pod: EndingPod) -> tuple[Reason, str]:
    """What is wrong with a pod that does not end."""
    return Reason.POD_STUCK_TERMINATING, pod.text
