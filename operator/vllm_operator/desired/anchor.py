"""Which stored revisions the operator wrote. Pure.

A ControllerRevision can be written by whoever may write ControllerRevisions, `status.revisions` only by the
operator: nobody else has a right on the status. It lists each revision with the hash of what was written.
What is not listed, or hashes otherwise, is not used.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from vllm_operator.api.meta import GROUP
from vllm_operator.api.v1alpha1 import ModelIdentity
from vllm_operator.desired import policy
from vllm_operator.desired.metadata import canonical, is_owned
from vllm_operator.desired.revision import SETTINGS_ANNOTATION, Revision, RevisionUnreadable
from vllm_operator.settings import Settings

#: The settings before the last change of them. A crash between that change and the status leaves the hash of
#: the old settings listed: with them at hand the data can still be vouched for.
PREVIOUS_ANNOTATION: Final = f"{GROUP}/previous-settings"
#: As many as the status takes.
MAX_LISTED: Final = 64
#: Of strangers no greater number is believed; the API takes 64 bits.
_MAX_NUMBER: Final = 2**31

Object = Mapping[str, Any]
#: Entries of `status.revisions`: name and sha256.
Listing = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Trusted:
    """The newest revision that the operator wrote, and what else is stored."""

    revision: Revision | None = None
    number: int = 0
    hashes: Mapping[str, str] = field(default_factory=dict)
    """Every revision that can be vouched for, by name, with the hash that says so."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Their settings, as text."""
    revisions: Mapping[str, Revision] = field(default_factory=dict)
    """Those of them that can be read."""
    listed: frozenset[str] = frozenset()
    """Names in the status."""
    strangers: tuple[Object, ...] = ()
    """Stored revisions that cannot be vouched for."""


def sha256(obj: Object) -> str:
    """The hash of a ControllerRevision's data and settings: 64 hexadecimal digits, whatever it holds."""
    return _hash(obj.get("data"), _annotation(obj, SETTINGS_ANNOTATION))


def trusted(
    stored: Iterable[Object], identity: ModelIdentity, settings: Settings, written: Listing = ()
) -> Trusted:
    """What of the model's ControllerRevisions may be used.

    `written` is the list that this process wrote last, of which the status is not known to have it.
    A status from before `status.revisions` vouches by name for the revisions that it says are used, if their
    image is the one that it names or one of the administrator's.
    """
    keeps_lists = any(part in identity.status for part in _OF_LISTS)
    listed = _digests(identity.status.get("revisions") or ()), _digests(written)
    objects = sorted((obj for obj in stored if is_owned(obj, identity)), key=_number, reverse=True)
    number = 0
    hashes: dict[str, str] = {}
    texts: dict[str, str] = {}
    revisions: dict[str, Revision] = {}
    strangers: list[Object] = []
    for obj in objects:
        name = str(obj["metadata"]["name"])
        vouched = _by_hash(obj, {digests[name] for digests in listed if name in digests})
        if not keeps_lists and _by_name(obj, identity, settings):
            vouched = obj
        if vouched is None:
            strangers.append(obj)
            continue
        hashes[name], texts[name] = sha256(vouched), _annotation(vouched, SETTINGS_ANNOTATION)
        # One that this version cannot read was written by another; an older one is better than none.
        with suppress(RevisionUnreadable):
            revision = Revision.from_object(vouched)
            number = number if revisions else _number(obj)
            revisions[name] = revision
    newest = next(iter(revisions.values()), None)
    return Trusted(newest, number, hashes, texts, revisions, frozenset().union(*listed), tuple(strangers))


def to_object(revision: Revision, identity: ModelIdentity, known: Trusted) -> dict[str, Any]:
    """The ControllerRevision to apply: with the settings that the status still lists where they change."""
    obj = revision.to_object(identity, _next_number(revision, identity, known))
    annotations = obj["metadata"]["annotations"]
    before = known.settings.get(obj["metadata"]["name"])
    if before not in (None, annotations[SETTINGS_ANNOTATION]):
        annotations[PREVIOUS_ANNOTATION] = before
    return obj


