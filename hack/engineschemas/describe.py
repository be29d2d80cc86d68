"""Describes the engine arguments of one vLLM: every field of AsyncEngineArgs and what judges its value."""

import ast
import re
from dataclasses import dataclass
from typing import Any

from engineschemas.fields import UNKNOWN, ConfigClasses, ConfigField, bounds, first_sentence
from engineschemas.quantization import quantization_facts
from engineschemas.source import Source

ARG_UTILS = "vllm.engine.arg_utils"

#: Fields whose config class converts the value first: the annotation of EngineArgs says what may be written.
CONVERTED = {"limit_mm_per_prompt"}
#: Arguments typed `Literal[...] | str` whose other strings vLLM refuses later, or silently takes for "auto".
CLOSED = {"config_format", "kv_cache_dtype", "load_format", "model_impl", "quantization"}
#: Arguments that reach a config class by a way the calls do not show.
JUDGED = {"kv_cache_dtype", "quantization_config"}
#: Config classes whose every field also takes a comma-separated string (a `"*"` validator does it).
COMMA_LISTS = {"IrOpPriorityConfig"}
#: Fields that also take the name of a ready-made value.
TEXT_TOO = {"QuantizationConfigArgs": ("linear", "moe")}


@dataclass(frozen=True)
class Judge:
    """Where vLLM judges an argument: a field of a config class."""

    config_class: str
    field: str


def describe(source: Source, version: str) -> dict[str, Any]:
    """The document of one vLLM version, without the operator's own classes of arguments."""
    classes = ConfigClasses(source)
    judges = _judges(source, classes)
    spread = _spread(source, classes)
    arguments: dict[str, Any] = {}
    for owner in ("EngineArgs", "AsyncEngineArgs"):
        node = source.names(ARG_UTILS)[owner]
        assert isinstance(node, ast.ClassDef)
        for index, item in enumerate(node.body):
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                name = item.target.id
                arguments[name] = _argument(classes, item, judges, spread, node.body, index)
    nested = _nested(classes, arguments)
    return {"vllm": version, "arguments": arguments, "classes": nested} | quantization_facts(source)


def _argument(
    classes: ConfigClasses,
    item: ast.AnnAssign,
    judges: dict[str, Judge],
    spread: dict[str, str],
    body: list[ast.stmt],
    index: int,
) -> dict[str, Any]:
    assert isinstance(item.target, ast.Name)
    name = item.target.id
    own_type = classes.annotations.render(ARG_UTILS, item.annotation)
    default = classes.default(ARG_UTILS, item.value)
    origin = _origin(classes, item.value)
    judge = origin if name in judges and origin else judges.get(name)
    found = _field(classes, judge)
    described = found or _field(classes, origin)
    entry: dict[str, Any] = {}
    if name in spread:
        entry["type"] = _with_none(spread[name], default is None)
    elif found and name not in CONVERTED:
        entry["type"] = _with_none(found.type, found.nullable or default is None)
    else:
        entry["type"] = _with_none(own_type, default is None)
    if name in CLOSED:
        entry["type"] = _without_str(entry["type"])
    if default is not UNKNOWN:
        entry["default"] = default
    by_name = found.fold == "upper" if found else True  # EngineArgs looks a member up by its name
    _enum_by_value(classes, entry, by_name)
    limits = bounds(item.value) | (found.bounds if found else {})
    entry |= dict(sorted(limits.items()))
    if found and found.fold:
        entry["fold"] = found.fold
    elif entry["type"].startswith("Enum[") and not found:
        entry["fold"] = "upper"
    if not found and name not in spread and name not in JUDGED and not class_names(entry["type"]):
        entry["unjudged"] = True
    text = _following_text(body, index) or (described.description if described else "")
    if text:
        entry["description"] = text
    return entry


def _judges(source: Source, classes: ConfigClasses) -> dict[str, Judge]:
    """Which config field each `self.<argument>` is handed to, from the calls in EngineArgs' methods."""
    judges: dict[str, Judge] = {}
    engine_args = source.names(ARG_UTILS)["EngineArgs"]
    for call in ast.walk(engine_args):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            continue
        config_class = classes.define(ARG_UTILS, call.func.id)
        if config_class is None:
            continue
        for keyword in call.keywords:
            name = _self_attribute(keyword.value)
            if name and keyword.arg and keyword.arg in classes.fields(config_class):
                judges.setdefault(name, Judge(config_class, keyword.arg))
    return judges


