"""Checks engine arguments against one vLLM version: every problem at once, each with its remedy."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from vllm_operator.api.conditions import Problem, Reason
from vllm_operator.engineargs import combinations, permissions, schema, types
from vllm_operator.engineargs.replaced import REPLACED

#: One object's problems go into one condition message: more than this nobody reads.
MAX_PROBLEMS: Final = 50
MAX_DEPTH: Final = 20


@dataclass(slots=True)
class _Findings:
    """What the walk over the arguments has found so far, and the values as vLLM would hold them."""

    problems: list[Problem] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def invalid(self, message: str) -> None:
        """Record something vLLM would refuse or misread."""
        self.problems.append(Problem(Reason.INVALID_ENGINE_ARGS, message))

    def forbidden(self, message: str) -> None:
        """Record something that works but may not be set here."""
        self.problems.append(Problem(Reason.ENGINE_ARG_NOT_PERMITTED, message))


def check(
    engine_args: Mapping[str, Any],
    *,
    vllm_version: str | None,
    permitted: frozenset[str] = frozenset(),
    gpus: int | None = None,
    hub_source: bool = True,
    source_revision: str | None = None,
) -> tuple[Problem, ...]:
    """Everything that is wrong with `spec.engineArgs`, in the order of the arguments.

    `vllm_version` None, or one without a schema, checks only what holds for every version: what may be
    set at all, and what the operator itself cannot run. `gpus` is `spec.gpus.count`, None where it
    follows from the parallel sizes. `permitted` is the administrator's list; a name in it covers
    everything below it. `hub_source` and `source_revision` say where code would come from.
    """
    minor = schema.minor_of(vllm_version)
    known = schema.load(minor) if minor else None
    found = _Findings()
    for name, value in engine_args.items():
        _argument(found, str(name), value, known, permitted)
    for message in permissions.remote_code(engine_args, hub_source, source_revision):
        found.invalid(message)
    for message in combinations.operator_limits(engine_args, gpus):
        found.invalid(message)
    if known:
        arguments = combinations.Arguments(found.values, known)
        for message in combinations.refused(arguments):
            found.invalid(message)
    return tuple(found.problems[:MAX_PROBLEMS])


def warnings(engine_args: Mapping[str, Any], *, vllm_version: str | None) -> tuple[str, ...]:
    """What the user should know although it is no reason to refuse the arguments."""
    if not engine_args:
        return ()
    known = schema.known_minors()
    if not vllm_version:
        return ("The vLLM version of the image is not known, so its engine arguments were not checked",)
    if schema.minor_of(vllm_version) is None:
        return (
            f"This operator knows the engine arguments of vLLM {known[0]} to {known[-1]}, so those for "
            f"vLLM {vllm_version} were not checked",
        )
    return ()


def _argument(
    found: _Findings,
    name: str,
    value: Any,
    known: schema.Schema | None,
    permitted: frozenset[str],
) -> None:
    """Judge one top-level argument."""
    source = known or _newest_with(name)
    entry = source.arguments.get(name) if source else None
    if entry is None:
        if known:
            found.invalid(_unknown_argument(name, known))
        elif not permissions.covers(permitted, name):
            found.forbidden(_unclassified(name))
        return
    assert source is not None
    refusal = permissions.refusal(name, value, entry, permitted)
    if refusal:
        found.forbidden(refusal)
        return
    if known is None:
        _permissions_below(found, name, value, entry, source, permitted)
        return
    judged = list(_value(found, name, value, entry, known, permitted, depth=0))
    if judged:
        found.values[name] = judged[0]


def _value(
    found: _Findings,
    path: str,
    value: Any,
    entry: Mapping[str, Any],
    known: schema.Schema,
    permitted: frozenset[str],
    depth: int,
) -> Iterator[Any]:
    """Judge a value, and what is below it where a config class says so; yields it if it is good."""
    if depth > MAX_DEPTH or _too_deep(value):
        found.invalid(f"spec.engineArgs.{path}: must be nested at most {MAX_DEPTH} levels deep; flatten it")
        return
    class_name = types.class_member(entry["type"], known.classes)
    if class_name and isinstance(value, Mapping):
        before = len(found.problems)
        held: dict[str, Any] = {}
        for key, inner in value.items():
            inner_entry = known.classes[class_name].get(_key_of(class_name, str(key)))
            inner_path = f"{path}.{key}"
            if inner_entry is None:
                found.invalid(_unknown_key(inner_path, str(key), known.classes[class_name], known))
                continue
            refusal = permissions.refusal(inner_path, inner, inner_entry, permitted)
            if refusal:
                found.forbidden(refusal)
                continue
            for judged in _value(found, inner_path, inner, inner_entry, known, permitted, depth + 1):
                held[_key_of(class_name, str(key))] = judged
        if len(found.problems) == before:
            yield held
        return
    try:
        yield types.coerce(value, entry, known.classes)
    except types.Refused as refused:
        default = _default_in_words(entry, known)
        found.invalid(f"spec.engineArgs.{types.name(path)}: must be {refused}{default}")


def _permissions_below(
    found: _Findings,
    path: str,
    value: Any,
    entry: Mapping[str, Any],
    source: schema.Schema,
    permitted: frozenset[str],
    depth: int = 0,
) -> None:
    """What may be set holds for a version we do not know, too: its values are not judged."""
    class_name = types.class_member(entry["type"], source.classes)
    if not class_name or not isinstance(value, Mapping) or depth > MAX_DEPTH:
        return
    for key, inner in value.items():
        inner_path = f"{path}.{key}"
        inner_entry = source.classes[class_name].get(_key_of(class_name, str(key)))
        if inner_entry is None:
            if not permissions.covers(permitted, inner_path):
                found.forbidden(_unclassified(inner_path))
            continue
        refusal = permissions.refusal(inner_path, inner, inner_entry, permitted)
        if refusal:
            found.forbidden(refusal)
        else:
            _permissions_below(found, inner_path, inner, inner_entry, source, permitted, depth + 1)


def _newest_with(name: str) -> schema.Schema | None:
    """The newest version that has the argument, for an image whose version is not known."""
    for minor in reversed(schema.known_minors()):
        if name in schema.load(minor).arguments:
            return schema.load(minor)
    return None


def _unknown_argument(name: str, known: schema.Schema) -> str:
    """The sentence for a name that this version does not have: what became of it, or what was meant."""
    shown = types.name(name)
    history = schema.history()
    removed, since = history.removed(name), history.since(name)
    remedy = REPLACED.get(name, "")
    if removed and _at_most(removed, known.minor):
        return f"spec.engineArgs.{shown}: was removed in vLLM {removed}; {remedy or 'remove it'}"
    if since and not _at_most(since, known.minor):
        return (
            f"spec.engineArgs.{shown}: is new in vLLM {since} and the image runs {known.minor}; "
            "remove it or use a newer `spec.runtime.image`"
        )
    what = f"spec.engineArgs.{shown}: is not an argument of vLLM {known.minor}"
    if remedy:
        return f"{what}; {remedy}"
    near = _nearest(name, known.arguments)
    return f"{what}; did you mean `{near}`?" if near else f"{what}; remove it"


def _unknown_key(path: str, key: str, fields: Mapping[str, Any], known: schema.Schema) -> str:
    near = _nearest(key, fields)
    listed = ", ".join(f"`{name}`" for name in sorted(fields)[:8])
    also = f"did you mean `{near}`?" if near else f"it takes {listed}{', ...' if len(fields) > 8 else ''}"
    return f"spec.engineArgs.{types.name(path)}: is not a key that vLLM {known.minor} knows; {also}"


def _unclassified(path: str) -> str:
    near = _nearest(path, schema.newest().arguments)
    also = f" (did you mean `{near}`?)" if near else ""
    return (
        f"spec.engineArgs.{types.name(path)}: is in no vLLM that this operator knows, so it needs "
        f"the administrator's permission: remove it{also}, or have it added to `permittedEngineArgs`"
    )


def _nearest(name: str, names: Mapping[str, Any]) -> str | None:
    folded = name.strip().lstrip("-").replace("-", "_").lower()
    if folded in names:
        return folded
    near = get_close_matches(folded[:100], [n for n in names if not n.startswith("_")], n=1, cutoff=0.7)
    return near[0] if near else None


def _key_of(class_name: str, key: str) -> str:
    """vLLM takes `num-speculative-tokens` in a speculative_config, too."""
    return key.replace("-", "_") if class_name == "SpeculativeConfig" else key


def _at_most(one: str, other: str) -> bool:
    return tuple(map(int, one.split("."))) <= tuple(map(int, other.split(".")))


def _default_in_words(entry: Mapping[str, Any], known: schema.Schema) -> str:
    default = entry.get("default")
    if not isinstance(default, int | float | str) or default == "":
        return ""
    return f" (vLLM {known.minor} takes {types.shown(default)} when it is absent)"


def _too_deep(value: Any) -> bool:
    """Whether a value of JSON is nested beyond what any argument of vLLM needs; never recurses."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for item in level
            if isinstance(item, Mapping | list)
            for inner in (item.values() if isinstance(item, Mapping) else item)
        ]
        if not level:
            return False
    return True
