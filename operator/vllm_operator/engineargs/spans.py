"""From when to when vLLM knows a name, from the generated tables: `since` is the first version that has it,
`removed` the first without it. Tables begin with vLLM 0.13, so an older `since` is not known.
"""

from collections.abc import Mapping

Span = Mapping[str, str]


def key(minor: str) -> tuple[int, ...]:
    """A minor version as something that compares: `0.9` is below `0.24`."""
    return tuple(int(number) for number in minor.split("."))


def at_least(minor: str, first: str) -> bool:
    """Whether `minor` is `first` or newer."""
    return key(minor) >= key(first)


def holds(span: Span, minor: str) -> bool:
    """Whether the name is there in `minor`."""
    return not is_later(span, minor) and not is_gone(span, minor)


def is_gone(span: Span, minor: str) -> bool:
    """Whether the name was removed in `minor` or before."""
    return "removed" in span and at_least(minor, span["removed"])


def is_later(span: Span, minor: str) -> bool:
    """Whether the name came only after `minor`."""
    return "since" in span and not at_least(minor, span["since"])