def _spread(source: Source, classes: ConfigClasses) -> dict[str, str]:
    """Arguments that are a mapping of one config class's fields: `Class(**self.<argument>)`."""
    spread: dict[str, str] = {}
    engine_args = source.names(ARG_UTILS)["EngineArgs"]
    assert isinstance(engine_args, ast.ClassDef)
    for method in (m for m in engine_args.body if isinstance(m, ast.FunctionDef)):
        aliases = {
            target.id: name
            for node in ast.walk(method)
            if isinstance(node, ast.Assign) and (name := _self_attribute(node.value))
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call in ast.walk(method):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                config_class = classes.define(ARG_UTILS, call.func.id)
                for keyword in call.keywords if config_class else []:
                    if keyword.arg is None:
                        value = keyword.value
                        alias = aliases.get(value.id) if isinstance(value, ast.Name) else None
                        name = _self_attribute(value) or alias
                        if name and config_class:
                            spread[name] = config_class
    return spread


def _origin(classes: ConfigClasses, node: ast.expr | None) -> Judge | None:
    """The config field that an argument's default is taken from."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        owner, field_name = node.value.id, node.attr
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "get_field":
        owner = getattr(node.args[0], "id", "")
        field_name = ast.literal_eval(node.args[1])
    else:
        return None
    config_class = classes.define(ARG_UTILS, owner)
    if config_class is None or field_name not in classes.fields(config_class):
        return None
    return Judge(config_class, field_name)


def _field(classes: ConfigClasses, judge: Judge | None) -> ConfigField | None:
    return classes.fields(judge.config_class).get(judge.field) if judge else None


def _nested(classes: ConfigClasses, arguments: dict[str, Any]) -> dict[str, Any]:
    """The config classes that arguments refer to, and those that these refer to."""
    nested: dict[str, Any] = {}
    pending = sorted({name for entry in arguments.values() for name in class_names(entry["type"])})
    while pending:
        name = pending.pop(0)
        if name in nested:
            continue
        nested[name] = {}
        for config_field in classes.fields(name).values():
            field_type = _with_none(config_field.type, config_field.nullable)
            if name in COMMA_LISTS or config_field.name in TEXT_TOO.get(name, ()):
                field_type = f"str | {field_type}"
            entry: dict[str, Any] = {"type": field_type}
            if config_field.default is not UNKNOWN:
                entry["default"] = config_field.default
            _enum_by_value(classes, entry, config_field.fold == "upper")
            entry |= dict(sorted(config_field.bounds.items()))
            if config_field.fold:
                entry["fold"] = config_field.fold
            nested[name][config_field.name] = entry
            pending += [n for n in class_names(field_type) if n not in nested]
    return dict(sorted(nested.items()))


def _enum_by_value(classes: ConfigClasses, entry: dict[str, Any], by_name: bool) -> None:
    """Without a lookup by name pydantic takes a member's value only; with one a number still is a value."""
    for text, values in classes.annotations.enums.items():
        if text not in entry["type"] or not values:
            continue
        if by_name:
            numbers = [repr(value) for value in values.values() if isinstance(value, int)]
            entry["type"] = entry["type"].replace(text, ", ".join([text[:-1], *numbers]) + "]")
            continue
        entry["type"] = entry["type"].replace(text, f"Literal[{', '.join(map(repr, values.values()))}]")
        if "default" in entry:
            entry["default"] = values.get(str(entry["default"]), entry["default"])


def class_names(type_text: str) -> list[str]:
    """The config classes that a type in our notation refers to."""
    known = {"Literal", "Enum", "Any", "None"}
    return [
        node.id
        for node in ast.walk(ast.parse(type_text, mode="eval"))
        if isinstance(node, ast.Name) and node.id[0].isupper() and node.id not in known
    ]


def _self_attribute(node: ast.expr) -> str | None:
    """`self.x`, also as `self.x if ... else ...` and `self.x or ...`."""
    for part in [node, *(getattr(node, "values", None) or []), getattr(node, "body", None)]:
        if isinstance(part, ast.Attribute) and getattr(part.value, "id", "") == "self":
            return part.attr
    return None


def _allows_none(type_text: str) -> bool:
    return type_text == "Any" or type_text.split(" | ")[-1] == "None"


def _with_none(type_text: str, nullable: bool) -> str:
    return type_text if not nullable or _allows_none(type_text) else f"{type_text} | None"


def _without_str(type_text: str) -> str:
    """The type less its bare `str` member, where literals say which strings there are."""
    if "Literal[" not in type_text:
        return type_text
    return re.sub(r"^str \| | \| str(?= \||$)", "", type_text)


def _following_text(body: list[ast.stmt], index: int) -> str:
    following = body[index + 1] if index + 1 < len(body) else None
    if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
        return first_sentence(str(following.value.value))
    return ""
