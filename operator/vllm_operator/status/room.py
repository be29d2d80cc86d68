"""When nothing serves, old pods need not stay until new ones do: a correction may have their GPU at once."""

from typing import Final

from vllm_operator.api.conditions import Reason
from vllm_operator.observed import fields
from vllm_operator.observed.state import ProbeVerdict
from vllm_operator.status.facts import Facts, PodFacts, lost_for_good_at

#: Not `Recreate`: that would wait for a pod that never ends.
STRATEGY: Final = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "100%"}}


def is_needed(facts: Facts) -> bool:
    """Whether the Deployment may end all of its old pods now.

    Only while no pod of any revision serves or may serve. It begins when there are old pods and none loads
    the wanted revision, and goes on until a new pod is ready: crashes do not turn it on and off.
    """
    if facts.rolled_out or any(_may_serve(pod, facts) for pod in facts.pods):
        return False
    if _ready_by_count(facts) > sum(pod.ready for pod in facts.pods):
        return False  # pods that this operator has not seen yet
    return _has_begun(facts) or (bool(facts.old) and not any(pod.loads for pod in facts.updated))


def _may_serve(pod: PodFacts, facts: Facts) -> bool:
    """Want of evidence is none: only who fails probes or is not ready does not serve."""
    if pod.probe is not None and not pod.probe.stale and pod.probe.verdict is ProbeVerdict.HUNG:
        return False
    if pod.ready:
        return pod.may_serve
    if pod.cause is not None:
        return pod.cause.reason is Reason.NODE_LOST
    # Turned away a moment ago, as an overloaded pod is: it may be back before another could have loaded.
    lost_for_good = lost_for_good_at(pod, facts.inputs)
    return lost_for_good is not None and facts.now < lost_for_good


def _ready_by_count(facts: Facts) -> int:
    """Pods that the ReplicaSet controller calls ready."""
    counts = (fields.number(found, "status", "readyReplicas") for found in facts.inputs.observed.replica_sets)
    return sum(counts)


def _has_begun(facts: Facts) -> bool:
    """The Deployment as it is shows it; so it goes on under another leader."""
    strategy = fields.mapping(facts.inputs.observed.deployment, "spec", "strategy")
    return dict(strategy) == STRATEGY
