"""Connectors and parsers by the names that a vLLM registers: arguments typed as text, which are not free."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from vllm_operator.engineargs import schema
from vllm_operator.engineargs.likeness import nearest_value
from vllm_operator.engineargs.replaced import VALUES
from vllm_operator.engineargs.spans import holds, is_gone, is_later
from vllm_operator.engineargs.types import shown

#: The argument (None: at the top), the key with the name, its registry, and the keys that bring names along.
_PLACES: Final = (
    ("kv_transfer_config", "kv_connector", "kv_connector", ("kv_connector_module_path",)),
    ("ec_transfer_config", "ec_connector", "ec_connector", ("ec_connector_module_path",)),
    ("structured_outputs_config", "reasoning_parser", "reasoning_parser", ("reasoning_parser_plugin",)),
    ("reasoning_config", "reasoning_parser", "reasoning_parser", ()),
    (None, "reasoning_parser", "reasoning_parser", ("reasoning_parser_plugin",)),
)


def refused(values: Mapping[str, Any], minor: str) -> Iterator[str]:
    """Names that this vLLM does not register, one sentence each."""
    for path, name, kind in _given(values):
        span = schema.registry(kind).get(name)
        if span is None or is_gone(span, minor):
            yield _sentence(path, name, kind, minor)
        elif is_later(span, minor) and kind != "reasoning_parser":
            yield (
                f"spec.engineArgs.{path}: '{name}' is new in vLLM {span['since']} and the image runs "
                f"{minor}; "
                "use another, or a newer `spec.runtime.image`"
            )


def warnings(values: Mapping[str, Any], minor: str) -> Iterator[str]:
    """Parsers that only a newer vLLM registers: a plugin in the image may bring them."""
    for path, name, kind in _given(values):
        span = schema.registry(kind).get(name)
        if span is not None and is_later(span, minor) and kind == "reasoning_parser":
            yield (
                f"spec.engineArgs.{path}: vLLM itself has the parser '{name}' from {span['since']} on "
                "and the "
                f"image runs {minor}: unless a plugin in the image registers it, the engine will not start"
            )


def _given(values: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for argument, key, kind, modules in _PLACES:
        outer = values.get(argument) if argument else values
        if not isinstance(outer, Mapping) or any(outer.get(module) for module in modules):
            continue
        name = outer.get(key)
        if isinstance(name, str) and name:
            yield f"{argument}.{key}" if argument else key, name, kind
        yield from _children(outer, argument, key, kind)


def _children(
    outer: Mapping[str, Any], argument: str | None, key: str, kind: str
) -> Iterator[tuple[str, str, str]]:
    """The connectors that a MultiConnector holds."""
    extra = outer.get("kv_connector_extra_config") if kind == "kv_connector" else None
    children = extra.get("connectors") if isinstance(extra, Mapping) else None
    for index, child in enumerate(children if isinstance(children, list) else []):
        if isinstance(child, Mapping) and not child.get("kv_connector_module_path"):
            name = child.get(key)
            if isinstance(name, str):
                yield f"{argument}.kv_connector_extra_config.connectors[{index}].{key}", name, kind


def _sentence(path: str, name: str, kind: str, minor: str) -> str:
    registered = [known for known, span in schema.registry(kind).items() if holds(span, minor)]
    span = schema.registry(kind).get(name, {})
    what = f"spec.engineArgs.{path}: {shown(name)} is not registered in vLLM {minor}"
    if "removed" in span:
        what = f"spec.engineArgs.{path}: '{name}' was removed in vLLM {span['removed']}"
    if name in VALUES.get(kind, {}):
        return f"{what}; {VALUES[kind][name]}"
    if near := nearest_value(name, registered):
        return f"{what}; did you mean '{near}'?"
    listed = ", ".join(f"'{known}'" for known in registered[:12])
    return f"{what}; it has {listed}{', ...' if len(registered) > 12 else ''}"
