"""What would change if a VLLMModel were applied: fields, manifests, and which pods restart and why.

Nothing here knows which field does what: each change is put into the old spec alone, and the operator's
own rendering tells whether the pods come out different.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from vllm_operator.api.spec import VLLMModelSpec
from vllm_operator.api.v1alpha1 import SERVED_NAME_RULE, SpecInvalid, VLLMModel, parse_model
from vllm_operator.desired.revision import Revision, SpecRejected, accept
from vllm_operator.files import render
from vllm_operator.settings import Settings

ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs, and what follows from it."""

    path: str
    old: Any
    new: Any
    effect: str
    restarts: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What applying one object would do."""

    name: str
    created: bool
    changes: tuple[Change, ...]
    restarts: bool
    reasons: tuple[str, ...]
    diff: str
    problems: tuple[str, ...] = ()
    paused: bool = False


def created(model: VLLMModel, settings: Settings) -> Plan:
    """The plan for an object that is not there yet."""
    revision = render.revision_of(model, settings)
    text = render.as_yaml(render.objects(model, revision))
    diff = "".join(_unified("", text, "nothing", "planned"))
    return Plan(_name(model), True, (), False, (), diff)


def changed(
    old: VLLMModel, new: VLLMModel, settings: Settings, current: Revision | None, *, live: bool
) -> Plan:
    """The plan for an object that is there.

    `current` is its newest revision, None where only files are compared. `live` says that `old` is what
    the API server holds: a replica count that the file does not give stays as it is there.
    """
    if old.served_name != new.served_name:
        message = f"spec.servedName: {SERVED_NAME_RULE.message}"
        return Plan(_name(new), False, (), False, (), "", (f"{_name(new)}: {message}",))
    new = replace(new, identity=replace(new.identity, uid=old.uid, status=old.status))
    if live and "replicas" not in new.spec.model_fields_set:
        new = replace(new, spec=new.spec.model_copy(update={"replicas": old.spec.replicas}))
    before = current or render.revision_of(old, settings)
    after = render.revision_of(new, settings, current=before)
    changes = tuple(_changes(old, new, settings))
    restarts = before.hash != after.hash
    return Plan(
        name=_name(new),
        created=False,
        changes=changes,
        restarts=restarts,
        reasons=tuple(_reasons(old, new, before, after, settings)) if restarts else (),
        diff="".join(_unified(_children(old, before), _children(new, after), "now", "planned")),
        paused=new.spec.paused,
    )


def _children(model: VLLMModel, revision: Revision) -> str:
    """The children's manifests; the ControllerRevision holds the same once more and is left out."""
    return render.as_yaml(render.objects(model, revision)[1:])


def _changes(old: VLLMModel, new: VLLMModel, settings: Settings) -> Iterator[Change]:
    before, after = _fields(old.spec), _fields(new.spec)
    base = accept(old, settings, current=None) if _acceptable(old, settings) else None
    for path in sorted(set(before) | set(after)):
        was, is_now = before.get(path, ABSENT), after.get(path, ABSENT)
        if was == is_now:
            continue
        effect, restarts = _effect(old, path, is_now, base, settings)
        yield Change(".".join(("spec", *path)), was, is_now, effect, restarts)


def _effect(
    old: VLLMModel, path: tuple[str, ...], value: Any, base: Revision | None, settings: Settings
) -> tuple[str, bool]:
    """What this change alone does to the pods."""
    fields = _set(old.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True), path, value)
    metadata = {"name": old.name, "namespace": old.namespace, "uid": old.uid}
    try:
        model = parse_model({"metadata": metadata, "spec": fields})
        revision = accept(model, settings, current=None)
    except (SpecInvalid, SpecRejected):
        return "possible only together with the other changes", False
    if base is None:
        return "what runs now would be refused, so its effect alone is not known", False
    if revision.repository != base.repository:
        names = sorted({*revision.repository, *base.repository})
        files = [name for name in names if revision.repository.get(name) != base.repository.get(name)]
        verb = "changes" if len(files) == 1 else "change"
        return f"restarts the pods: {', '.join(files)} {verb}", True
    if revision.hash != base.hash:
        return "restarts the pods: the pod itself changes", True
    if model.spec.replicas != old.spec.replicas:
        return "no restart: pods are added or removed", False
    if model.spec.paused != old.spec.paused:
        return "no restart: the operator stops or goes on repairing the children", False
    if revision.probe != base.probe:
        return "no restart: the operator probes differently", False
    if revision.strategy != base.strategy:
        return "no restart: holds for the next rollout", False
    return "no restart", False


def _reasons(
    old: VLLMModel, new: VLLMModel, before: Revision, after: Revision, settings: Settings
) -> Iterator[str]:
    """What comes with a restart although no field asks for it."""
    if before.image != after.image and not new.spec.runtime.image:
        yield f"the administrator's image is now '{after.image}'; the pods run '{before.image}'"
    elif _acceptable(old, settings):
        today = accept(old, settings, current=None)
        if today.hash != before.hash and today.image == before.image:
            yield "this operator renders pods differently from the one that rendered these"


def _acceptable(model: VLLMModel, settings: Settings) -> bool:
    try:
        render.revision_of(model, settings)
    except render.Refused:
        return False
    return True


def _fields(spec: VLLMModelSpec) -> dict[tuple[str, ...], Any]:
    """The spec's leaves by path: mappings are entered, lists are one value."""
    return dict(_leaves(spec.model_dump(mode="json", by_alias=True, exclude_defaults=True), ()))


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, str(key)))
    else:
        yield path, value


def _set(fields: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The fields with one leaf replaced, or removed where the value is ABSENT."""
    if not path:
        return fields
    copy = dict(fields)
    if len(path) > 1:
        inner = copy.get(path[0])
        copy[path[0]] = _set(inner if isinstance(inner, dict) else {}, path[1:], value)
        if copy[path[0]] == {}:
            del copy[path[0]]
    elif value is ABSENT:
        copy.pop(path[0], None)
    else:
        copy[path[0]] = value
    return copy


def _unified(old: str, new: str, from_name: str, to_name: str) -> Iterator[str]:
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), from_name, to_name, n=2
    )
    return iter(lines)


def _name(model: VLLMModel) -> str:
    return f"{model.namespace}/{model.name}"
