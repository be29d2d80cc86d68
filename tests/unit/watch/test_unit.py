"""kopf for one namespace: whatever its watch is answered, it starts anew, and what it missed is asked for."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration
from yarl import URL

from vllm_operator.api.meta import GROUP, VERSION
from vllm_operator.kube.client import KubeClient
from vllm_operator.observed.store import Key, ObservedStore
from vllm_operator.watch import unit as unit_module
from vllm_operator.watch.unit import Unit

_ERROR = {"kind": "Status", "status": "Failure", "message": "told"}


class Server:
    """As much of an API server as kopf asks of it. A watch gets `answer`, or one of `answers`, or streams."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        self.answers: list[web.Response] = []
        self.answer: Callable[[], web.Response] | None = None
        self.served = True
        self.lists = 0
        self.watches = 0
        self._streams: set[asyncio.Queue[bytes]] = set()

    def put(self, name: str, version: int) -> None:
        metadata = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": str(version)}
        self.models[name] = {"metadata": metadata, "spec": {}}

    def end(self) -> None:
        for stream in self._streams:
            stream.put_nowait(b"")

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path in ("/api", "/apis"):
            versions = [{"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}]
            group = {"name": GROUP, "versions": versions, "preferredVersion": versions[0]}
            return web.json_response({"versions": ["v1"]} if path == "/api" else {"groups": [group]})
        if path == f"/apis/{GROUP}":
            versions = [{"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}]
            return web.json_response({"name": GROUP, "versions": versions, "preferredVersion": versions[0]})
        if path == "/api/v1":
            verbs = ["list", "watch"]
            kinds = [("namespaces", "Namespace", False), ("events", "Event", True)]
            return web.json_response({"resources": [_resource(*kind, verbs) for kind in kinds]})
        if path == f"/apis/{GROUP}/{VERSION}":
            verbs = ["list", "watch", "patch"]
            resources = [_resource("vllmmodels", "VLLMModel", True, verbs)] if self.served else []
            return web.json_response({"resources": resources})
        if not path.endswith("/vllmmodels") or not self.served:
            return web.json_response({**_ERROR, "code": 404}, status=404)
        if "watch=true" not in request.query_string:
            self.lists += 1
            body = {"metadata": {"resourceVersion": "100"}, "items": list(self.models.values())}
            return web.json_response(body)
        self.watches += 1
        if self.answer is not None:
            return self.answer()
        return self.answers.pop(0) if self.answers else await self._stream(request)

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        stream: asyncio.Queue[bytes] = asyncio.Queue()
        self._streams.add(stream)
        try:
            while line := await stream.get():
                await response.write(line)
        finally:
            self._streams.discard(stream)
        return response


def _resource(plural: str, kind: str, namespaced: bool, verbs: list[str]) -> dict[str, Any]:
    return {"name": plural, "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": verbs}


def _refusal(code: int) -> web.Response:
    return web.json_response({**_ERROR, "code": code}, status=code)


def _error_event(code: int) -> web.Response:
    return web.Response(text=json.dumps({"type": "ERROR", "object": {**_ERROR, "code": code}}) + "\n")


@dataclass
class Case:
    server: Server
    unit: Unit
    store: ObservedStore
    changed: list[Key] = field(default_factory=list)


async def until(what: str, look: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


@pytest.fixture
async def case(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Case]:
    monkeypatch.setattr(unit_module, "_SETTLE_SECONDS", 0.5)
    server, store, changed = Server(), ObservedStore(), list[Key]()
    server.put("one", 10)
    server.put("two", 11)
    runner = web.ServerRunner(web.Server(server.handle), shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    client = KubeClient(configuration, namespace="ns", timeout_seconds=2)
    listed = asyncio.Event()
    listed.set()

    async def children() -> None:
        await listed.wait()

    unit = Unit(client, store, "ns", changed.append, children, lambda: None)
    task = asyncio.create_task(unit.run())
    try:
        await until("both are known", lambda: set(store.models()) == {Key("ns", "one"), Key("ns", "two")})
        await until("it watches", lambda: server.watches == 1)
        yield Case(server, unit, store, changed)
        assert not task.done(), "it never ends by itself"
    finally:
        task.cancel()
        await asyncio.wait((task,), timeout=20)
        assert task.done()
        await client.close()
        server.end()
        await runner.cleanup()


@pytest.mark.parametrize(
    "answer",
    [_refusal(410), _refusal(404), _refusal(400), _error_event(500), _error_event(410)],
    ids=["410", "404", "400", "error-500", "error-410"],
)
async def test_whatever_the_watch_is_answered_it_lists_and_watches_anew(
    case: Case, answer: web.Response
) -> None:
    case.server.answers = [answer]
    case.server.put("three", 12)
    del case.server.models["two"]
    case.server.end()
    await until("what was added is known", lambda: Key("ns", "three") in case.changed)
    await until("it watches again", lambda: case.server.watches >= 3)
    # The reconcile of what no list tells of asks the API server.
    await until("what is gone is doubted", lambda: Key("ns", "two") not in case.store.models())
    assert case.changed[-1] == Key("ns", "two")
    assert case.store.knows(Key("ns", "one"))
    assert case.unit.heartbeat.age() < 20


@pytest.mark.parametrize(
    "answer", [lambda: _refusal(404), lambda: _error_event(500), lambda: _error_event(410)]
)
async def test_a_watch_that_never_works_again_is_replaced_by_lists(
    case: Case, answer: Callable[[], web.Response]
) -> None:
    case.server.answer = answer
    case.server.put("three", 12)
    del case.server.models["two"]
    case.server.end()
    await until("what was added is known", lambda: Key("ns", "three") in case.changed)
    await until("what is gone is doubted", lambda: Key("ns", "two") not in case.store.models())
    assert {Key("ns", "one"), Key("ns", "three")} == set(case.store.models())


async def test_a_definition_that_is_gone_for_a_while_is_waited_for(case: Case) -> None:
    case.server.served = False
    case.server.end()
    watches = case.server.watches
    await asyncio.sleep(1)
    case.server.served = True
    case.server.put("three", 12)
    await until("it watches again", lambda: case.server.watches > watches)
    await until("what was added is known", lambda: case.store.knows(Key("ns", "three")))


async def test_each_answer_is_progress(case: Case) -> None:
    await asyncio.sleep(0.5)
    before = case.unit.heartbeat.age()
    case.server.end()
    await until("the watch is answered anew", lambda: case.server.watches >= 2)
    assert case.unit.heartbeat.age() < before


async def test_an_answer_that_cannot_be_read_ends_nothing(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it raises: one tenant's object must not end the operator for all."""
    errors = iter([RecursionError("maximum recursion depth exceeded"), KeyError("metadata")])
    page = case.unit.client.page

    async def failing(*args: Any, **options: Any) -> Any:
        if (error := next(errors, None)) is not None:
            raise error
        return await page(*args, **options)

    monkeypatch.setattr(case.unit.client, "page", failing)
    case.server.answers = [_error_event(500)]
    case.server.put("three", 12)
    case.server.end()
    await until("what was added is known", lambda: Key("ns", "three") in case.changed)
    assert next(errors, None) is None, "both were met"


async def test_after_a_restored_backup_the_models_are_asked_for(case: Case) -> None:
    case.server.put("one", 5)
    case.server.answers = [_error_event(410)]
    case.changed.clear()
    case.server.end()
    await until("it is asked for", lambda: Key("ns", "one") in case.changed)
    assert not case.store.knows(Key("ns", "one"))
    assert case.store.put({"apiVersion": "x", "kind": "VLLMModel", **case.server.models["one"]})


async def test_a_new_list_ends_the_doubts_of_the_one_before(case: Case) -> None:
    list_url, watch_url = URL("http://x/vllmmodels"), URL("http://x/vllmmodels?watch=true")
    case.unit._answered(list_url, 200)
    case.unit._answered(watch_url, 200)
    case.unit._answered(list_url, 200)
    case.changed.clear()
    await asyncio.sleep(1)
    assert case.changed == [], "nothing is doubted before the new list is over"
    case.unit._answered(watch_url, 200)
    await until("both are doubted", lambda: len(case.changed) == 2)


async def test_a_kopf_that_does_not_end_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the watchers that are left log in again and again, for ever."""
    ended = asyncio.Event()

    async def stubborn() -> None:
        while not ended.is_set():
            try:
                await ended.wait()
            except asyncio.CancelledError:
                continue

    async def spawn(**_: Any) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(stubborn(), name="watcher"), asyncio.create_task(asyncio.sleep(0.01))]

    class Client:
        async def page(self, *_: Any, **__: Any) -> None:
            """It is served."""

    async def listed() -> None:
        """At once."""

    monkeypatch.setattr(unit_module, "_END_SECONDS", 0.1)
    monkeypatch.setattr("kopf.spawn_tasks", spawn)
    unit = Unit(cast(KubeClient, Client()), ObservedStore(), None, lambda _: None, listed, lambda: None)
    with pytest.raises(unit_module.KopfHangs, match="watcher"):
        await unit.run()
    ended.set()
