"""What would change if a VLLMModel were applied: fields, manifests, and which pods restart and why.

What each field does is the operator's own table (desired/effects.py); whether the pods restart is not read
from it but from the two revisions, so that an image or a rendering that comes along is not missed.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from vllm_operator.api.v1alpha1 import SERVED_NAME_RULE, VLLMModel
from vllm_operator.desired.effects import Change, changes
from vllm_operator.desired.revision import Revision
from vllm_operator.files import render
from vllm_operator.settings import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """What applying one object would do."""

    name: str
    created: bool = False
    changes: tuple[Change, ...] = ()
    restarts: bool = False
    replicas: int = 0
    brings: tuple[str, ...] = ()
    """What comes with a restart although no field asks for it."""
    diff: str = ""
    paused: bool = False
    refused: str = ""


def created(model: VLLMModel, settings: Settings) -> Plan:
    """The plan for an object that is not there yet."""
    text = _children(model, render.revision_of(model, settings))
    return Plan(_name(model), created=True, replicas=model.spec.replicas, diff="".join(_unified("", text)))


def changed(
    old: VLLMModel, new: VLLMModel, settings: Settings, current: Revision | None, *, live: bool
) -> Plan:
    """The plan for an object that is there.

    `current` is its newest revision, None where only files are compared. `live` says that `old` is what
    the API server holds: a replica count that the file does not give stays as it is there.
    """
    if old.served_name != new.served_name:
        return Plan(_name(new), refused=f"{_name(new)}: spec.servedName: {SERVED_NAME_RULE.message}")
    new = replace(new, identity=replace(new.identity, uid=old.uid, status=old.status))
    if live and "replicas" not in new.spec.model_fields_set:
        new = replace(new, spec=new.spec.model_copy(update={"replicas": old.spec.replicas}))
    before = current or render.revision_of(old, settings)
    after = render.revision_of(new, settings, current=before)
    restarts = before.hash != after.hash
    return Plan(
        name=_name(new),
        changes=changes(old.spec, new.spec),
        restarts=restarts,
        replicas=new.spec.replicas,
        brings=tuple(_brings(old, new, before, after, settings)) if restarts else (),
        diff="".join(_unified(_children(old, before), _children(new, after))),
        paused=new.spec.paused,
    )


def _brings(
    old: VLLMModel, new: VLLMModel, before: Revision, after: Revision, settings: Settings
) -> Iterator[str]:
    if before.image != after.image and not new.spec.runtime.image:
        yield f"the administrator's image, now '{after.image}'; the pods run '{before.image}'"
    try:
        today = render.revision_of(old, settings)
    except render.Refused:
        return
    if today.hash != before.hash and today.image == before.image:
        yield "what this operator renders differently from the one that made these pods"


def _children(model: VLLMModel, revision: Revision) -> str:
    """The children's manifests; the ControllerRevision holds the same once more and is left out.

    Keys are sorted: a revision that comes from the API server has them in another order.
    """
    return render.as_yaml(render.objects(model, revision)[1:], sort_keys=True)


def _unified(old: str, new: str) -> Iterator[str]:
    return iter(
        difflib.unified_diff(
            old.splitlines(keepends=True), new.splitlines(keepends=True), "now", "planned", n=2
        )
    )


def _name(model: VLLMModel) -> str:
    return f"{model.namespace}/{model.name}"
