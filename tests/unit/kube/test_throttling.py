"""Requests that the API server refuses with "not now": sent again at its pace, for a bounded time."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from vllm_operator.kube.client import KubeClient
from vllm_operator.kube.errors import ApiError
from vllm_operator.kube.resources import LEASES
from vllm_operator.kube.retry import asked_wait, seconds_until_retry

Answer = tuple[int, dict[str, str], dict[str, Any]]
Serve = Callable[..., Awaitable[KubeClient]]

LEASE = {
    "apiVersion": LEASES.api_version,
    "kind": LEASES.kind,
    "metadata": {"namespace": "default", "name": "llama", "uid": "u"},
}
FOUND: Answer = (200, {}, LEASE)
#: As the API server's Priority and Fairness answers.
TOO_MANY: Answer = (429, {"Retry-After": "0"}, {"kind": "Status", "message": "Too many requests"})


class Server:
    """Answers as it was told, in order; the last answer for ever."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [FOUND]
        self.asked: list[tuple[str, str]] = []
        self.at: list[float] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, (await request.read()).decode()))
        self.at.append(time.monotonic())
        status, headers, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.json_response(body, status=status, headers=headers)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def connect(server: Server) -> AsyncIterator[Serve]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    clients: list[KubeClient] = []

    async def client(**options: Any) -> KubeClient:
        configuration = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
        configuration.tcp_connector_limit_per_host = 4
        clients.append(KubeClient(configuration, namespace="default", timeout_seconds=2, **options))
        return clients[-1]

    yield client
    for made in clients:
        await made.close()
    await runner.cleanup()


CALLS = {
    "GET": lambda client: client.get(LEASES, "default", "llama"),
    "POST": lambda client: client.create(LEASE, field_manager="test"),
    "PATCH": lambda client: client.apply(LEASE, field_manager="test"),
    "PUT": lambda client: client.replace(LEASE),
    "DELETE": lambda client: client.delete(LEASE),
}


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("status", [429, 503, 500])
async def test_a_refusal_that_says_when_is_sent_again_as_it_was(
    server: Server, connect: Serve, method: str, status: int
) -> None:
    server.answers = [(status, {"Retry-After": "0"}, {})] * 3 + [FOUND]
    await CALLS[method](await connect())
    assert [asked[0] for asked in server.asked] == [method] * 4
    assert len(set(server.asked)) == 1, "the body is whole each time"


@pytest.mark.parametrize(
    ("refusal"),
    [
        (429, {"Retry-After": "1"}, {}),
        (429, {}, {"details": {"retryAfterSeconds": 1}}),
        (429, {"Retry-After": "1"}, {"details": {"retryAfterSeconds": 30}}),
        (429, {}, {}),
        (503, {}, {"details": ["no", "mapping"]}),
    ],
)
async def test_it_waits_as_long_as_it_was_asked_to(server: Server, connect: Serve, refusal: Answer) -> None:
    server.answers = [refusal, FOUND]
    await (await connect()).get(LEASES, "default", "llama")
    assert 1.0 <= server.at[1] - server.at[0] <= 2.0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500, 502, 504])
async def test_what_is_no_throttling_is_answered_at_once(
    server: Server, connect: Serve, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def load(_: Configuration) -> str:
        return "default"

    monkeypatch.setattr("vllm_operator.kube.client.load_credentials", load)
    server.answers = [(status, {}, {})]
    with pytest.raises(ApiError) as raised:
        await (await connect()).get(LEASES, "default", "llama")
    assert raised.value.status == status
    assert raised.value.throttled_seconds is None
    assert len(server.asked) == 1


async def test_a_write_that_a_proxy_may_have_passed_on_is_not_repeated(
    server: Server, connect: Serve
) -> None:
    server.answers = [(503, {}, {})]
    with pytest.raises(ApiError) as raised:
        await (await connect()).create(LEASE, field_manager="test")
    assert len(server.asked) == 1
    assert raised.value.throttled_seconds == 0


async def test_the_patience_bounds_it_all_and_the_error_says_when_to_ask_again(
    server: Server, connect: Serve
) -> None:
    server.answers = [(429, {"Retry-After": "1"}, {})]
    began = time.monotonic()
    with pytest.raises(ApiError) as raised:
        await (await connect(patience_seconds=3)).get(LEASES, "default", "llama")
    assert time.monotonic() - began <= 3.5
    assert 2 <= len(server.asked) <= 4
    assert raised.value.throttled_seconds == 1


@pytest.mark.parametrize("method", CALLS)
async def test_writes_that_are_answered_are_counted(server: Server, connect: Serve, method: str) -> None:
    client = await connect()
    server.answers = [FOUND, (409, {}, {}), (500, {}, {}), (504, {}, {})]
    for _ in range(4):
        with contextlib.suppress(ApiError):
            await CALLS[method](client)
    assert client.writes_answered == (0 if method == "GET" else 2)


async def test_a_wait_beyond_the_patience_is_not_begun_and_bounded_for_the_queue(
    server: Server, connect: Serve
) -> None:
    server.answers = [(429, {"Retry-After": "86400"}, {})]
    with pytest.raises(ApiError) as raised:
        await (await connect()).get(LEASES, "default", "llama")
    assert len(server.asked) == 1
    assert raised.value.throttled_seconds == 60


async def test_the_fence_is_asked_before_each_try(server: Server, connect: Serve) -> None:
    """Who has lost the lease while the server made it wait sends nothing more."""

    class Fenced(Exception):
        pass

    asked = 0

    def fence() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise Fenced

    server.answers = [TOO_MANY]
    client = await connect(fence=fence)
    with pytest.raises((Fenced, ApiError)):
        async with asyncio.timeout(10):
            await client.create(LEASE, field_manager="test")
    assert asked == 3
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("header", "details", "expected"),
    [
        ("7", {}, 7),
        ("7", {"retryAfterSeconds": 1}, 7),
        (None, {"retryAfterSeconds": 3}, 3),
        ("Fri, 31 Dec 1999 23:59:59 GMT", {}, None),
        ("-1", {}, None),
        ("nan", {}, None),
        ("inf", {"retryAfterSeconds": "2"}, 2),
        (None, {"retryAfterSeconds": None}, None),
        (None, {"retryAfterSeconds": [1]}, None),
    ],
)
def test_the_wait_that_is_asked_for(
    header: str | None, details: dict[str, Any], expected: float | None
) -> None:
    assert asked_wait({"Retry-After": header} if header else {}, details) == expected


def test_no_wait_is_a_tight_loop_and_those_who_wait_come_back_spread() -> None:
    waits = {seconds_until_retry(429, 0, is_read=False) for _ in range(50)}
    assert len(waits) > 10
    assert all(wait is not None and 0.1 <= wait <= 0.2 for wait in waits)
