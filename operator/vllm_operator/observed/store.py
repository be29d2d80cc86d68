"""The last seen version of every VLLMModel and every child, filled by watches, lists and our own writes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from vllm_operator.api.meta import KIND, MODEL_LABEL
from vllm_operator.observed.state import Object, ObservedState, ProbeResult

#: Kinds whose managedFields nobody here reads: half of their size.
_LEAN_KINDS = frozenset({"Pod", "ReplicaSet"})


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


class ObservedStore:
    """Newest wins, whichever of watch, list and our own write brings it: resourceVersions are compared."""

    def __init__(self) -> None:
        self._objects: dict[_Place, Object] = {}
        self._children: defaultdict[Key, set[_Place]] = defaultdict(set)
        self._unwatched: set[_Place] = set()

    def put(self, obj: Mapping[str, Any], *, watched: bool = False) -> set[Key]:
        """Remember an object; returns the models for which it is news: two where it moved between them."""
        place = _place(obj)
        before = self._objects.get(place)
        if watched:
            self._unwatched.discard(place)
        elif before is None:
            self._unwatched.add(place)
        if before is not None and _version(obj) <= _version(before):
            return set()
        news = {_key(obj)}
        if before is not None:
            self._unlink(place, before)
            news.add(_key(before))
        self._objects[place] = _lean(obj)
        if place.kind != KIND:
            self._children[_key(obj)].add(place)
        return news

    def discard(self, obj: Mapping[str, Any]) -> set[Key]:
        """Forget a deleted object; returns the model it concerned, none if it was not known (any more)."""
        place = _place(obj)
        before = self._objects.get(place)
        if before is None or before["metadata"]["uid"] != obj["metadata"]["uid"]:
            return set()
        self._remove(place, before)
        return {_key(before)}

    def replace(self, kind: str, namespace: str | None, items: Iterable[Object], version: str) -> set[Key]:
        """Take a complete list of one kind: also forget what is not in it and is older than the list."""
        items = list(items)
        news = {key for item in items for key in self.put(item)}
        listed = {_place(item) for item in items}
        for place, known in list(self._objects.items()):
            absent = place.kind == kind and namespace in (None, place.namespace) and place not in listed
            if absent and _version(known) <= int(version):
                self._remove(place, known)
                news.add(_key(known))
        return news

    def unwatched(self) -> frozenset[Any]:
        """Places of objects that no watch has told of: a deletion of one of them might go untold too."""
        return frozenset(self._unwatched)

    def models(self) -> list[Key]:
        """Every VLLMModel known."""
        return [Key(place.namespace, place.name) for place in self._objects if place.kind == KIND]

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """One object as last seen."""
        return self._objects.get(_Place(kind, namespace, name))

    def observe(self, key: Key, owner_uid: str, probes: Mapping[str, ProbeResult]) -> ObservedState:
        """A model's own children (by owner reference, not by label alone) and what their probes say."""
        by_kind: defaultdict[str, list[Object]] = defaultdict(list)
        for place in sorted(self._children.get(key, ())):
            by_kind[place.kind].append(self._objects[place])
        deployment = _owned(by_kind["Deployment"], {owner_uid})
        replica_sets = _owned(by_kind["ReplicaSet"], _uids(deployment))
        pods = _owned(by_kind["Pod"], _uids(replica_sets))
        return ObservedState(
            deployment=next(iter(deployment), None),
            service=next(iter(_owned(by_kind["Service"], {owner_uid})), None),
            replica_sets=replica_sets,
            pods=pods,
            config_maps=_owned(by_kind["ConfigMap"], {owner_uid}),
            controller_revisions=_owned(by_kind["ControllerRevision"], {owner_uid}),
            probes={uid: probes[uid] for uid in _uids(pods) if uid in probes},
        )

    def _remove(self, place: _Place, known: Object) -> None:
        del self._objects[place]
        self._unwatched.discard(place)
        self._unlink(place, known)

    def _unlink(self, place: _Place, known: Object) -> None:
        if (children := self._children.get(_key(known))) is not None:
            children.discard(place)
            if not children:
                del self._children[_key(known)]


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


def _lean(obj: Mapping[str, Any]) -> Object:
    if obj["kind"] not in _LEAN_KINDS:
        return obj
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def _owned(objects: Iterable[Object], owners: set[str]) -> tuple[Object, ...]:
    return tuple(
        obj
        for obj in objects
        if any(
            reference.get("controller") and reference["uid"] in owners
            for reference in obj["metadata"].get("ownerReferences") or ()
        )
    )


def _uids(objects: Iterable[Object]) -> set[str]:
    return {obj["metadata"]["uid"] for obj in objects}
