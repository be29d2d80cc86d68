"""Engine arguments of a vLLM that is older than the oldest file: judged by when their names came and went."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from vllm_operator.engineargs import schema, types
from vllm_operator.engineargs.likeness import nearest
from vllm_operator.engineargs.replaced import REPLACED
from vllm_operator.engineargs.spans import Span, is_gone, is_later

#: vLLM 0.15 has no source distribution: what is dated 0.16 may have been there.
_UNSEEN: Final = {"0.15": "0.16"}


def warnings(engine_args: Mapping[str, Any], minor: str) -> Iterator[str]:
    """Names, keys and choices that vLLM `minor` does not have, as far as the history tells."""
    for name, value in engine_args.items():
        entry, span = _entry(name), schema.history().arguments.get(name)
        if entry is None and span is None:
            yield _unknown(name, minor)
        elif said := _outside(span or {}, minor):
            yield f"spec.engineArgs.{name}: {said}"
        elif isinstance(value, Mapping):
            yield from _keys(name, value, entry, minor) if entry else ()
        elif isinstance(value, str):
            yield from _choice(name, name, value, minor)


def _keys(path: str, value: Mapping[str, Any], entry: Mapping[str, Any], minor: str) -> Iterator[str]:
    newest = schema.newest()
    class_name = types.class_member(entry["type"], newest.classes)
    if class_name is None:
        return
    for key, inner in value.items():
        where = f"{class_name}.{str(key).replace('-', '_')}"
        if said := _outside(schema.history().keys.get(where, {}), minor):
            yield f"spec.engineArgs.{path}.{key}: {said}"
        elif isinstance(inner, str):
            yield from _choice(f"{path}.{key}", where, inner, minor)


def _choice(path: str, where: str, value: str, minor: str) -> Iterator[str]:
    span = schema.history().choices.get(where, {}).get(value, {})
    if said := _outside(span, minor):
        yield f"spec.engineArgs.{path}: '{value}' {said}"


def _entry(name: str) -> Mapping[str, Any] | None:
    """What the newest version that has the argument says of it."""
    found = schema.newest_with(name)
    return found.arguments[name] if found else None


def _outside(span: Span, minor: str) -> str:
    if span.get("since") == _UNSEEN.get(minor, "-") or span.get("removed") == _UNSEEN.get(minor, "-"):
        return ""
    if is_later(span, minor):
        return f"is new in vLLM {span['since']} and the image runs {minor}, which will refuse it; remove it"
    if is_gone(span, minor):
        return f"was removed in vLLM {span['removed']} and the image runs {minor}; remove it"
    return ""


def _unknown(name: str, minor: str) -> str:
    near = nearest(name, schema.newest().arguments)
    remedy = f"; did you mean `{near}`?" if near else f"; {REPLACED[name]}" if name in REPLACED else ""
    first = schema.history().versions[0]
    return (
        f"spec.engineArgs.{types.name(name)}: is in no vLLM from {first} on, and the image runs "
        f"{minor}{remedy}"
    )
