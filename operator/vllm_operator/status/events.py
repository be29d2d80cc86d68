"""The Events that the facts give rise to. Pure: its name says what an Event is about; each is posted once."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

from vllm_operator.api.conditions import Reason
from vllm_operator.api.meta import API_VERSION, KIND, MANAGED_BY
from vllm_operator.status import policies
from vllm_operator.status.facts import Facts, StatusInputs, read
from vllm_operator.status.held_against import held_against, stuck
from vllm_operator.status.remedies import message

_MAX_NOTE: Final = 1024


class _Subject(NamedTuple):
    """What an Event is about: one per (subject, reason)."""

    kind: Literal["Normal", "Warning"]
    reason: str
    note: str
    about: str
    pod: tuple[str, str] | None = None
    """Name and UID."""


def events(inputs: StatusInputs, now: datetime, *, reporter: str) -> tuple[dict[str, Any], ...]:
    """All Events for the facts as they are; those whose names exist in the cluster were posted before."""
    facts = read(inputs, now)
    found = (*_from_spec(facts), *_from_pods(facts), *_from_revision(facts))
    return tuple(_event(subject, inputs, now, reporter) for subject in found)


def _from_spec(facts: Facts) -> Iterator[_Subject]:
    generation = f"generation {facts.inputs.identity.generation}"
    finding = policies.spec_refused(facts) or policies.blocked(facts)
    if finding is not None:
        yield _Subject("Warning", finding.reason, finding.message, generation)
    for warning in facts.inputs.warnings:
        # Not of each generation: scaling makes one, and the warning is the same.
        yield _Subject("Warning", "SpecWarning", warning, f"warning: {warning}")


def _from_pods(facts: Facts) -> Iterator[_Subject]:
    for pod in facts.pods:
        held = held_against(pod)
        if held is None:
            continue
        reason, excerpt = held
        remedy = pod.cause.remedy if pod.cause else ""
        if pod.updated and pod.wants_gpu and any(old.may_serve for old in facts.old):
            reason = Reason.WAITING_FOR_GPU
        note = message(reason, pod=pod.name, excerpt=excerpt, remedy=remedy)
        yield _Subject("Warning", reason, note, f"pod {pod.uid}", (pod.name, pod.uid))
    for ending in (pod for pod in facts.ending if pod.stuck):
        reason, excerpt = stuck(ending)
        note = message(reason, pod=ending.name, excerpt=excerpt)
        yield _Subject("Warning", reason, note, f"pod {ending.uid}", (ending.name, ending.uid))


def _from_revision(facts: Facts) -> Iterator[_Subject]:
    if facts.rolled_out and facts.wanted and not facts.inputs.problems:
        note = f"Revision {facts.update_revision} is rolled out and answers inferences."
        yield _Subject("Normal", Reason.SERVING, note, f"revision {facts.update_revision}")


def _event(subject: _Subject, inputs: StatusInputs, now: datetime, reporter: str) -> dict[str, Any]:
    identity = inputs.identity
    about = f"{identity.uid}/{subject.about}/{subject.reason}"
    key = hashlib.sha256(about.encode(errors="replace")).hexdigest()[:16]
    event: dict[str, Any] = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{identity.name[:200]}.{key}", "namespace": identity.namespace},
        "eventTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": subject.kind,
        "reason": str(subject.reason),
        "action": "Reconcile",
        "note": subject.note[:_MAX_NOTE],
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": identity.name,
            "namespace": identity.namespace,
            "uid": identity.uid,
        },
        "reportingController": f"triton-vllm.dev/{MANAGED_BY}",
        "reportingInstance": reporter[:128],
    }
    if subject.pod is not None:
        name, uid = subject.pod
        event["related"] = {
            "apiVersion": "v1", "kind": "Pod", "name": name, "namespace": identity.namespace, "uid": uid,
        }  # fmt: skip
    return event
