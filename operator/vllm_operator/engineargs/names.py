"""The sentence for a name that a vLLM does not have: what became of it, or what was meant."""

import re
from collections.abc import Iterator
from typing import Any, Final

from vllm_operator.engineargs import schema, types
from vllm_operator.engineargs.likeness import folded, nearest, positive
from vllm_operator.engineargs.replaced import KEYS, REPLACED, SERVE
from vllm_operator.engineargs.spans import Span, holds, is_gone, is_later

#: The key that a remedy names.
_USED: Final = re.compile(r"use `(\w+)")
_SERVE: Final = "remove it: it belongs to `vllm serve`, whose HTTP server is Triton here"


def unknown_argument(name: str, value: Any, known: schema.Schema) -> str:
    """For a name at the top of `spec.engineArgs`."""
    plain = folded(name)
    shown = f"spec.engineArgs.{types.name(name)}"
    what = f"{shown}: is not an argument of vLLM {known.minor}"
    if use := known.arguments.get(plain, {}).get("use"):
        return f"{what}; its own name is set by the operator: use {use} instead"
    if plain in known.arguments:
        return f"{what}; did you mean `{plain}`?"
    history, remedy = schema.history().arguments, REPLACED.get(plain, "")
    if not remedy and (turned := _turned(plain, value, known)):
        return f"{what}; {turned}"
    span: Span = history.get(plain, {})
    if is_gone(span, known.minor):
        return f"{shown}: was removed in vLLM {span['removed']}; {remedy or 'remove it'}"
    if plain in schema.serve_flags() and holds(schema.serve_flags()[plain], known.minor):
        return f"{what}; {serve_flag(plain)}"
    if is_later(span, known.minor):
        return _later(shown, span, known)
    if remedy or plain in schema.serve_flags():
        return f"{what}; {remedy or serve_flag(plain)}"
    if "." in plain:
        return f"{what}; {_nested(plain)}"
    if paths := list(_paths_of(plain, known)):
        return f"{what}; write it as {' or '.join(f'`{path}`' for path in paths[:3])}"
    if below := _successor_below(plain, known):
        return f"{what}; {below}"
    near = nearest(plain, [*known.arguments, *REPLACED])
    if near and near in REPLACED:
        return f"{what}; {REPLACED[near]}"
    return f"{what}; did you mean `{near}`?" if near else f"{what}; remove it"


def unknown_key(path: str, class_name: str, key: str, value: Any, known: schema.Schema) -> str:
    """For a key below an argument that a config class judges."""
    fields = known.classes[class_name]
    shown = f"spec.engineArgs.{types.name(path)}"
    what = f"{shown}: is not a key that vLLM {known.minor} knows"
    span = schema.history().keys.get(f"{class_name}.{folded(key)}", {})
    remedy = _successor(class_name, folded(key), known)
    if is_gone(span, known.minor):
        return f"{shown}: was removed in vLLM {span['removed']}; {remedy or 'remove it'}"
    if is_later(span, known.minor):
        return _later(shown, span, known)
    if remedy:
        return f"{what}; {remedy}"
    if near := nearest(key, fields):
        return f"{what}; did you mean `{near}`?"
    if folded(key) in known.arguments:
        return f"{what}; write it as `{folded(key)}` itself, beside `{path.partition('.')[0]}`"
    listed = ", ".join(f"`{name}`" for name in sorted(fields)[:12])
    return f"{what}; it takes {listed}{', ...' if len(fields) > 12 else ''}"


def unclassified(path: str) -> str:
    """For a name that no known vLLM has, on an image whose vLLM is not known."""
    near = nearest(path, schema.newest().arguments)
    also = f" (did you mean `{near}`?)" if near else ""
    return (
        f"spec.engineArgs.{types.name(path)}: is in no vLLM that this operator knows, so it needs "
        f"the administrator's permission: remove it{also}, or have it added to `permittedEngineArgs`"
    )


def serve_flag(name: str) -> str:
    """What to do instead of giving a flag of vLLM's HTTP server."""
    return f"{_SERVE}; {SERVE[name]}" if name in SERVE else _SERVE


def _later(shown: str, span: Span, known: schema.Schema) -> str:
    return (
        f"{shown}: is new in vLLM {span['since']} and the image runs {known.minor}; "
        "remove it or use a newer `spec.runtime.image`"
    )


def _turned(name: str, value: Any, known: schema.Schema) -> str:
    """`no_x`, `disable_x` and `enable_x` by the name that vLLM has, with the value that means the same."""
    bare, off = positive(name)
    if bare == name:
        return ""
    on = value not in (False, "false", "False")
    for candidate, is_off in ((bare, False), (f"enable_{bare}", False), (f"disable_{bare}", True)):
        if candidate in known.arguments and known.arguments[candidate]["type"].startswith("bool"):
            return f"write `{candidate}: {str(on != (off != is_off)).lower()}`"
    return ""


def _nested(name: str) -> str:
    """`a.b` of the command line as YAML."""
    *outer, last = name.split(".")
    return f"write it as a mapping: `{''.join(f'{part}: {{' for part in outer)}{last}: ...{'}' * len(outer)}`"


def _paths_of(name: str, known: schema.Schema) -> Iterator[str]:
    """Where a key stands that was written at the top: in the mappings that have a key of that name."""
    for argument, class_name in _mappings(known):
        if name in known.classes[class_name]:
            yield f"{argument}: {{{name}: ...}}"


def _successor_below(name: str, known: schema.Schema) -> str:
    """What became of a key that was written at the top, and that its mapping no longer has."""
    for argument, class_name in _mappings(known):
        path = f"{class_name}.{name}"
        span = schema.history().keys.get(path, {})
        if path in KEYS or is_gone(span, known.minor):
            remedy = _successor(class_name, name, known) or "remove it"
            return f"it was a key of `{argument}`; {_there(remedy, argument)}"
        if is_later(span, known.minor):
            return f"it is a key of `{argument}` from vLLM {span['since']} on; remove it or use a newer image"
    return ""


def _successor(class_name: str, key: str, known: schema.Schema) -> str:
    """What took a key's place; where that went, too, what took the place of that."""
    remedy = KEYS.get(f"{class_name}.{key}", "")
    used = _USED.match(remedy)
    if used and used[1] not in known.classes[class_name] and f"{class_name}.{used[1]}" in KEYS:
        return _successor(class_name, used[1], known)
    return remedy


def _there(remedy: str, argument: str) -> str:
    """`use ...` as said below an argument, for one who stands beside it."""
    return f"{remedy}, below `{argument}`" if remedy.startswith("use ") else remedy


def _mappings(known: schema.Schema) -> Iterator[tuple[str, str]]:
    """The arguments that a config class judges, and that class."""
    for argument, entry in known.arguments.items():
        if entry.get("class", "free") != "never" and (
            class_name := types.class_member(entry["type"], known.classes)
        ):
            yield argument, class_name
