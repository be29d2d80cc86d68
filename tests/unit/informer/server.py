"""An API server for one kind that lists, watches and misbehaves as told: what a real one does under load, or
while it restarts, cannot be made to happen at a given moment. The way to it is the real one."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from kubernetes.aio.client import Configuration

from vllm_operator.kube.client import KubeClient


class Server:
    """`objects` are what a list answers. `answer_list` and `answer_watch`, once set, may answer instead."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.version = 100
        self.page = 2
        self.lists: list[dict[str, str]] = []
        self.watches: list[dict[str, str]] = []
        self.answer_list: Callable[[], web.Response | None] = lambda: None
        self.answer_watch: Callable[[], web.Response | None] = lambda: None
        self.refuse: Callable[[web.Request], web.Response | None] = lambda _: None
        self.refusals = 0
        self.watched = asyncio.Event()
        self._streams: set[asyncio.Queue[bytes | None]] = set()

    def put(self, name: str) -> dict[str, Any]:
        """Make or change an object; nobody is told."""
        self.version += 1
        metadata = {
            "name": name,
            "namespace": "ns",
            "uid": f"uid-{name}",
            "resourceVersion": str(self.version),
            "labels": {"triton-vllm.dev/model": "llama"},
        }
        self.objects[name] = {"metadata": metadata, "spec": {}}
        return self.objects[name]

    def remove(self, name: str) -> dict[str, Any]:
        """Delete an object; nobody is told."""
        self.version += 1
        gone = self.objects.pop(name)
        return {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}}

    def tell(self, kind: str, obj: dict[str, Any]) -> None:
        """One event on each open watch."""
        self.say(json.dumps({"type": kind, "object": obj}).encode() + b"\n")

    def say(self, line: bytes) -> None:
        """Whatever it is, on each open watch."""
        for stream in self._streams:
            stream.put_nowait(line)

    def bookmark(self) -> None:
        """A version, and no news."""
        self.tell("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})

    def end(self) -> None:
        """End the open watches in good order."""
        for stream in self._streams:
            stream.put_nowait(None)

    def cut(self) -> None:
        """End them in the middle of a line."""
        for stream in self._streams:
            stream.put_nowait(b'{"type": "MODI')
            stream.put_nowait(b"")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if refusal := self.refuse(request):
            self.refusals += 1
            return refusal
        if "watch" in request.query:
            self.watches.append(dict(request.query))
            return self.answer_watch() or await self._stream(request)
        self.lists.append(dict(request.query))
        return self.answer_list() or self._list(request)

    def _list(self, request: web.Request) -> web.Response:
        names, start = sorted(self.objects), int(request.query.get("continue", 0))
        end = start + min(self.page, int(request.query.get("limit", self.page)))
        metadata = {"resourceVersion": str(self.version), "continue": str(end) if end < len(names) else ""}
        items = [self.objects[name] for name in names[start:end]]
        return web.json_response({"metadata": metadata, "items": items})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        stream: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._streams.add(stream)
        self.watched.set()
        try:
            while (line := await stream.get()) is not None:
                if not line:
                    assert request.transport is not None
                    request.transport.abort()
                    break
                await response.write(line)
        finally:
            self._streams.discard(stream)
        return response


def status(code: int, **headers: str) -> web.Response:
    """A refusal as an API server words it."""
    body = {"kind": "Status", "code": code, "reason": "Told", "message": f"told to answer {code}"}
    return web.json_response(body, status=code, headers=headers)


def error_event(code: int) -> web.Response:
    """A watch that is answered, and told in its stream that it will not do."""
    return web.json_response({"type": "ERROR", "object": {"kind": "Status", "code": code, "message": "told"}})


@asynccontextmanager
async def serve() -> AsyncIterator[tuple[Server, KubeClient]]:
    """The server, and a client of it."""
    server = Server()
    runner = web.ServerRunner(web.Server(server.handle), shutdown_timeout=0)  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    configuration = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    client = KubeClient(configuration, namespace="ns", timeout_seconds=2)
    try:
        yield server, client
    finally:
        await client.close()
        server.end()
        await runner.cleanup()
