"""When engine arguments, keys below them, choices, flags, variables and registered names came and went."""

import ast
from collections.abc import Mapping
from typing import Any

from engineschemas.spans import spans


def history(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The record of arguments, of the keys of config classes and of choices.

    `documents` maps each minor version, oldest first, to what `describe` says of it. Names that are the
    same in every version are left out; so are keys of a class that itself came later, and choices of an
    argument that did.
    """
    names = {minor: list(document["arguments"]) for minor, document in documents.items()}
    arguments: dict[str, dict[str, Any]] = {name: dict(span) for name, span in spans(names).items()}
    for name, moved in _defaults(documents).items():
        arguments[name]["defaults"] = moved
    return {
        "versions": list(documents),
        "arguments": {name: entry for name, entry in arguments.items() if entry},
        "keys": _keys(documents),
        "choices": _choices(documents),
    }


def _defaults(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    moved: dict[str, dict[str, Any]] = {}
    before: dict[str, Any] = {}
    for minor, document in documents.items():
        for name, entry in document["arguments"].items():
            if "default" in entry and name in before and before[name] != entry["default"]:
                moved.setdefault(name, {})[minor] = entry["default"]
        before = {n: e["default"] for n, e in document["arguments"].items() if "default" in e}
    return moved


def _keys(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """`Class.field` to its span, over the versions that have the class."""
    found: dict[str, dict[str, str]] = {}
    for name in sorted({name for document in documents.values() for name in document["classes"]}):
        fields = {m: list(d["classes"][name]) for m, d in documents.items() if name in d["classes"]}
        found |= {f"{name}.{key}": dict(span) for key, span in spans(fields).items() if span}
    return found


def _choices(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, dict[str, str]]]:
    """Argument or `Class.field` to its choices that came or went, over the versions that list choices."""
    listed: dict[str, dict[str, list[str]]] = {}
    for minor, document in documents.items():
        for path, entry in _entries(document):
            if choices := choices_of(entry["type"]):
                listed.setdefault(path, {})[minor] = choices
    found = {
        path: {choice: dict(span) for choice, span in spans(versions).items() if span}
        for path, versions in listed.items()
    }
    return {path: choices for path, choices in sorted(found.items()) if choices}


def _entries(document: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    entries = list(document["arguments"].items())
    for name, fields in document["classes"].items():
        entries += [(f"{name}.{field}", entry) for field, entry in fields.items()]
    return entries


def choices_of(type_text: str) -> list[str]:
    """The texts that a type in our notation lists."""
    values: list[str] = []
    for node in ast.walk(ast.parse(type_text, mode="eval")):
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") in ("Literal", "Enum"):
            items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            values += [
                str(i.value) for i in items if isinstance(i, ast.Constant) and isinstance(i.value, str)
            ]
    return values