def _next_number(revision: Revision, identity: ModelIdentity, known: Trusted) -> int:
    """Above all others that are stored, so that what a crash left unlisted is older than what came next."""
    if known.revision is not None and revision.hash == known.revision.hash:
        return known.number
    name = revision.name(identity.name)
    others = (_number(obj) for obj in known.strangers if obj["metadata"]["name"] != name)
    # A stranger may have any number, and there is a largest one.
    return 1 + max((known.number, *(number for number in others if number < _MAX_NUMBER)))


def listing(stored: Iterable[Object], known: Trusted, desired: Object | None) -> list[dict[str, str]]:
    """`status.revisions`: of what is stored now, what was vouched for and what was just written."""
    written = {desired["metadata"]["name"]: sha256(desired)} if desired else {}
    found: list[dict[str, str]] = []
    for obj in sorted(stored, key=_number, reverse=True):
        name = obj["metadata"]["name"]
        digest = written[name] if written.get(name) == sha256(obj) else known.hashes.get(name)
        if digest:
            found.append({"name": name, "sha256": digest})
    return found[:MAX_LISTED]


def warnings(known: Trusted, desired: Object | None) -> Iterator[str]:
    """What to say of stored revisions that somebody else wrote and that look like ours."""
    wanted = desired["metadata"]["name"] if desired else ""
    newest = _number(desired) if desired and known.revision else 0
    for obj in known.strangers:
        name = obj["metadata"]["name"]
        if name == wanted and desired and sha256(obj) == sha256(desired):
            continue  # just written; a crash came before the status
        if name != wanted and name not in known.listed and _number(obj) < newest:
            continue  # history: of an operator that kept no list, or that ended before it wrote one
        yield (
            f"ControllerRevision {name} is not used, as `status.revisions` does not list it like this: "
            "somebody else wrote it, or the operator ended while it did; find out who, and delete it"
        )


#: A status with any of these is of a version that keeps lists, also where there is nothing to list: by names
#: it vouches for nothing. The first is in each status that such a version writes.
_OF_LISTS: Final = ("servingPods", "revisions")


def _digests(listing: Listing) -> Mapping[str, str]:
    return {str(entry["name"]): str(entry["sha256"]) for entry in listing}


def _by_hash(obj: Object, digests: Collection[str]) -> Object | None:
    """The object as it was written, None if its data are others."""
    for name in (SETTINGS_ANNOTATION, PREVIOUS_ANNOTATION) if digests else ():
        text = _annotation(obj, name)
        if _hash(obj.get("data"), text) in digests:
            metadata = {**obj["metadata"], "annotations": {SETTINGS_ANNOTATION: text}}
            return {**obj, "metadata": metadata}
    return None


def _by_name(obj: Object, identity: ModelIdentity, settings: Settings) -> bool:
    """Whether an old status names it, and it is what its name says."""
    name, status = obj["metadata"]["name"], identity.status
    if name not in (status.get("updateRevision"), status.get("currentRevision")):
        return False
    try:
        revision = Revision.from_object(obj)
    except RevisionUnreadable:
        return False
    if revision.name(identity.name) != name:
        return False
    ran = (status.get("runtime") or {}).get("image")
    return all(image == ran or policy.image_allowed(image, settings) for image in _images(revision))


def _images(revision: Revision) -> Iterator[str]:
    """The images that the pods of a revision run, read out of their template."""
    pod = revision.pod_template.get("spec") or {}
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        yield from (str(container.get("image")) for container in pod.get(kind) or ())


def _annotation(obj: Object, name: str) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(name, ""))


def _number(obj: Object) -> int:
    return int(obj.get("revision", 0))


def _hash(data: Any, settings: str) -> str:
    try:
        text = json.dumps([canonical(data), settings], sort_keys=True, separators=(",", ":"))
    except RecursionError:
        return ""  # deeper than anything that the operator writes: no hash that is listed
    return hashlib.sha256(text.encode()).hexdigest()
