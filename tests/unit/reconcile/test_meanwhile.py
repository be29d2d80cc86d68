"""What happens to a model while its status is being written is not lost in the answer."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest

from unit.builders import NOW, SETTINGS, a_model
from vllm_operator.api.meta import MODEL_LABEL
from vllm_operator.kube.client import ApiError
from vllm_operator.observed.state import Object, ProbeResult
from vllm_operator.observed.store import Key, ObservedStore
from vllm_operator.observed.target import ProbeTarget
from vllm_operator.reconcile.children import Children
from vllm_operator.reconcile.errors import TransientError
from vllm_operator.reconcile.events import EventPoster
from vllm_operator.reconcile.reconciler import Reconciler
from vllm_operator.reconcile.worker import Done, Gone, RequeueAfter

KEY = Key("default", "opt")
Change = Callable[[dict[str, Any]], None]


class _Cluster:
    """An API server with one model, its watch, and what its users do just before a status is written."""

    def __init__(self, store: ObservedStore) -> None:
        self.store = store
        self.model: dict[str, Any] | None = a_model().object()
        self.model["metadata"]["resourceVersion"] = "10"
        self.meanwhile: list[Callable[[], None]] = []
        self.untold: list[dict[str, Any]] = []
        self.statuses: list[Mapping[str, Any]] = []

    def change(self, change: Change) -> None:
        assert self.model is not None
        self.model = deepcopy(self.model)
        self.model["metadata"]["resourceVersion"] = str(int(self.model["metadata"]["resourceVersion"]) + 1)
        change(self.model)
        self.untold.append(self.model)

    def tell(self) -> set[Key]:
        """The watch catches up; which models its events are news of."""
        news: set[Key] = set()
        for event in self.untold:
            news |= self.store.put(event)
        self.untold.clear()
        return news

    async def get(self, *_: Any) -> dict[str, Any]:
        if self.model is None:
            raise ApiError("GET /opt", 404)
        return self.model

    async def apply(self, obj: Mapping[str, Any], **_: Any) -> Mapping[str, Any]:
        while self.meanwhile:
            self.meanwhile.pop(0)()
        if self.model is None:
            raise ApiError("PATCH /opt/status", 404)
        if self.model["metadata"]["uid"] != obj["metadata"]["uid"]:
            raise ApiError("PATCH /opt/status", 409, {"message": "Precondition failed: UID in precondition"})
        self.statuses.append(obj["status"])
        if self.model["status"] != obj["status"]:
            self.change(lambda model: model.update(status=obj["status"]))
        return self.model

    async def create(self, obj: Mapping[str, Any], **_: Any) -> Mapping[str, Any]:
        return obj


class _Applier:
    """Children are of no matter here."""

    forgotten = 0
    made = 0

    async def look(self, *_: Any) -> None:
        return None

    def check(self, *_: Any) -> None:
        pass

    async def bring(self, wanted: Object, *_: Any) -> Object:
        """Made as it is asked for."""
        self.made += 1
        server = {"uid": f"child-{self.made}", "resourceVersion": str(self.made)}
        return {**wanted, "metadata": {**wanted["metadata"], **server}}

    async def prune(self, *_: Any) -> None:
        pass

    def forget(self, *_: Any) -> None:
        self.forgotten += 1


class _Probes:
    def __init__(self) -> None:
        self.watched: list[Key] = []

    def watch(self, key: Key, targets: Sequence[ProbeTarget]) -> None:
        self.watched.append(key)

    def results(self, key: Key) -> Mapping[str, ProbeResult]:
        return {}

    def effective_period_seconds(self, key: Key) -> float:
        return 0


class _World:
    def __init__(self) -> None:
        self.store = ObservedStore()
        self.cluster = _Cluster(self.store)
        self.applier = _Applier()
        assert self.cluster.model is not None
        self.store.put(self.cluster.model)
        self.reconciler = Reconciler(
            client=self.cluster,  # type: ignore[arg-type]
            store=self.store,
            children=Children(self.applier, self.store),  # type: ignore[arg-type]
            probes=_Probes(),
            settings=SETTINGS,
            leading_since=NOW - timedelta(hours=1),
            events=EventPoster(self.cluster, "operator-0"),  # type: ignore[arg-type]
            clock=lambda: NOW,
        )


def a_child(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": "default", "uid": f"child-{name}", "resourceVersion": "5"}


def edited(model: dict[str, Any]) -> None:
    model["metadata"]["generation"] += 1
    model["spec"]["engineArgs"] = {"seed": 1}


def paused(model: dict[str, Any]) -> None:
    model["metadata"]["generation"] += 1
    model["spec"]["paused"] = True


def scaled(model: dict[str, Any]) -> None:
    model["metadata"]["generation"] += 1
    model["spec"]["replicas"] = 3


def deleted(model: dict[str, Any]) -> None:
    model["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    model["metadata"]["deletionGracePeriodSeconds"] = 0


@pytest.mark.parametrize("change", [edited, paused, scaled, deleted])
@pytest.mark.parametrize("told_first", [False, True])
async def test_an_edit_is_acted_on_at_once(change: Change, told_first: bool) -> None:
    world = _World()
    cluster = world.cluster
    news: set[Key] = set()
    cluster.meanwhile.append(lambda: cluster.change(change))
    if told_first:
        cluster.meanwhile.append(lambda: news.update(cluster.tell()))
    outcome = await world.reconciler.reconcile(KEY)
    news |= cluster.tell()
    assert news or outcome == RequeueAfter(0), "nobody would look at it before the resync"
    await world.reconciler.reconcile(KEY)
    assert cluster.model is not None
    assert world.store.get("VLLMModel", *KEY) == cluster.model
    assert cluster.statuses[-1]["observedGeneration"] == cluster.model["metadata"]["generation"]


async def test_its_own_status_is_no_news() -> None:
    world = _World()
    assert await world.reconciler.reconcile(KEY) == Done()
    assert world.cluster.tell() == set()
    assert await world.reconciler.reconcile(KEY) == Done()
    assert world.cluster.tell() == set()


async def test_a_model_that_goes_meanwhile_is_forgotten() -> None:
    world = _World()
    cluster, probes = world.cluster, world.reconciler.probes
    assert isinstance(probes, _Probes)
    gone = deepcopy(cluster.model)
    cluster.meanwhile.append(lambda: setattr(cluster, "model", None))
    assert await world.reconciler.reconcile(KEY) == Gone()
    assert world.applier.forgotten == 1
    assert probes.watched == [KEY]
    assert gone is not None
    assert world.store.discard(gone) == set(), "its event has nothing to tell any more"
    assert not world.reconciler.events._posted
    assert not world.store.models()


async def test_another_model_of_the_name_is_taken_up_before_the_watch_tells() -> None:
    world = _World()
    cluster = world.cluster

    def replaced() -> None:
        cluster.change(lambda model: model["metadata"].update(uid="another"))

    # A Deployment of the name is known: the store's model would be taken for good.
    world.store.put({"kind": "Deployment", "metadata": {**a_child("opt"), "labels": {MODEL_LABEL: "opt"}}})
    cluster.meanwhile.append(replaced)
    with pytest.raises(TransientError):
        await world.reconciler.reconcile(KEY)
    await world.reconciler.reconcile(KEY)
    assert cluster.model is not None
    assert cluster.model["status"]["observedGeneration"] == 1


async def test_a_model_that_was_asked_for_is_forgotten_when_its_end_is_told() -> None:
    """Its watch has not told of it: a child's event came first. And its status was never answered."""
    world = _World()
    cluster = world.cluster
    assert cluster.model is not None
    world.store.forget(cluster.model)

    def breaks() -> None:
        raise ApiError("PATCH /opt/status", 500)

    cluster.meanwhile.append(breaks)
    with pytest.raises(TransientError):
        await world.reconciler.reconcile(KEY)
    assert world.store.discard(cluster.model) == {KEY}


async def test_a_revision_whose_status_was_not_answered_is_still_the_operators() -> None:
    world = _World()
    cluster = world.cluster

    def breaks() -> None:
        raise ApiError("PATCH /opt/status", 500)

    await world.reconciler.reconcile(KEY)
    for edit in (breaks, lambda: None):
        cluster.change(edited)
        assert cluster.model is not None
        cluster.model["spec"]["engineArgs"]["seed"] = len(cluster.statuses) + 7 * (edit is breaks)
        cluster.tell()
        cluster.meanwhile.append(edit)
        if edit is breaks:
            with pytest.raises(TransientError):
                await world.reconciler.reconcile(KEY)
        else:
            await world.reconciler.reconcile(KEY)
    assert not any("not used" in c["message"] for c in cluster.statuses[-1]["conditions"])
    assert len(cluster.statuses[-1]["revisions"]) == 3
    assert not world.reconciler._unlisted
