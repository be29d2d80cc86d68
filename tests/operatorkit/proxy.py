"""A wire between the operator and its API server that a test can watch, cut, and act in the middle of."""

import asyncio
import itertools
import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
from aiohttp import web

_HOP_HEADERS = {"connection", "transfer-encoding", "content-length", "host", "keep-alive", "content-encoding"}
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
    504: "Timeout",
}
_READS = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True)
class Write:
    """A request on its way that would change something; `body` is None where it is not JSON."""

    method: str
    path: str
    query: str
    body: Any

    @property
    def is_lease(self) -> bool:
        """Whether it is the operator's Lease."""
        return "/leases" in self.path


@dataclass(frozen=True)
class Asked:
    """Any request on its way, a read or a write."""

    method: str
    path: str
    query: str

    @property
    def is_watch(self) -> bool:
        """Whether its answer is a stream of events."""
        return "watch=true" in self.query

    @property
    def is_lease(self) -> bool:
        """Whether it is the operator's Lease."""
        return "/leases" in self.path


@dataclass(frozen=True)
class Refusal:
    """What the proxy answers in the API server's place, after some seconds.

    `in_stream`: the answer is a success whose one event is an ERROR, as a watch is refused once it is open.
    """

    status: int
    retry_after: str = ""
    seconds: float = 0
    in_stream: bool = False

    def response(self) -> web.Response:
        """A Status object, as the API server sends it."""
        headers = {"Retry-After": self.retry_after} if self.retry_after else {}
        reason = _REASONS.get(self.status, "InternalError")
        body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        body |= {"reason": reason, "message": f"the test's proxy says {reason}", "code": self.status}
        if self.in_stream:
            return web.json_response({"type": "ERROR", "object": body})
        return web.json_response(body, status=self.status, headers=headers)


class Drop(Exception):
    """Raised by a hook: the request, or the answer, goes no further and the connection ends."""


Hook = Callable[[Literal["before", "after"], Write], None]
Fault = Callable[[Asked], Refusal | None]


def share_refused(share: int, refusal: Refusal) -> Fault:
    """Every `share`-th request but those for the Lease, whose loss would be another fault."""
    numbers = itertools.count(1)
    return lambda asked: None if asked.is_lease or next(numbers) % share else refusal


class Proxy:
    """Plain HTTP on loopback, forwarded to the API server with the caller's own token.

    `hook` is called before each write is forwarded and again when its answer is there, before the operator
    gets it; it runs in the proxy's thread. `fault` may answer any request itself (a refusal of status 0 only
    takes its seconds, then the request passes). `mute_watch` keeps what the watches of a path tell to itself,
    for as long as their connections last. `cut` lets nothing through either way, and closes nothing.
    """

    def __init__(self, kubeconfig: Path, directory: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self._upstream = cluster["server"]
        self._trust = ssl.create_default_context(cafile=cluster.get("certificate-authority"))
        self._config = config
        self.kubeconfig = directory / f"proxied-{kubeconfig.name}"
        self.hook: Hook | None = None
        self.fault: Fault | None = None
        self.refuse_watch: Callable[[str], bool] = lambda _: False
        self.mute_watch: Callable[[str], bool] = lambda _: False
        self._loop = asyncio.new_event_loop()
        self._whole: asyncio.Event | None = None
        self._watches: set[asyncio.Task[Any]] = set()
        self._requests: set[asyncio.Task[Any]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def cut(self) -> None:
        """From now on nothing passes."""
        assert self._whole is not None
        self._loop.call_soon_threadsafe(self._whole.clear)

    def mend(self) -> None:
        """Pass again what comes from now on; what was held is lost."""
        assert self._whole is not None
        self._loop.call_soon_threadsafe(self._whole.set)

    def break_watches(self) -> None:
        """End the watch connections that are open now."""
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._watches])

    def break_connections(self) -> None:
        """End every request that is under way, as an API server does that is killed."""
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._requests])

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._loop.run_forever()
        self._loop.run_until_complete(self._stop())
        self._loop.close()

    async def _start(self) -> None:
        self._whole = asyncio.Event()
        self._whole.set()
        connector = aiohttp.TCPConnector(ssl=self._trust, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False, trust_env=False)
        self._runner = web.ServerRunner(web.Server(self._serve, access_log=None), shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        server = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._config["clusters"][0]["cluster"] = {"server": server}
        self.kubeconfig.write_text(json.dumps(self._config))
        self._ready.set()

    async def _stop(self) -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await self._runner.cleanup()
        await self._session.close()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._requests.add(task)
        try:
            return await self._forward(request)
        except (aiohttp.ClientError, OSError):
            # Either side is gone: so is the other's connection, as on a wire.
            if request.transport is not None:
                request.transport.abort()
            raise asyncio.CancelledError from None
        finally:
            self._requests.discard(task)

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        await self._pass()
        asked = Asked(request.method, request.path, request.query_string)
        if asked.is_watch and self.refuse_watch(request.path):
            return self._expired()
        fault = self.fault  # taken away by the test's thread
        if fault is not None and (refusal := fault(asked)) is not None:
            await asyncio.sleep(refusal.seconds)
            if refusal.status:
                return refusal.response()
        write = None
        if request.method not in _READS:
            write = Write(request.method, request.path, request.query_string, _json(body))
        try:
            self._tell("before", write)
            headers = {
                name: value for name, value in request.headers.items() if name.lower() not in _HOP_HEADERS
            }
            url = self._upstream + request.raw_path
            timeout = aiohttp.ClientTimeout(total=None)
            async with self._session.request(
                request.method, url, headers=headers, data=body or None, timeout=timeout
            ) as answer:
                if asked.is_watch:
                    return await self._stream(request, answer)
                payload = await answer.read()
                await self._pass()
                self._tell("after", write)
                return web.Response(status=answer.status, body=payload, headers=_kept(answer))
        except Drop:
            if request.transport is not None:
                request.transport.abort()
            raise asyncio.CancelledError from None

    async def _stream(self, request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        response = web.StreamResponse(status=answer.status, headers=_kept(answer))
        try:
            await response.prepare(request)
            muted = False
            async for chunk in answer.content.iter_any():
                await self._pass()
                # For good: no API server leaves an event out and goes on.
                muted = muted or self.mute_watch(request.path)
                if not muted:
                    await response.write(chunk)
            await response.write_eof()
        finally:
            self._watches.discard(task)
        return response

    async def _pass(self) -> None:
        """Hold, for ever, what is on its way when the wire is cut."""
        assert self._whole is not None
        if not self._whole.is_set():
            await asyncio.Event().wait()

    def _tell(self, stage: Literal["before", "after"], write: Write | None) -> None:
        hook = self.hook  # taken away by the test's thread
        if write is not None and hook is not None:
            hook(stage, write)

    def _expired(self) -> web.Response:
        gone = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}
        return web.json_response({"type": "ERROR", "object": gone})


def _kept(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """Headers that are not about this one connection; the body passes as it is, so its encoding does too."""
    kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_HEADERS}
    if encoding := answer.headers.get("Content-Encoding"):
        kept["Content-Encoding"] = encoding
    return kept


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
