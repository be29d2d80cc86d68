"""The last seen version of every VLLMModel and every child, filled by watches, lists and our own writes."""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from vllm_operator.api.meta import KIND, MODEL_LABEL
from vllm_operator.observed.packing import Packed, Packer, unpack
from vllm_operator.observed.projection import identity, project
from vllm_operator.observed.state import Object, ObservedState, ProbeResult

#: Longer than any request or retry of it may take.
_TOMBSTONE_SECONDS = 300.0
#: Of one child, compressed. What the operator makes of a spec has 64 KiB of arguments and little beside them:
#: a larger child was made by somebody else, who must not fill the memory.
_MOST_BYTES = 256 * 2**10
_TEMPLATE_HASH_LABEL = "pod-template-hash"


class Key(NamedTuple):
    """One VLLMModel: what the queue, the store and the prober speak of."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class _Place(NamedTuple):
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class _Record:
    """What is known of one object without unpacking it."""

    key: Key
    uid: str
    version: int
    packed: Packed


class ObservedStore:
    """Newest wins, whichever of watch, list and our own write brings it: resourceVersions are compared."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._packer = Packer()
        self._records: defaultdict[tuple[str, str], dict[str, _Record]] = defaultdict(dict)
        """By kind and namespace, then by name."""
        self._children: defaultdict[Key, set[_Place]] = defaultdict(set)
        self._tombstones: dict[_Place, tuple[int, float]] = {}
        """Version and time of what was deleted, the oldest first."""

    def put(self, obj: Mapping[str, Any]) -> set[Key]:
        """Remember an object; returns the models for which it is news: two where it moved between them."""
        place, version = _place(obj), _version(obj)
        before = self._find(place)
        buried, _ = self._tombstones.get(place, (0, 0.0))
        if version <= max(before.version if before else 0, buried):
            return set()
        news = {_key(obj)}
        if before is not None:
            self._unlink(place, before)
            news.add(before.key)
        packed = self._packer.pack(project(obj))
        if len(packed.data) > _MOST_BYTES and place.kind != KIND:
            packed = self._packer.pack(identity(obj))
        record = _Record(_key(obj), obj["metadata"]["uid"], version, packed)
        self._records[place.kind, place.namespace][place.name] = record
        if place.kind != KIND:
            self._children[record.key].add(place)
        return news

    def discard(self, obj: Mapping[str, Any]) -> set[Key]:
        """Forget what the API server says is deleted; returns the models that it concerned.

        A tombstone stays for a while: an answer that was on its way meanwhile does not bring it back.
        """
        place = _place(obj)
        self._bury(place, _version(obj))
        return self.forget(obj)

    def forget(self, obj: Mapping[str, Any]) -> set[Key]:
        """Drop an object that may be another by now; whoever needs it asks the API server."""
        place = _place(obj)
        before = self._find(place)
        if before is None or before.uid != obj["metadata"]["uid"]:
            return set()
        self._remove(place, before)
        return {before.key}

    def rewind(self, kind: str, namespace: str | None) -> None:
        """The cluster went back in time (a backup of etcd): versions of before tell nothing of what is newer.

        What is known stays until a list replaces it; deletions of before are forgotten.
        """
        for where in [where for where in self._records if where[0] == kind and namespace in (None, where[1])]:
            for name, record in self._records[where].items():
                self._records[where][name] = replace(record, version=0)
        for place in [place for place in self._tombstones if place.kind == kind]:
            if namespace in (None, place.namespace):
                del self._tombstones[place]

    def doubt(self, obj: Mapping[str, Any]) -> set[Key]:
        """An object in a list that is older than what is known of it: drop both, the API server is asked.

        Either this process has written it since, or the cluster went back in time.
        """
        place, version = _place(obj), _version(obj)
        before = self._find(place)
        buried, _ = self._tombstones.get(place, (0, 0.0))
        if version >= max(before.version if before else 0, buried):
            return set()
        self._tombstones.pop(place, None)
        if before is not None:
            self._remove(place, before)
        return {_key(obj)}

    def forget_model(self, key: Key) -> None:
        """Drop a VLLMModel of which no list tells any more; its reconcile asks the API server."""
        place = _Place(KIND, key.namespace, key.name)
        if (before := self._find(place)) is not None:
            self._remove(place, before)

    def retain(
        self, kind: str, namespace: str | None, listed: Collection[tuple[str, str]], version: str
    ) -> set[Key]:
        """After a complete list (of namespaces and names) was put: forget what is not in it and not newer."""
        news: set[Key] = set()
        for where in [where for where in self._records if where[0] == kind and namespace in (None, where[1])]:
            for name, record in list(self._records[where].items()):
                if (where[1], name) not in listed and record.version <= int(version):
                    place = _Place(kind, where[1], name)
                    self._bury(place, int(version))
                    self._remove(place, record)
                    news.add(record.key)
        return news

    def knows(self, key: Key) -> bool:
        """Whether this VLLMModel has been told of."""
        return key.name in self._records.get((KIND, key.namespace), ())

    def models(self) -> list[Key]:
        """Every VLLMModel known."""
        known = [(namespace, names) for (kind, namespace), names in self._records.items() if kind == KIND]
        return [Key(namespace, name) for namespace, names in known for name in names]

    def has(self, kind: str, namespace: str, name: str) -> bool:
        """Whether one object is there."""
        return self._find(_Place(kind, namespace, name)) is not None

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """One object as last seen."""
        record = self._find(_Place(kind, namespace, name))
        return None if record is None else _unpacked(record.packed)

    def observe(self, key: Key, owner_uid: str, probes: Mapping[str, ProbeResult]) -> ObservedState:
        """A model's own children (by owner reference, not by label alone) and what their probes say."""
        by_kind: defaultdict[str, list[Object]] = defaultdict(list)
        for place in sorted(self._children.get(key, ())):
            if (found := self.get(*place)) is not None:
                by_kind[place.kind].append(found)
        deployment = _owned(by_kind["Deployment"], {owner_uid})
        replica_sets = _owned(by_kind["ReplicaSet"], _uids(deployment))
        unseen = _unseen(by_kind["Pod"], by_kind["ReplicaSet"], deployment)
        pods = _owned(by_kind["Pod"], _uids(replica_sets) | unseen)
        return ObservedState(
            deployment=next(iter(deployment), None),
            service=next(iter(_owned(by_kind["Service"], {owner_uid})), None),
            replica_sets=replica_sets,
            pods=pods,
            config_maps=_owned(by_kind["ConfigMap"], {owner_uid}),
            controller_revisions=_owned(by_kind["ControllerRevision"], {owner_uid}),
            probes={uid: probes[uid] for uid in _uids(pods) if uid in probes},
        )

    def _find(self, place: _Place) -> _Record | None:
        return self._records.get((place.kind, place.namespace), {}).get(place.name)

    def _remove(self, place: _Place, known: _Record) -> None:
        names = self._records[place.kind, place.namespace]
        del names[place.name]
        if not names:
            del self._records[place.kind, place.namespace]
        self._unlink(place, known)

    def _unlink(self, place: _Place, known: _Record) -> None:
        if (children := self._children.get(known.key)) is not None:
            children.discard(place)
            if not children:
                del self._children[known.key]

    def _bury(self, place: _Place, version: int) -> None:
        now = self._clock()
        while self._tombstones:
            oldest = next(iter(self._tombstones))
            if now - self._tombstones[oldest][1] < _TOMBSTONE_SECONDS:
                break
            del self._tombstones[oldest]
        before, _ = self._tombstones.pop(place, (0, 0.0))
        self._tombstones[place] = (max(version, before), now)


