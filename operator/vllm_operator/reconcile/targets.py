"""Which pods of a model are probed, and how."""

from vllm_operator.desired.revision import Revision
from vllm_operator.observed import fields
from vllm_operator.observed.state import Object, ObservedState
from vllm_operator.observed.target import ProbeTarget
from vllm_operator.status import pods


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
    """Also false where it does not say who and where it is: others may have written it."""
    named = fields.name(pod) and fields.text(pod, "metadata", "uid") and fields.text(pod, "status", "podIP")
    return bool(named) and pods.is_ready(pod) and not pods.is_terminating(pod)
