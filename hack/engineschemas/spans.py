"""From when to when a name was there, from the names of each minor version."""

from collections.abc import Collection, Mapping

Span = dict[str, str]


def spans(names: Mapping[str, Collection[str]]) -> dict[str, Span]:
    """For each name `since`, the first version that has it, and `removed`, the first without it.

    `names` is ordered by version. A name that the first version has already has no `since`, one that the
    newest still has no `removed`.
    """
    versions = list(names)
    found: dict[str, Span] = {}
    for name in sorted({name for version in versions for name in names[version]}):
        present = [version for version in versions if name in names[version]]
        span: Span = {}
        if present[0] != versions[0]:
            span["since"] = present[0]
        if present[-1] != versions[-1]:
            span["removed"] = versions[versions.index(present[-1]) + 1]
        found[name] = span
    return found
