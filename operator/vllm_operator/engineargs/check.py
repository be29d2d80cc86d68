"""Checks engine arguments against one vLLM version: every problem at once, each with its remedy."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vllm_operator.api.conditions import Problem, Reason
from vllm_operator.engineargs import (
    combinations,
    inactive,
    names,
    older,
    permissions,
    registries,
    schema,
    types,
)
from vllm_operator.engineargs.explain import hint
from vllm_operator.engineargs.replaced import VALUES
from vllm_operator.engineargs.spans import is_gone, is_later

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
    environment: Mapping[str, str] | None = None,
) -> tuple[Problem, ...]:
    """Everything that is wrong with `spec.engineArgs`, in the order of the arguments.

    `vllm_version` None, or one without a schema, checks only what holds for every version: what may be
    set at all, and what the operator itself cannot run. `gpus` is `spec.gpus.count`, None where it
    follows from the parallel sizes. `permitted` is the administrator's list; a name in it covers
    everything below it. `hub_source` and `source_revision` say where code would come from, `environment`
    is the container's, for rules that vLLM makes depend on it.
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
        for message in registries.refused(found.values, known.minor):
            found.invalid(message)
        arguments = combinations.Arguments(found.values, known, environment or {})
        for message in combinations.refused(arguments):
            found.invalid(message)
    return tuple(found.problems[:MAX_PROBLEMS])


def warnings(
    engine_args: Mapping[str, Any], *, vllm_version: str | None, adapters: bool = False
) -> tuple[str, ...]:
    """What the user should know although it is no reason to refuse the arguments.

    `adapters` says whether the spec has any, which turns LoRA on.
    """
    if not engine_args:
        return ()
    known = schema.known_minors()
    if not vllm_version:
        return ("The vLLM version of the image is not known, so its engine arguments were not checked",)
    if minor := schema.minor_of(vllm_version):
        return tuple(_doubtful(engine_args, schema.load(minor), adapters))
    if minor := schema.any_minor_of(vllm_version):
        return tuple(older.warnings(engine_args, minor))
    return (
        f"This operator knows the engine arguments of vLLM {known[0]} to {known[-1]}, so those for "
        f"vLLM {vllm_version} were not checked",
    )


def _doubtful(engine_args: Mapping[str, Any], known: schema.Schema, adapters: bool) -> Iterator[str]:
    found = _Findings()
    for name, value in engine_args.items():
        _argument(found, str(name), value, known, frozenset(known.arguments))
    values = found.values | ({"enable_lora": True} if adapters else {})
    yield from inactive.warnings(combinations.Arguments(values, known, {}))
    yield from registries.warnings(values, known.minor)


def remedy(name: str, value: Any) -> str:
    """`, not ...; write ...` for a value that is of the wrong type for an argument of the newest vLLM."""
    entry = schema.newest().arguments.get(name)
    said = f", not {types.shown(value)}"
    return said + hint(value, entry["type"], name) if entry else said


def _argument(
    found: _Findings,
    name: str,
    value: Any,
    known: schema.Schema | None,
    permitted: frozenset[str],
) -> None:
    """Judge one top-level argument."""
    source = known or schema.newest_with(name)
    entry = source.arguments.get(name) if source else None
    if entry is None:
        if known:
            found.invalid(names.unknown_argument(name, value, known))
        elif name not in permissions.FREE_BEFORE and not permissions.covers(permitted, name):
            found.forbidden(names.unclassified(name))
        return
    assert source is not None
    refusal = permissions.refusal(name, value, entry, permitted)
    if refusal:
        found.forbidden(refusal)
        return
    if known is None:
        _permissions_below(found, name, value, entry, source, permitted)
        return
    judged = list(_value(found, name, value, entry, known, permitted, where=name))
    if judged:
        found.values[name] = judged[0]


def _value(
    found: _Findings,
    path: str,
    value: Any,
    entry: Mapping[str, Any],
    known: schema.Schema,
    permitted: frozenset[str],
    depth: int = 0,
    where: str = "",
) -> Iterator[Any]:
    """Judge a value, and what is below it where a config class says so; yields it if it is good.

    `where` is the name in the history: the argument's own, or `Class.field`.
    """
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
                found.invalid(names.unknown_key(inner_path, class_name, str(key), inner, known))
                continue
            refusal = permissions.refusal(inner_path, inner, inner_entry, permitted)
            if refusal:
                found.forbidden(refusal)
                continue
            judging = _value(
                found, inner_path, inner, inner_entry, known, permitted, depth + 1,
                f"{class_name}.{_key_of(class_name, str(key))}",
            )  # fmt: skip
            for judged in judging:
                held[_key_of(class_name, str(key))] = judged
        if len(found.problems) == before:
            yield held
        return
    listed = types.choices_of(entry["type"])
    try:
        judged = types.coerce(value, entry, known.classes, path)
        if listed and judged not in listed and (moved := _moved(path, where, judged, known)):
            found.invalid(f"spec.engineArgs.{types.name(path)}: {moved.removesuffix(': ')}")
            return
        yield judged
    except types.Refused as refused:
        moved = _moved(path, where, value, known)
        default = "" if moved else _default_in_words(entry, known)
        found.invalid(f"spec.engineArgs.{types.name(path)}: {moved}must be {refused}{default}")


def _moved(path: str, where: str, value: Any, known: schema.Schema) -> str:
    """What became of a choice that this version does not list."""
    if not isinstance(value, str):
        return ""
    folded = value.lower().replace("-", "_")
    choices = schema.history().choices.get(where, {})
    span = next((s for choice, s in choices.items() if choice.lower().replace("-", "_") == folded), {})
    remedy = VALUES.get(where, VALUES.get(path, {})).get(folded, "")
    if is_gone(span, known.minor):
        use = f"; {remedy}" if remedy else ""
        return f"{types.shown(value)} was removed in vLLM {span['removed']}{use}: "
    if is_later(span, known.minor):
        return f"{types.shown(value)} is new in vLLM {span['since']} and the image runs {known.minor}: "
    return ""


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
                found.forbidden(names.unclassified(inner_path))
            continue
        refusal = permissions.refusal(inner_path, inner, inner_entry, permitted)
        if refusal:
            found.forbidden(refusal)
        else:
            _permissions_below(found, inner_path, inner, inner_entry, source, permitted, depth + 1)


def _key_of(class_name: str, key: str) -> str:
    """vLLM takes `num-speculative-tokens` in a speculative_config, too."""
    return key.replace("-", "_") if class_name == "SpeculativeConfig" else key


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
