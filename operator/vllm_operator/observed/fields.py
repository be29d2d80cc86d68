"""Reading objects that others wrote: whatever is missing, or is not what it should be, reads as nothing.

A hand edit, another controller or a forged status can put anything into what the operator observes. None of
these raises, so that no object of one model can keep that model's status from being written.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

#: Beyond this no count of Kubernetes goes.
_MAX_INT64: Final = 2**63 - 1


def value(obj: Any, *path: str) -> Any:
    """What is at `path`, None if there is nothing."""
    for key in path:
        if not isinstance(obj, Mapping):
            return None
        obj = obj.get(key)
    return obj


def mapping(obj: Any, *path: str) -> Mapping[str, Any]:
    """The object at `path`, empty if there is none."""
    found = value(obj, *path)
    return found if isinstance(found, Mapping) else {}


def items(obj: Any, *path: str) -> Iterator[Mapping[str, Any]]:
    """The objects in the list at `path`; members that are something else are passed over."""
    found = value(obj, *path)
    if isinstance(found, list | tuple):
        yield from (item for item in found if isinstance(item, Mapping))


def texts(obj: Any, *path: str) -> Iterator[str]:
    """The strings in the list at `path`."""
    found = value(obj, *path)
    if isinstance(found, list | tuple):
        yield from (item for item in found if isinstance(item, str))


def text(obj: Any, *path: str) -> str:
    """The string at `path`, empty if there is none."""
    found = value(obj, *path)
    return found if isinstance(found, str) else ""


def number(obj: Any, *path: str, default: int = 0) -> int:
    """The whole number at `path`, which may be written as a string, as in annotations."""
    found = value(obj, *path)
    if isinstance(found, str):
        found = int(found) if found.isascii() and found.isdigit() and len(found) < 19 else default
    usable = isinstance(found, int) and not isinstance(found, bool) and abs(found) <= _MAX_INT64
    return found if usable else default


def when(obj: Any, *path: str) -> datetime | None:
    """The time at `path` in UTC; None too where it is so far away that no sum could be made with it."""
    try:
        found = datetime.fromisoformat(text(obj, *path))
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if 1970 <= found.year < 9000 else None


def condition(obj: Any, kind: str) -> Mapping[str, Any]:
    """One of `status.conditions`, empty if there is none of that type."""
    return next((found for found in items(obj, "status", "conditions") if found.get("type") == kind), {})


def name(obj: Any) -> str:
    """`metadata.name`."""
    return text(obj, "metadata", "name")


def config_map(pod_spec: Any, volume: str) -> str:
    """Name of the ConfigMap behind a volume of a pod's spec, empty if there is none."""
    found = next((item for item in items(pod_spec, "volumes") if item.get("name") == volume), {})
    return text(found, "configMap", "name")
