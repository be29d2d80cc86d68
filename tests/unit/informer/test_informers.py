"""Each kind in each namespace by itself: one that is refused holds up nobody but its own models."""

import asyncio

from aiohttp import web

from unit.informer.server import Server, serve, status
from vllm_operator.informer.informers import Informers
from vllm_operator.observed.store import Key, ObservedStore
from vllm_operator.telemetry.progress import Progress


async def test_a_namespace_that_is_refused_stops_no_other() -> None:
    async with serve() as (server, client):
        refused = True

        def refuse(request: web.Request) -> web.Response | None:
            return status(403) if refused and "/namespaces/lost/pods" in request.path else None

        server.refuse = refuse
        told: list[Key] = []
        informers = Informers(
            client=client,
            store=ObservedStore(),
            enqueue=lambda key, _: told.append(key),
            namespaces=("ns", "lost"),
            progress=(progress := Progress(bound_seconds=10)),
        )
        task = asyncio.create_task(informers.run())
        waiting = asyncio.create_task(informers.listed("lost"))
        try:
            async with asyncio.timeout(10):
                await informers.listed("ns")
                await _until_refused(server)
            assert not waiting.done()
            assert progress.stalled() == "", "a refusal is an answer"
            refused = False
            async with asyncio.timeout(20):
                await waiting
        finally:
            task.cancel()
            await asyncio.wait((task,))


async def test_news_of_children_is_told_of_known_models_only() -> None:
    async with serve() as (server, client):
        server.put("s1")
        told: list[Key] = []
        store = ObservedStore()
        model = {"name": "llama", "namespace": "ns", "uid": "model", "resourceVersion": "1"}
        informers = Informers(
            client=client,
            store=store,
            enqueue=lambda key, _: told.append(key),
            namespaces=(None,),
            progress=Progress(),
        )
        task = asyncio.create_task(informers.run())
        try:
            async with asyncio.timeout(10):
                await informers.listed(None)
                assert told == []
                store.put({"kind": "VLLMModel", "metadata": model})
                await server.watched.wait()
                server.tell("ADDED", server.put("s2"))
                while not told:  # noqa: ASYNC110 - told by callback
                    await asyncio.sleep(0.01)
            assert set(told) == {Key("ns", "llama")}
        finally:
            task.cancel()
            await asyncio.wait((task,))


async def _until_refused(server: Server) -> None:
    while not server.refusals:  # noqa: ASYNC110 - counted by the server
        await asyncio.sleep(0.01)
