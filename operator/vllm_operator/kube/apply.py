"""Create, apply and delete children so that nothing foreign is touched and nothing is written twice."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vllm_operator.api.meta import FIELD_MANAGER, KIND, MODEL_LABEL
from vllm_operator.kube.client import KubeClient
from vllm_operator.kube.drift import Fields, difference, merge_fields, owned_entries
from vllm_operator.kube.errors import ApiError
from vllm_operator.kube.resources import describe, resource_of
from vllm_operator.telemetry import logs, metrics

_log = logs.get("kube.apply")

Object = Mapping[str, Any]


class NameTaken(Exception):
    """An object that is not ours has a child's name. It stays as it is."""

    def __init__(self, live: Object) -> None:
        self.live = live
        super().__init__(f"{describe(live)} exists and does not belong to this VLLMModel")


class BeingReplaced(Exception):
    """The object under a child's name is on its way out; a later attempt finds the name free."""


def is_ours(live: Object, owner: Object) -> bool:
    """Owned by this model, or made by us for it and orphaned since (`kubectl delete --cascade=orphan`)."""
    metadata = live["metadata"]
    if controller := _controller(live):
        return bool(controller.get("uid") == owner["metadata"]["uid"])
    labelled = (metadata.get("labels") or {}).get(MODEL_LABEL) == owner["metadata"]["name"]
    return labelled and bool(owned_entries(live, FIELD_MANAGER))


def _cannot_change(desired: Object, live: Object) -> bool:
    """Whether `live` must be replaced. Pods that run keep the files of a ConfigMap that they have mounted.

    The operator has no right to change ConfigMaps, and Kubernetes lets nobody change a revision's data.
    """
    if desired["kind"] == "ControllerRevision":
        data = {"metadata": {}, "data": desired["data"]}
        return (difference(data, live, FIELD_MANAGER) or "").startswith(".data")
    return bool(desired["kind"] == "ConfigMap")


