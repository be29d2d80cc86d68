"""Judges one JSON value by a type of the generated files, with the coercions that vLLM itself makes.

vLLM's config classes are pydantic classes in lax mode, so pydantic is the judge here too: "0.3" is a
float and "true" a boolean for an argument that a config class takes. An argument that none takes
(`unjudged` in the file) is used by vLLM as it is, where "false" would be true: there types are exact.
"""

import ast
import json
from collections.abc import Callable, Mapping
from functools import cache
from math import isfinite
from typing import Annotated, Any, Literal, Union

from pydantic import Field, PlainValidator, TypeAdapter, ValidationError

from vllm_operator.engineargs.explain import hint
from vllm_operator.engineargs.likeness import nearest_value

BOUNDS = ("ge", "gt", "le", "lt")
_PLAIN: Mapping[str, Any] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "Any": Any,
    "dict": dict[str, Any],
    "list": list[Any],
    "set": set[Any],
    "tuple": tuple[Any, ...],
}
_WORDS: Mapping[str, str] = {
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "dict": "a mapping",
    "list": "a list",
    "set": "a list",
    "tuple": "a list",
    "None": "null",
}


class Refused(Exception):
    """The value is not of the type; the message completes "must be ..."."""


@cache
def members(type_text: str) -> tuple[str, ...]:
    """The members of a union, as text."""
    node = ast.parse(type_text, mode="eval").body
    parts: list[str] = []
    while isinstance(node, ast.BinOp):
        parts.append(ast.unparse(node.right))
        node = node.left
    return (ast.unparse(node), *reversed(parts))


def class_member(type_text: str, classes: Mapping[str, Any]) -> str | None:
    """The config class that a mapping given for this type is judged by."""
    return next((member for member in members(type_text) if member in classes), None)


def coerce(value: Any, entry: Mapping[str, Any], classes: Mapping[str, Any], name: str = "") -> Any:
    """The value as vLLM would hold it; raises Refused. `name` is for the remedy only."""
    type_text = entry["type"]
    fold = entry.get("fold")
    limits = tuple((bound, entry[bound]) for bound in BOUNDS if bound in entry)
    plain = " | ".join(m for m in members(type_text) if m not in classes)
    if not plain or plain == "None":
        if value is None and plain:
            return None
        raise Refused(f"a mapping{_or_null(plain)}, not {shown(value)}{hint(value, 'dict', name)}")
    adapter = _adapter(plain, fold, limits, bool(entry.get("unjudged")))
    try:
        return adapter.validate_python(_folded(value, fold))
    except ValidationError as error:
        raise Refused(_explain(value, plain, entry, error, name)) from None


@cache
def _adapter(
    type_text: str, fold: str | None, limits: tuple[tuple[str, float], ...], exact: bool
) -> TypeAdapter[Any]:
    built = _build(ast.parse(type_text, mode="eval").body, fold)
    if limits:
        built = _bounded(built, dict(limits))
    return TypeAdapter(built, config={"strict": True} if exact else {})


def _bounded(built: Any, limits: dict[str, Any]) -> Any:
    """Bounds hold for the numbers of a union, not for its None or its words."""
    parts = getattr(built, "__args__", None)
    if parts and getattr(built, "__origin__", None) is Union:
        return Union[tuple(_bounded(part, limits) for part in parts)]  # noqa: UP007
    return Annotated[built, Field(**limits)] if built in (int, float) else built


def _build(node: ast.expr, fold: str | None) -> Any:
    if isinstance(node, ast.Constant) and node.value is None:
        return None
    if isinstance(node, ast.BinOp):
        return Union[_build(node.left, fold), _build(node.right, fold)]  # noqa: UP007
    if isinstance(node, ast.Name):
        return _PLAIN.get(node.id, dict[str, Any])
    if not isinstance(node, ast.Subscript) or not isinstance(node.value, ast.Name):
        return Any
    name = node.value.id
    items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Literal":
        return Literal[tuple(ast.literal_eval(item) for item in items)]
    if name == "Enum":
        return Annotated[Any, PlainValidator(_one_of([ast.literal_eval(item) for item in items], fold))]
    inner = tuple(_build(item, fold) for item in items)
    container = {"list": list, "set": set, "dict": dict, "tuple": tuple}[name]
    return container[inner if len(inner) > 1 else inner[0]]  # type: ignore[index]


def _one_of(allowed: list[Any], fold: str | None) -> Callable[[Any], Any]:
    def judge(value: Any) -> Any:
        folded = value.upper() if fold == "upper" and isinstance(value, str) else value
        if isinstance(value, bool) or folded not in allowed:
            raise ValueError("not a member")
        return folded

    return judge


def _folded(value: Any, fold: str | None) -> Any:
    if isinstance(value, str) and fold in ("lower", "lower_underscore"):
        lowered = value.lower()
        return lowered.replace("-", "_") if fold == "lower_underscore" else lowered
    return value


