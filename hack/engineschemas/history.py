"""When names of engine arguments came and went, from the names of each minor version."""

from collections.abc import Mapping, Sequence
from typing import Any


def history(names: Mapping[str, Sequence[str]], defaults: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """For each name the first and the last minor version that has it, and where its default moved.

    `names` is ordered by version. A name that the first version has already has no `since`, one that
    the newest still has no `removed`; `removed` is the first version without it.
    """
    versions = list(names)
    result: dict[str, Any] = {}
    for name in sorted({n for version in versions for n in names[version]}):
        present = [name in names[version] for version in versions]
        first = present.index(True)
        last = len(present) - 1 - present[::-1].index(True)
        entry: dict[str, Any] = {}
        if first > 0:
            entry["since"] = versions[first]
        if last < len(versions) - 1:
            entry["removed"] = versions[last + 1]
        moved = {
            version: defaults[version][name]
            for previous, version in zip(versions[first:last], versions[first + 1 : last + 1], strict=True)
            if name in defaults[version]
            and name in defaults[previous]
            and defaults[version][name] != defaults[previous][name]
        }
        if moved:
            entry["defaults"] = moved
        if entry:
            result[name] = entry
    return {"versions": versions, "arguments": result}
