"""Which revision a model's children follow, and what is to be said of its spec. Pure.

The rules are for what is new. A spec that was accepted goes on as it is, however the rules of a newer
operator, of the administrator, or of the vLLM that its pods report have changed since: what they say of it is
a warning until it is edited.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.conditions import Problem
from vllm_operator.api.spec import VLLMModelSpec
from vllm_operator.api.v1alpha1 import ModelIdentity, SpecInvalid, VLLMModel, parse_model
from vllm_operator.desired import anchor, policy
from vllm_operator.desired.revision import (
    NOT_IN_PODS,
    Revision,
    SpecRejected,
    accept,
    accepted_from,
    outgrown,
)
from vllm_operator.settings import Settings

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Decision:
    """The revision that the children follow, None if no spec was ever accepted, and what is wrong."""

    revision: Revision | None
    controller_revision: Object | None
    """The revision as it is to be stored."""
    trusted: anchor.Trusted
    spec: VLLMModelSpec | None
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]

    @property
    def revisions(self) -> Mapping[str, Revision]:
        """All that pods may be of, by name: those that are stored, and `revision` as it is to be."""
        if self.revision is None or self.controller_revision is None:
            return self.trusted.revisions
        return {**self.trusted.revisions, self.controller_revision["metadata"]["name"]: self.revision}


def decide(
    model: Object, stored: Iterable[Object], settings: Settings, written: anchor.Listing = ()
) -> Decision:
    """A good spec becomes the revision; a bad one leaves the last good revision in force.

    `written` is the list of revisions that this process wrote last, if the status is not known to have it.
    """
    identity = ModelIdentity.of(model)
    trusted = anchor.trusted(stored, identity, settings, written)
    revision = current = trusted.revision
    spec: VLLMModelSpec | None = None
    problems: tuple[Problem, ...] = ()
    said: tuple[str, ...] = ()
    try:
        parsed = parse_model(model)
        spec = parsed.spec
        revision = accept(parsed, settings, current=current)
        said = tuple(_warnings(parsed, settings, revision, current))
    except SpecRejected as error:
        problems = error.problems
    except SpecInvalid as error:
        spec = error.spec
        if current is not None and _was_accepted(error, identity, current):
            said = tuple(map(_outgrown, error.problems))
        else:
            problems = error.problems
    wanted = anchor.to_object(revision, identity, trusted) if revision else None
    said += tuple(anchor.warnings(trusted, wanted))
    return Decision(revision, wanted, trusted, spec, problems, said)


def as_it_is(
    model: Object, stored: Iterable[Object], settings: Settings, written: anchor.Listing = ()
) -> Decision:
    """The last good revision, whatever the spec says: of a model that is being deleted, for example."""
    identity = ModelIdentity.of(model)
    trusted = anchor.trusted(stored, identity, settings, written)
    wanted = anchor.to_object(trusted.revision, identity, trusted) if trusted.revision else None
    return Decision(trusted.revision, wanted, trusted, None, (), ())


def _warnings(
    model: VLLMModel, settings: Settings, revision: Revision, current: Revision | None
) -> Iterator[str]:
    yield from policy.warnings(model, settings, image=revision.image)
    if current is not None and revision.hash == current.hash:
        yield from map(_outgrown, outgrown(model, settings, revision))


def _outgrown(problem: Problem) -> str:
    return f"This spec was accepted, and goes on; it would be refused if it were new: {problem.message}"


def _was_accepted(error: SpecInvalid, identity: ModelIdentity, current: Revision) -> bool:
    """Whether a spec that this operator cannot read is the one that `current` was made from.

    It is where all that reaches pods is the same; or where the status says that this very generation was
    acted on, which only an operator that could read it would have written.
    """
    elsewhere = tuple(f"spec.{name}" for name in NOT_IN_PODS)
    if error.spec is not None and accepted_from(error.spec) == current.accepted_from:
        return not any(problem.message.startswith(elsewhere) for problem in error.problems)
    status = identity.status
    refused = any(
        c.get("type") == "Stalled" and c.get("status") == "True" for c in status.get("conditions") or ()
    )
    acted_on = status.get("observedGeneration") == identity.generation and not refused
    return acted_on and status.get("updateRevision") == current.name(identity.name)