def _explain(value: Any, type_text: str, entry: Mapping[str, Any], error: ValidationError, name: str) -> str:
    kinds = {detail["type"] for detail in error.errors(include_url=False, include_context=False)}
    number = isinstance(value, int | float) and not isinstance(value, bool)
    limited = kinds & {"greater_than_equal", "greater_than", "less_than_equal", "less_than"}
    if limited and (number or isinstance(value, str)):
        if value != value:
            return f"a number {_range(entry)}, not {shown(value)}: JSON has no such number"
        share = number and entry.get("le") == 1 and 2 <= value <= 100
        return f"{_range(entry)}, not {shown(value)}{f'; write {value / 100:g}' if share else ''}"
    choices = choices_of(type_text)
    if choices and not isinstance(value, dict | list):
        return _explain_choice(value, type_text, choices)
    details = error.errors(include_url=False, include_context=False)
    if isinstance(value, dict) and (told := _explain_below(value, type_text, [d["loc"] for d in details])):
        return told
    location = [str(part) for part in details[0]["loc"]]
    where = f" (item {location[-1]})" if isinstance(value, list) and location else ""
    return f"{describe(type_text)}, not {shown(value)}{where}{hint(value, type_text, name)}"


def _explain_below(value: Any, type_text: str, places: list[tuple[int | str, ...]]) -> str:
    """For a mapping: which of its values is none that its type takes, empty where the type names none."""
    best: list[str] = []
    for place in places:
        path: list[str] = []
        inner = value
        for part in place:
            if isinstance(inner, dict) and part in inner:
                path.append(str(part))
                inner = inner[part]
        best = max(best, path, key=len)
    wanted, inner = type_text, value
    for key in best:
        found = next((m for m in members(wanted) if m.startswith("dict[")), None)
        if found is None:
            return ""
        wanted, inner = found.removesuffix("]").partition(", ")[2], inner[key]
    if not best:
        return ""
    where = shown(".".join(best))
    return f"a mapping with {describe(wanted)} for {where}, not {shown(inner)}{hint(inner, wanted)}"


def _explain_choice(value: Any, type_text: str, choices: list[Any]) -> str:
    meant = nearest_value(str(value), [choice for choice in choices if isinstance(choice, str)])
    listed = _listed(choices)
    others = [m for m in members(type_text) if not m.startswith(("Literal[", "Enum["))]
    also = f" or {describe(' | '.join(others))}" if others else ""
    remedy = f"; did you mean '{meant}'?" if meant else hint(value, type_text)
    return f"one of {listed}{also}, not {shown(value)}{remedy}"


def choices_of(type_text: str) -> list[Any]:
    """The values that a type lists, empty where it lists none at its top."""
    values: list[Any] = []
    for member in members(type_text):
        if member.startswith(("Literal[", "Enum[")):
            node = ast.parse(member, mode="eval").body
            assert isinstance(node, ast.Subscript)
            items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            values += [ast.literal_eval(item) for item in items]
    return values


def describe(type_text: str) -> str:
    """The type in words: `an integer or null`."""
    words = []
    for member in members(type_text):
        if member.startswith(("Literal[", "Enum[")):
            words.append(f"one of {_listed(choices_of(member))}")
        elif member.startswith("list[") or member.startswith("set["):
            words.append("a list of " + _plural(member[member.index("[") + 1 : -1]))
        elif member.startswith(("dict[", "tuple[")):
            words.append(_WORDS[member.split("[")[0]])
        else:
            words.append(_WORDS.get(member, "a mapping"))
    return " or ".join(dict.fromkeys(words))


def _listed(choices: list[Any]) -> str:
    """All choices, or the first of many."""
    if len(choices) > 12:
        return ", ".join(f"'{c}'" for c in choices[:8]) + f" or another of vLLM's {len(choices)}"
    return ", ".join(f"'{c}'" if isinstance(c, str) else str(c) for c in choices)


def _plural(type_text: str) -> str:
    plurals = {"int": "integers", "float": "numbers", "str": "texts", "bool": "booleans"}
    return " or ".join(plurals.get(member, "values") for member in members(type_text))


def _range(entry: Mapping[str, Any]) -> str:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return " and ".join(f"{words[bound]} {entry[bound]}" for bound in BOUNDS if bound in entry)


def _or_null(plain: str) -> str:
    return " or null" if plain == "None" else ""


def name(path: str) -> str:
    """The name of an argument as the user wrote it, fit for a sentence."""
    return shown(path).strip("'")


def shown(value: Any) -> str:
    """A value as the user wrote it, on one line and short."""
    if isinstance(value, float) and not isfinite(value):
        return f".{value}"
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= 60 else text[:57] + "..."
