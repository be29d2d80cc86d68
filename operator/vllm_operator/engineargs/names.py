"""The sentence for a name that a vLLM does not have: what became of it, or what was meant."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from vllm_operator.engineargs import schema, types
from vllm_operator.engineargs.likeness import folded, nearest, positive
from vllm_operator.engineargs.replaced import KEYS, REPLACED, SERVE
from vllm_operator.engineargs.spans import Span, holds, is_gone, is_later

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
    remedy = KEYS.get(f"{class_name}.{folded(key)}", "")
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
    for argument, entry in known.arguments.items():
        if entry.get("class", "free") == "never":
            continue
        for class_name in types.members(entry["type"]):
            fields: Mapping[str, Any] = known.classes.get(class_name, {})
            if name in fields or f"{class_name}.{name}" in KEYS:
                yield f"{argument}: {{{name}: ...}}"
