"""The whole status of a VLLMModel from the facts. Pure: the same facts give the same status, at any time."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from vllm_operator.api.conditions import ConditionType, Reason
from vllm_operator.api.meta import GRPC_PORT, HTTP_PORT, METRICS_PORT, MODEL_LABEL
from vllm_operator.observed import fields
from vllm_operator.status import policies
from vllm_operator.status.available import available, zero
from vllm_operator.status.facts import Facts, RevisionView, StatusInputs, read
from vllm_operator.status.held_against import held_against, stuck
from vllm_operator.status.pods import one_line
from vllm_operator.status.policies import Finding
from vllm_operator.status.remedies import message

MAX_FAILING_PODS: Final = 10
_MAX_MODEL_REVISIONS: Final = 10
#: As the schema has it, or less: a status that is too long is refused whole.
_MAX_TEXT: Final = 1024
_MAX_MESSAGE: Final = 4096

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
        # Also when it is empty: a status without it is one of a version that did not know it.
        "servingPods": sorted(pod.uid for pod in facts.serving),
    }
    if inputs.observed.service is not None:
        status["endpoints"] = _endpoints(identity.name, identity.namespace)
    current = _current_revision(facts)
    if current:
        status["currentRevision"] = current
    if (revision := _recorded(facts)) is not None:
        status |= {
            "updateRevision": revision.name(identity.name),
            "model": revision.model_text,
            "gpusPerReplica": revision.gpus_per_replica,
            "runtime": _runtime(facts, revision),
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


def _recorded(facts: Facts) -> RevisionView | None:
    """The revision that pods are made from: one that exists, not one that would be made."""
    inputs = facts.inputs
    names = {fields.name(found) for found in inputs.observed.controller_revisions}
    for revision in (inputs.revision, inputs.stored):
        if revision is not None and revision.name(inputs.identity.name) in names:
            return revision
    return None


def _current_revision(facts: Facts) -> str:
    """Name of the one that was last rolled out in full, as long as it exists."""
    before = fields.text(facts.inputs.identity.status, "currentRevision")
    name = facts.update_revision if facts.rolled_out else before
    names = {fields.name(found) for found in facts.inputs.observed.controller_revisions}
    return name if name in names else ""


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
    found = {ConditionType.READY: ready, ConditionType.AVAILABLE: available(facts, down)}
    if _is_reconciling(facts, ready, current_revision):
        found[ConditionType.RECONCILING] = Finding("True", ready.reason, ready.message)
    if ready.stalled:
        found[ConditionType.STALLED] = Finding("True", ready.reason, ready.message)
    rendered = Finding("True", done, _rendered(facts))
    return found | {
        ConditionType.REPOSITORY_READY: repository or rendered,
        ConditionType.PODS_READY: pods or Finding("True", done, "All pods run."),
        ConditionType.MODEL_SERVING: zero(facts) or model or served,
    }


def _is_reconciling(facts: Facts, ready: Finding, current_revision: str) -> bool:
    """Work towards a revision that was never rolled out in full; a change of replicas alone is none."""
    if ready.stalled or ready.status == "True" or facts.paused or (facts.wanted == 0 and facts.applied):
        return False
    if facts.inputs.identity.deletion_timestamp:
        return False
    return not current_revision or current_revision != facts.update_revision


def _rendered(facts: Facts) -> str:
    warnings = "".join(f" Warning: {text}." for text in facts.inputs.warnings)
    text = f"The model repository is in ConfigMap {facts.update_revision}.{warnings}"
    return one_line(text, limit=_MAX_MESSAGE)


def _condition(
    kind: ConditionType, found: Finding, generation: int, previous: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    before: Mapping[str, Any] = next(
        (old for old in fields.items(previous, "conditions") if old.get("type") == kind.value), {}
    )
    kept = fields.text(before, "lastTransitionTime") if before.get("status") == found.status else ""
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


def _runtime(facts: Facts, revision: RevisionView) -> dict[str, str]:
    """The image, and the versions that its pods report; kept while no pod says anything."""
    image = revision.image
    before = fields.mapping(facts.inputs.identity.status, "runtime")
    known = before if before.get("image") == image else {}
    found = {"image": image}
    for part in ("triton", "vllm"):
        said = sorted({getattr(pod.probe.backend, part) for pod in facts.updated if pod.probe} - {""})
        if value := ", ".join(said) or fields.text(known, part):
            found[part] = one_line(value, limit=_MAX_TEXT)
    return found


def _model_revisions(facts: Facts) -> list[str]:
    """The commits that the pods of the update revision loaded: a branch may resolve differently per pod."""
    said = {commit for pod in facts.updated if pod.probe for commit in pod.probe.backend.model_revisions}
    if said:
        return sorted(said)[:_MAX_MODEL_REVISIONS]
    previous = facts.inputs.identity.status
    return list(fields.texts(previous, "modelRevisions")) if facts.updating and facts.wanted else []


def _failing_pods(facts: Facts) -> list[dict[str, str]]:
    failing = {pod.name: held for pod in facts.pods if (held := held_against(pod)) is not None}
    failing |= {pod.name: stuck(pod) for pod in facts.ending if pod.stuck}
    return [
        {"name": name, "reason": reason.value, "message": message}
        for name, (reason, message) in sorted(failing.items())[:MAX_FAILING_PODS]
    ]