def _controller(live: Object) -> Mapping[str, Any]:
    references = live["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), {})


@dataclass(slots=True)
class Applier:
    """Brings one object at a time to its desired form, with no request when it has it already."""

    client: KubeClient
    _answers: dict[tuple[str, str, str], tuple[str, str]] = field(default_factory=dict)
    """What the server made of a desired object (digests of both), where the two do not compare equal:
    an admission webhook may change what we apply, and must not be fought at every resync."""

    async def look(self, desired: Object, owner: Object) -> Object | None:
        """What has the name of `desired` now, None if nothing. Raises NameTaken, BeingReplaced, ApiError."""
        live = await self._get(desired)
        if live is not None:
            self.check(live, owner)
        return live

    def check(self, live: Object, owner: Object) -> None:
        """Raises NameTaken or BeingReplaced unless this object is ours to change."""
        if not is_ours(live, owner):
            controller = _controller(live)
            if controller.get("kind") == KIND and controller.get("name") == owner["metadata"]["name"]:
                raise BeingReplaced(f"{describe(live)} still belongs to a deleted VLLMModel of this name")
            raise NameTaken(live)
        if live["metadata"].get("deletionTimestamp"):
            raise BeingReplaced(f"{describe(live)} is being deleted")

    async def bring(self, desired: Object, live: Object | None, owner: Object) -> Object | None:
        """Create `desired`, or apply it over `live` (what `look` found).

        Returns the object as the API server has just answered it; None where nothing was asked.
        """
        if live is None:
            return await self._create(desired, owner)
        kind = desired["kind"]
        path = difference(desired, live, FIELD_MANAGER)
        if path is None or self._answers.get(_key(desired)) == (_digest(desired), _digest(live)):
            metrics.APPLIES.labels(kind, "unchanged").inc()
            return None
        if _cannot_change(desired, live):
            await self.prune(live)
            return self._noted(desired, await self._create(desired, owner))
        try:
            answer = await self._apply(desired, live)
        except ApiError:
            metrics.APPLIES.labels(kind, "failed").inc()
            raise
        metrics.APPLIES.labels(kind, "applied").inc()
        _log.info("applied", object=describe(desired), because=path.lstrip("."))
        return self._noted(desired, answer)

    def _noted(self, desired: Object, answer: Object) -> Object:
        """The answer; what a webhook has made of our wish is remembered."""
        if difference(desired, answer, FIELD_MANAGER) is not None:
            self._answers[_key(desired)] = (_digest(desired), _digest(answer))
        return answer

    async def prune(self, live: Object) -> None:
        """Delete an object that was seen, if it is still that one."""
        try:
            await self.client.delete(live)
        except ApiError as error:
            if not error.not_found:
                raise
        self._answers.pop(_key(live), None)
        _log.info("pruned", object=describe(live))

    def forget(self, namespace: str, name: str) -> None:
        """Drop what is remembered of a deleted model's children (their names all start with its own)."""
        for key in [key for key in self._answers if key[1] == namespace and key[2].startswith(name)]:
            del self._answers[key]

    async def _get(self, desired: Object) -> Object | None:
        metadata = desired["metadata"]
        try:
            return await self.client.get(resource_of(desired), metadata["namespace"], metadata["name"])
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def _create(self, desired: Object, owner: Object) -> Object:
        """POST, which fails on whatever has the name, however short ago it came.

        What is ours there, though no watch tells of it (its label was taken away), is brought as if seen.
        """
        try:
            created = await self.client.create(desired, field_manager=FIELD_MANAGER)
        except ApiError as error:
            if error.already_exists and (live := await self._get(desired)) is not None:
                self.check(live, owner)
                return await self.bring(desired, live, owner) or live
            metrics.APPLIES.labels(desired["kind"], "failed").inc()
            raise
        metrics.APPLIES.labels(desired["kind"], "created").inc()
        _log.info("created", object=describe(desired))
        return created

    async def _apply(self, desired: Object, live: Object) -> Object:
        """Apply to exactly the object seen: with its uid in it, the server refuses any other."""
        if any(entry.get("operation") == "Update" for entry in owned_entries(live, FIELD_MANAGER)):
            live = await self._take_over(live)
        wanted = {**desired, "metadata": {**desired["metadata"], "uid": live["metadata"]["uid"]}}
        try:
            return await self.client.apply(wanted, field_manager=FIELD_MANAGER)
        except ApiError as error:
            if not error.invalid:
                raise
            # An apply leaves members of lists that others made, and these may clash with ours: two ports of
            # one name after an edit. A merge patch takes them out; if our own object is wrong it fails too.
            return await self.client.merge(wanted, field_manager=FIELD_MANAGER)

    async def _take_over(self, live: Object) -> Object:
        """Turn what our POST is recorded to own into an apply's: else no apply could remove a field of it."""
        metadata = live["metadata"]
        mine: list[Object] = []
        others: list[Object] = []
        for entry in metadata["managedFields"]:
            ours = entry.get("manager") == FIELD_MANAGER and not entry.get("subresource")
            (mine if ours else others).append(entry)
        fields: Fields = {}
        for entry in mine:
            fields = merge_fields(fields, entry.get("fieldsV1") or {})
        taken = {**mine[-1], "operation": "Apply", "fieldsV1": fields}
        return await self.client.patch_json(
            live,
            [
                {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
                {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
                {"op": "replace", "path": "/metadata/managedFields", "value": [*others, taken]},
            ],
        )


def _key(obj: Object) -> tuple[str, str, str]:
    return obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]


def _digest(obj: Object) -> str:
    """Of all but what changes without anybody editing: status, versions, the record of field owners."""
    volatile = ("resourceVersion", "generation", "managedFields")
    metadata = {key: value for key, value in obj["metadata"].items() if key not in volatile}
    content = {**obj, "metadata": metadata, "status": None}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
