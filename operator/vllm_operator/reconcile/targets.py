"""Which pods of a model are probed, and how."""

from collections.abc import Mapping

from vllm_operator.desired.revision import Revision
from vllm_operator.observed import fields
from vllm_operator.observed.state import Object, ObservedState
from vllm_operator.observed.target import ProbeTarget
from vllm_operator.status import pods
from vllm_operator.status.facts import REPOSITORY_VOLUME


def probe_targets(
    observed: ObservedState, revision: Revision | None, stored: Mapping[str, Revision]
) -> tuple[ProbeTarget, ...]:
    """The pods that the Service selects, and those that it selected until they were turned away.

    The first are ready by the kubelet and not on their way out. The others lost that while their container
    ran: they are only asked how they are, since a pod whose engine hangs can still say so.

    `stored`, by name, are the revisions that are there: a pod is asked what its own revision asks, as another
    one's question may have an answer that only a new model gives. `revision` is for pods of none of them.
    """
    if revision is None:
        return ()
    return tuple(
        _target(pod, stored.get(fields.config_map(pod.get("spec"), REPOSITORY_VOLUME), revision))
        for pod in observed.pods
        if _has_address(pod) and (pods.is_ready(pod) or pods.lost_readiness(pod))
    )


def _target(pod: Object, revision: Revision) -> ProbeTarget:
    probe = revision.probe
    return ProbeTarget(
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
        ask_only=not pods.is_ready(pod),
    )


def _has_address(pod: Object) -> bool:
    """Also false where it does not say who and where it is: others may have written it."""
    named = fields.name(pod) and fields.text(pod, "metadata", "uid") and fields.text(pod, "status", "podIP")
    return bool(named) and not pods.is_terminating(pod) and not pods.is_over(pod)
