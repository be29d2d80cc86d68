"""Sorts engine arguments into free, needs permission and never, by the reviewed lists of classes.toml."""

import tomllib
from pathlib import Path
from typing import Any

LISTS = Path(__file__).parent / "classes.toml"


def classify(document: dict[str, Any], lists: Path = LISTS) -> list[str]:
    """Write each argument's class into the document; names nobody has reviewed are returned.

    An argument of no list, a new version's for instance, needs permission.
    """
    reviewed = tomllib.loads(lists.read_text(encoding="utf-8"))
    never, permission = reviewed["never"], set(reviewed["permission"])
    free = set(reviewed["free"])
    unreviewed = []
    for path, entry in _entries(document):
        if path in never:
            entry["class"] = "never"
            if never[path]:
                entry["use"] = never[path]
        elif path in free:
            continue  # free is the default and is not written
        else:
            entry["class"] = "permission"
            if path not in permission:
                unreviewed.append(path)
    return unreviewed


def _entries(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    entries = list(document["arguments"].items())
    for name, fields in document["classes"].items():
        entries += [(f"{name}.{field}", entry) for field, entry in fields.items()]
    return entries
