"""The whole status of a VLLMModel from the facts. Pure: the same facts give the same status, at any time."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from vllm_operator.api.conditions import ConditionType, Reason
from vllm_operator.api.meta import GRPC_PORT, HTTP_PORT, METRICS_PORT, MODEL_LABEL
from vllm_operator.status import policies
from vllm_operator.status.facts import Facts, StatusInputs, read
from vllm_operator.status.policies import Finding
from vllm_operator.status.remedies import message

MAX_FAILING_PODS: Final = 10
_MAX_MODEL_REVISIONS: Final = 10

__all__ = ["StatusInputs", "compute"]


def compute(inputs: StatusInputs, now: datetime) -> dict[str, Any]:
    """The status to apply. `now` shows only in the times at which conditions flipped."""
    facts = read(inputs, now)
    identity, previous = inputs.identity, inputs.identity.status
    serving, wanted = len(facts.serving), facts.wanted
    status: dict[str, Any] = {
        "observedGeneration": identity.generation,
        "replicas": len(facts.pods),
        "readyReplicas": serving,
        "updatedReplicas": len(facts.updated),
        "selector": f"{MODEL_LABEL}={identity.name}",
        "replicaSummary": f"{serving}/{wanted}",
        "endpoints": _endpoints(identity.name, identity.namespace),
    }
    current = facts.update_revision if facts.rolled_out else str(previous.get("currentRevision") or "")
    if current:
        status["currentRevision"] = current
    if inputs.revision is not None:
        status |= {
            "updateRevision": facts.update_revision,
            "model": inputs.revision.model_text,
            "gpusPerReplica": inputs.revision.gpus_per_replica,
            "runtime": _runtime(facts),
        }
        if commits := _model_revisions(facts):
            status["modelRevisions"] = commits
    if inputs.revisions:
        status["revisions"] = [dict(entry) for entry in inputs.revisions]
    if failing := _failing_pods(facts):
        status["failingPods"] = failing
    status["conditions"] = [
        _condition(kind, found, identity.generation, previous, now)
        for kind, found in _findings(facts, current).items()
    ]
    return status


def _findings(facts: Facts, current_revision: str) -> dict[ConditionType, Finding]:
    """All conditions, in the order in which they are shown."""
    repository = policies.first(policies.REPOSITORY, facts)
    pods = policies.first(policies.PODS, facts)
    model = policies.first(policies.SERVING, facts)
    done = Reason.PAUSED if facts.paused else Reason.SERVING
    served = Finding("True", done, message(done))
    ready = repository or pods or model or served
    # Old children may be down for another cause than the one that keeps the new spec from being acted on.
    down = (pods or model or ready) if facts.applied else ready
    found = {ConditionType.READY: ready, ConditionType.AVAILABLE: _available(facts, down)}
    if _is_reconciling(facts, ready, current_revision):
        found[ConditionType.RECONCILING] = Finding("True", ready.reason, ready.message)
    if ready.stalled:
        found[ConditionType.STALLED] = Finding("True", ready.reason, ready.message)
    rendered = Finding("True", done, _rendered(facts))
    return found | {
        ConditionType.REPOSITORY_READY: repository or rendered,
        ConditionType.PODS_READY: pods or Finding("True", done, "All pods run."),
        ConditionType.MODEL_SERVING: _zero(facts) or model or served,
    }


def _available(facts: Facts, otherwise: Finding) -> Finding:
    if facts.serving:
        return Finding("True", Reason.SERVING, message(Reason.SERVING))
    found = policies.unreachable(facts) or _zero(facts)
    return found or Finding("False", otherwise.reason, otherwise.message)


def _zero(facts: Facts) -> Finding | None:
    """Zero replicas are as asked for, and serve nothing."""
    if facts.wanted == 0:
        return Finding("False", Reason.SCALED_TO_ZERO, message(Reason.SCALED_TO_ZERO))
    return None


def _is_reconciling(facts: Facts, ready: Finding, current_revision: str) -> bool:
    """Work towards a revision that was never rolled out in full; a change of replicas alone is none."""
    if ready.stalled or ready.status == "True" or facts.paused or (facts.wanted == 0 and facts.applied):
        return False
    return not current_revision or current_revision != facts.update_revision


def _rendered(facts: Facts) -> str:
    warnings = "".join(f" Warning: {text}." for text in facts.inputs.warnings)
    return f"The model repository is in ConfigMap {facts.update_revision}.{warnings}"


def _condition(
    kind: ConditionType, found: Finding, generation: int, previous: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    before: Mapping[str, Any] = next(
        (old for old in previous.get("conditions") or () if old.get("type") == kind.value), {}
    )
    kept = before.get("lastTransitionTime") if before.get("status") == found.status else None
    return {
        "type": kind.value,
        "status": found.status,
        "reason": found.reason.value,
        "message": found.message,
        "observedGeneration": generation,
        "lastTransitionTime": kept or now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _endpoints(name: str, namespace: str) -> dict[str, str]:
    host = f"{name}.{namespace}.svc"
    return {
        "http": f"http://{host}:{HTTP_PORT}",
        "grpc": f"{host}:{GRPC_PORT}",
        "metrics": f"http://{host}:{METRICS_PORT}/metrics",
    }


def _runtime(facts: Facts) -> dict[str, str]:
    """The image, and the versions that its pods report; kept while no pod says anything."""
    image = facts.inputs.revision.image if facts.inputs.revision else ""
    before = facts.inputs.identity.status.get("runtime") or {}
    known = before if before.get("image") == image else {}
    found = {"image": image}
    for part in ("triton", "vllm"):
        said = sorted({getattr(pod.probe.backend, part) for pod in facts.updated if pod.probe} - {""})
        if value := ", ".join(said) or known.get(part):
            found[part] = value
    return found


def _model_revisions(facts: Facts) -> list[str]:
    """The commits that the pods of the update revision loaded: a branch may resolve differently per pod."""
    said = {commit for pod in facts.updated if pod.probe for commit in pod.probe.backend.model_revisions}
    if said:
        return sorted(said)[:_MAX_MODEL_REVISIONS]
    previous = facts.inputs.identity.status
    return list(previous.get("modelRevisions") or ()) if facts.updating and facts.wanted else []


def _failing_pods(facts: Facts) -> list[dict[str, str]]:
    failing: list[dict[str, str]] = []
    for pod in facts.pods:
        held = (pod.cause.reason, pod.cause.excerpt) if pod.cause else policies.probe_reason(pod)
        if held is not None:
            failing.append({"name": pod.name, "reason": held[0].value, "message": held[1]})
    return failing[:MAX_FAILING_PODS]
