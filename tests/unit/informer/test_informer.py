"""The informer keeps the store true, whatever becomes of its list and its watch, and says what is wrong."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from unit.informer.server import Server, error_event, serve, status
from vllm_operator.informer.informer import Informer
from vllm_operator.kube.resources import SERVICES
from vllm_operator.observed.store import Key, ObservedStore

KEY = Key("ns", "llama")


@dataclass
class Case:
    """A running informer of Services in one namespace."""

    server: Server
    informer: Informer
    store: ObservedStore
    task: asyncio.Task[None]
    told: list[Key]
    recovered: list[None] = field(default_factory=list)

    def names(self) -> set[str]:
        return {f"s{n}" for n in range(10) if self.store.get("Service", "ns", f"s{n}") is not None}

    async def holds(self, *names: str, seconds: float = 10) -> None:
        await until(f"the store holds {names}", lambda: self.names() == set(names), seconds)

    async def watches(self, count: int) -> None:
        await until(f"{count} watches", lambda: len(self.server.watches) >= count)


async def until(what: str, look: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    async with serve() as (server, client):
        for name in ("s1", "s2", "s3"):
            server.put(name)
        store, told, recovered = ObservedStore(), list[Key](), list[None]()

        def changed(keys: Iterable[Key]) -> None:
            told.extend(keys)

        informer = Informer(client, store, SERVICES, "ns", changed, lambda: recovered.append(None))
        task = asyncio.create_task(informer.run())
        try:
            yield Case(server, informer, store, task, told, recovered)
            assert not task.done(), "an informer never ends by itself"
        finally:
            task.cancel()
            await asyncio.wait((task,))


async def test_a_list_comes_in_pages_and_the_watch_goes_on_from_it(case: Case) -> None:
    await case.holds("s1", "s2", "s3")
    await case.watches(1)
    assert [query.get("continue") for query in case.server.lists] == [None, "2"]
    assert case.server.watches[0]["resourceVersion"] == "103"
    assert case.server.watches[0]["allowWatchBookmarks"] == "true"
    assert case.informer.listed.is_set()
    case.told.clear()
    case.server.tell("ADDED", case.server.put("s4"))
    case.server.tell("DELETED", case.server.remove("s1"))
    await case.holds("s2", "s3", "s4")
    assert case.told == [KEY, KEY]


async def test_a_watch_that_ends_goes_on_from_the_newest_bookmark(case: Case) -> None:
    await case.watches(1)
    case.server.version = 500
    case.server.bookmark()
    case.server.end()
    await case.watches(2)
    assert case.server.watches[1]["resourceVersion"] == "500"
    assert len(case.server.lists) == 2, "two pages of the first list, and no other"


async def test_a_cut_watch_goes_on_from_where_it_was(case: Case) -> None:
    await case.watches(1)
    case.server.tell("ADDED", case.server.put("s4"))
    await case.holds("s1", "s2", "s3", "s4")
    case.server.cut()
    await case.watches(2)
    assert case.server.watches[1]["resourceVersion"] == "104"
    assert len(case.server.lists) == 2


async def test_a_silent_watch_is_given_up_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vllm_operator.kube.watch._SILENCE_SECONDS", 0.3)
    async with serve() as (server, client):
        informer = Informer(client, ObservedStore(), SERVICES, "ns", lambda _: None, lambda: None)
        task = asyncio.create_task(informer.run())
        try:
            await until("it watches again", lambda: len(server.watches) >= 2)
            assert len(server.lists) == 1
        finally:
            task.cancel()
            await asyncio.wait((task,))


@pytest.mark.parametrize("answer", [lambda: status(410), lambda: error_event(410)], ids=["http", "stream"])
async def test_an_expired_watch_lists_anew_and_finds_lost_deletions(
    case: Case, answer: Callable[[], object]
) -> None:
    await case.watches(1)
    answers = iter([answer()])
    case.server.answer_watch = lambda: next(answers, None)  # type: ignore[assignment,return-value]
    case.server.remove("s2")
    case.told.clear()
    case.server.end()
    await case.holds("s1", "s3", seconds=3)
    assert case.told == [KEY]
    await until("it watches again", lambda: len(case.server.watches) >= 3)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: status(400),
        lambda: status(404),
        lambda: status(500),
        lambda: error_event(500),
        lambda: error_event(410),
    ],
    ids=["400", "404", "500", "error-500", "error-410"],
)
async def test_a_watch_that_never_works_again_is_replaced_by_lists(
    case: Case, answer: Callable[[], object]
) -> None:
    await case.watches(1)
    case.server.answer_watch = answer  # type: ignore[assignment]
    case.server.end()
    await case.watches(2)
    case.server.remove("s1")
    case.server.put("s4")
    await case.holds("s2", "s3", "s4", seconds=20)
    assert case.informer.heartbeat.age() < 15, "the server answers: that is progress"
    assert len(case.server.watches) < 20, "with back-off"


async def test_what_may_not_be_listed_is_not_gone_and_is_picked_up_again(case: Case) -> None:
    await case.watches(1)
    case.server.answer_list = lambda: status(403)
    case.server.answer_watch = lambda: status(403)
    case.server.end()
    await until("it has tried to list", lambda: len(case.server.lists) >= 4)
    assert case.names() == {"s1", "s2", "s3"}
    case.server.remove("s3")
    case.server.answer_list = case.server.answer_watch = lambda: None
    await case.holds("s1", "s2", seconds=20)
    await until("it says that it works", lambda: case.recovered == [None])


async def test_too_many_requests_at_the_start_are_waited_out() -> None:
    async with serve() as (server, client):
        server.put("s1")
        refusals = iter([status(429, **{"Retry-After": "1"})] * 1)
        server.answer_list = lambda: next(refusals, None)
        informer = Informer(client, ObservedStore(), SERVICES, "ns", lambda _: None, lambda: None)
        task = asyncio.create_task(informer.run())
        try:
            async with asyncio.timeout(10):
                await informer.listed.wait()
            assert len(server.lists) == 2
        finally:
            task.cancel()
            await asyncio.wait((task,))


async def test_a_list_that_fails_half_way_loses_no_news(case: Case) -> None:
    await case.watches(1)
    answers: Iterator[web.Response | None] = iter([None, status(500)])
    case.server.answer_list = lambda: next(answers, None)
    refusals: Iterator[web.Response | None] = iter([error_event(410)])
    case.server.answer_watch = lambda: next(refusals, None)
    case.server.put("s1")
    case.told.clear()
    case.server.end()
    await until("it has listed again", lambda: len(case.server.lists) >= 6)
    assert case.told == [KEY]


async def test_a_server_that_ends_each_watch_at_once_is_not_asked_without_pause(case: Case) -> None:
    await case.watches(1)
    case.server.answer_watch = lambda: web.Response(text="")
    case.server.end()
    await asyncio.sleep(1)
    assert len(case.server.watches) < 10


async def test_a_broken_answer_is_a_failure_like_others(case: Case) -> None:
    await case.watches(1)
    answers = iter(["no JSON\n", '{"type": "MODIFIED"}\n', '["a list"]\n'])

    def odd() -> object:
        text = next(answers, None)
        return None if text is None else web.Response(text=text)

    case.server.answer_watch = odd  # type: ignore[assignment]
    case.server.put("s4")
    case.server.end()
    await until("it watches again", lambda: len(case.server.watches) >= 5)
    await case.holds("s1", "s2", "s3", "s4")


@pytest.mark.parametrize(
    "metadata",
    [
        {"annotations": {"text": "\x01" * 1_000_000}},
        {"managedFields": [{"manager": "m", "time": "0000-01-01T00:00:00Z"}]},
        {"uid": None, "ownerReferences": [None]},
    ],
    ids=["six megabytes", "year 0", "not to be taken"],
)
async def test_one_odd_object_costs_no_watch_and_no_other_object(
    case: Case, metadata: dict[str, object]
) -> None:
    await case.watches(1)
    odd = case.server.put("odd")
    odd["metadata"].update(metadata)
    case.server.tell("ADDED", odd)
    case.server.tell("ADDED", case.server.put("s4"))
    await case.holds("s1", "s2", "s3", "s4")
    assert (len(case.server.watches), len(case.server.lists)) == (1, 2)
    # In a list it keeps nobody away either.
    case.server.answer_watch = lambda: status(410) if len(case.server.watches) == 2 else None
    case.server.put("s5")
    case.server.end()
    await case.holds("s1", "s2", "s3", "s4", "s5")
    await case.watches(3)


async def test_an_event_that_cannot_be_read_is_looked_for_in_a_list(case: Case) -> None:
    await case.watches(1)
    case.server.put("s4")
    case.server.say(b'{"type": "ADDED", "object": \n')
    await case.holds("s1", "s2", "s3", "s4")
    await case.watches(2)
    assert case.server.watches[1]["resourceVersion"] == "104"


async def test_a_list_of_large_objects_is_read_in_small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vllm_operator.kube.client._PAGE_BYTES", 100_000)
    async with serve() as (server, client):
        server.page = 500
        for number in range(30):
            large = server.put(f"large-{number:02}")
            large["metadata"]["annotations"] = {"text": "x" * (150_000 if number == 7 else 20_000)}
        for number in range(30):
            server.put(f"small-{number:02}")
        store = ObservedStore()
        informer = Informer(client, store, SERVICES, "ns", lambda _: None, lambda: None)
        task = asyncio.create_task(informer.run())
        try:
            await until("it watches", lambda: bool(server.watches))
            assert all(store.has("Service", "ns", name) for name in server.objects)
            # Small ones come many at once again.
            assert 15 < len(server.lists) < 60
        finally:
            task.cancel()
            await asyncio.wait((task,))


async def test_after_a_restored_backup_the_store_goes_back_with_the_cluster(case: Case) -> None:
    await case.watches(1)
    for name in ("s4", "s5"):
        case.server.tell("ADDED", case.server.put(name))
    case.server.tell("DELETED", case.server.remove("s1"))
    await case.holds("s2", "s3", "s4", "s5")
    case.server.objects.clear()
    case.server.version = 50
    for name in ("s1", "s2", "s3"):
        case.server.put(name)["spec"] = {"of": "the backup"}
    case.server.answer_watch = lambda: status(410) if len(case.server.watches) == 2 else None
    case.server.end()
    await case.holds("s1", "s2", "s3")
    await case.watches(3)
    assert case.server.watches[2]["resourceVersion"] == "53"
    case.server.tell("ADDED", case.server.put("s6"))
    await case.holds("s1", "s2", "s3", "s6")
