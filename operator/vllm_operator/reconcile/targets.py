"""Which pods of a model are probed, and how."""

from vllm_operator.desired.revision import Revision
from vllm_operator.observed.state import Object, ObservedState
from vllm_operator.observed.target import ProbeTarget


def probe_targets(observed: ObservedState, revision: Revision | None) -> tuple[ProbeTarget, ...]:
    """The pods that the Service selects: ready by the kubelet, and not on their way out."""
    if revision is None:
        return ()
    probe = revision.probe
    return tuple(
        ProbeTarget(
            pod_uid=pod["metadata"]["uid"],
            pod_name=pod["metadata"]["name"],
            address=pod["status"]["podIP"],
            model_name=revision.served_name,
            kind=probe.kind,
            prompt=probe.prompt,
            max_tokens=probe.max_tokens,
            expect_contains=probe.expect_contains,
            embed_input=probe.input,
            period_seconds=probe.period_seconds,
            timeout_seconds=probe.timeout_seconds,
            failure_threshold=probe.failure_threshold,
        )
        for pod in observed.pods
        if _is_ready(pod)
    )


def _is_ready(pod: Object) -> bool:
    status = pod.get("status") or {}
    ready = any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in status.get("conditions") or ()
    )
    return ready and bool(status.get("podIP")) and not pod["metadata"].get("deletionTimestamp")
