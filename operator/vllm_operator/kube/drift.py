"""Does a live object still say what we applied? Decided from the object alone, so a restart writes nothing.

Three questions: is every value we want there, is each of these fields still recorded as ours (else somebody
edited an atomic map or list), and is every field recorded as ours still one we want (else an apply must
remove it). What others set beside it is not compared. `owned` below is a node of the server's own record,
metadata.managedFields[].fieldsV1: an empty node under a map or list means that this is one atomic value.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

Fields = Mapping[str, Any]

_ATOMIC: Final[Fields] = {}
#: The parts of metadata that a field manager owns.
_OWNABLE_METADATA = ("labels", "annotations", "ownerReferences", "finalizers")
#: Where strings are Kubernetes quantities, which the server rewrites ("1000m" comes back as "1").
_QUANTITY_PARENTS = frozenset({"limits", "requests"})
_QUANTITY_KEYS = frozenset({"sizeLimit"})
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([KMGTPE]i|[numkMGTPE]))?")
_DECIMAL = {letter: Decimal(10) ** power for letter, power in zip("num", (-9, -6, -3), strict=True)} | {
    letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)
}
_BINARY = {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)}
_SUFFIXES = _DECIMAL | _BINARY


def difference(desired: Mapping[str, Any], live: Mapping[str, Any], manager: str) -> str | None:
    """The first path where `live` is not what `manager` should have made of it, or None."""
    entries = owned_entries(live, manager)
    owned: Fields = {}
    for entry in entries:
        owned = merge_fields(owned, entry.get("fieldsV1") or {})
    # What a POST is recorded to own includes the server's defaults, so it says nothing about surplus.
    exact = all(entry["operation"] == "Apply" for entry in entries)
    wanted = {key: value for key, value in desired.items() if key not in ("apiVersion", "kind")}
    metadata = wanted.pop("metadata")
    if ownable := {key: metadata[key] for key in _OWNABLE_METADATA if key in metadata}:
        wanted["metadata"] = ownable
    return next(_compare(wanted, live, owned or {"f:none": {}}, "", exact=exact), None)


def owned_entries(live: Mapping[str, Any], manager: str) -> list[Mapping[str, Any]]:
    """The server's records of what this manager set."""
    fields = live["metadata"].get("managedFields") or ()
    return [entry for entry in fields if entry.get("manager") == manager]


def merge_fields(one: Fields, other: Fields) -> Fields:
    """The union of two fieldsV1 trees."""
    return {key: merge_fields(one.get(key, {}), other.get(key, {})) for key in {**one, **other}}


def _compare(
    wanted: Any, live: Any, owned: Fields, path: str, *, exact: bool, quantity: bool = False
) -> Iterator[str]:
    if isinstance(wanted, Mapping):
        yield from _compare_maps(wanted, live, owned, path, exact=exact)
    elif isinstance(wanted, list | tuple):
        yield from _compare_lists(wanted, live, owned, path, exact=exact)
    elif not _same_scalar(wanted, live, quantity):
        yield path


def _compare_maps(
    wanted: Mapping[str, Any], live: Any, owned: Fields, path: str, *, exact: bool
) -> Iterator[str]:
    if not isinstance(live, Mapping):
        # The server drops empty members, so an empty wish is met by nothing.
        if wanted:
            yield path
        return
    atomic = not owned
    parent_is_quantities = path.rpartition(".")[2] in _QUANTITY_PARENTS
    for key, value in wanted.items():
        below = _ATOMIC if atomic else owned.get(f"f:{key}")
        if below is None:
            if value or live.get(key):
                yield f"{path}.{key}"
            continue
        quantity = parent_is_quantities or key in _QUANTITY_KEYS
        yield from _compare(value, live.get(key), below, f"{path}.{key}", exact=exact, quantity=quantity)
    if atomic and wanted:
        yield from (f"{path}.{key}" for key in live if key not in wanted)
    elif exact:
        yield from (f"{path}.{key[2:]}" for key in owned if key.startswith("f:") and key[2:] not in wanted)


def _compare_lists(
    wanted: Sequence[Any], live: Any, owned: Fields, path: str, *, exact: bool
) -> Iterator[str]:
    if not isinstance(live, list | tuple):
        if wanted:
            yield path
        return
    if not owned:
        if len(wanted) != len(live):
            yield path
            return
        for index, (mine, theirs) in enumerate(zip(wanted, live, strict=True)):
            yield from _compare(mine, theirs, _ATOMIC, f"{path}[{index}]", exact=exact)
        return
    met = set()
    for mine in wanted:
        key = _owned_key(mine, owned)
        met.add(key)
        if key is None:
            yield f"{path}[{json.dumps(mine)[:40]}]"
        elif key.startswith("v:"):
            if mine not in live:
                yield f"{path}[{key[2:]}]"
        else:
            fields = json.loads(key[2:])
            theirs = next((item for item in live if fields.items() <= item.items()), None)
            yield from _compare(mine, theirs, owned[key], f"{path}[{key[2:]}]", exact=exact)
    if exact:
        yield from (f"{path}[{key[2:]}]" for key in owned if key[:2] in ("k:", "v:") and key not in met)


def _owned_key(mine: Any, owned: Fields) -> str | None:
    """The key in fieldsV1 of a member of a set, or of a list that is a map (a key not given matches)."""
    for key in owned:
        if key.startswith("v:") and json.loads(key[2:]) == mine:
            return key
        if key.startswith("k:") and isinstance(mine, Mapping):
            fields = json.loads(key[2:])
            if all(mine.get(name, value) == value for name, value in fields.items()):
                return key
    return None


def _same_scalar(wanted: Any, live: Any, quantity: bool) -> bool:
    if live is None:
        return not wanted  # False, 0 and "" are left out by the server
    if quantity and (left := _quantity(wanted)) is not None:
        return left == _quantity(live)
    return bool(wanted == live)


def _quantity(text: Any) -> Decimal | None:
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        return None
    number, exponent, suffix = match.groups()
    return Decimal(number + (exponent or "")) * _SUFFIXES.get(suffix, Decimal(1))