#: One reconcile looks at the same few objects several times.
_unpacked = lru_cache(maxsize=256)(unpack)


def _place(obj: Mapping[str, Any]) -> _Place:
    metadata = obj["metadata"]
    return _Place(obj["kind"], metadata["namespace"], metadata["name"])


def _key(obj: Mapping[str, Any]) -> Key:
    """The model that an object belongs to: by owner, whom an edited label does not change, else by label."""
    metadata = obj["metadata"]
    if obj["kind"] == KIND:
        return Key(metadata["namespace"], metadata["name"])
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller") and owner.get("kind") == KIND:
            return Key(metadata["namespace"], owner["name"])
    return Key(metadata["namespace"], (metadata.get("labels") or {}).get(MODEL_LABEL, ""))


def _version(obj: Mapping[str, Any]) -> int:
    """Comparable within one kind: the API server's promise since 1.35, and etcd's revision before."""
    return int(obj["metadata"]["resourceVersion"])


def _owned(objects: Iterable[Object], owners: set[str]) -> tuple[Object, ...]:
    return tuple(
        obj
        for obj in objects
        if any(
            reference.get("controller") and reference["uid"] in owners
            for reference in obj["metadata"].get("ownerReferences") or ()
        )
    )


def _unseen(
    pods: Iterable[Object], replica_sets: Iterable[Object], deployments: Iterable[Object]
) -> set[str]:
    """UIDs of the Deployment's ReplicaSets of which only their pods tell so far.

    Each kind has a watch of its own, and any may be behind: no pod must be overlooked for that.
    """
    known, names = _uids(replica_sets), {obj["metadata"]["name"] for obj in deployments}
    unseen: set[str] = set()
    for pod in pods:
        template = (pod["metadata"].get("labels") or {}).get(_TEMPLATE_HASH_LABEL)
        for owner in pod["metadata"].get("ownerReferences") or ():
            named = owner.get("name") in {f"{name}-{template}" for name in names}
            if owner.get("controller") and owner.get("kind") == "ReplicaSet" and named:
                unseen.add(owner["uid"])
    return unseen - known


def _uids(objects: Iterable[Object]) -> set[str]:
    return {obj["metadata"]["uid"] for obj in objects}
