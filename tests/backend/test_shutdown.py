"""A plain server: no metrics of ours, mixed load, and a SIGTERM with requests in flight."""

import asyncio
import http.client
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc.aio as aioclient

from backend.client import Client, Flood, Stream, ask_async
from backend.serving import Installation, Model, Server, eventually

DRAIN_SECONDS = 2
REQUESTS, IN_FLIGHT = 2000, 32


@pytest.fixture(scope="module")
def server(where: Installation) -> Iterator[Server]:
    model = Model(
        engine={"enable_lora": True, "max_lora_rank": 16},
        parameters={"DRAIN_SECONDS": str(DRAIN_SECONDS)},
        adapters={"doll": f"{where.adapters}/doll"},
    )
    server = Server(where, {"vllm_model": model})
    try:
        yield server.wait_ready()
    finally:
        server.close()


def test_no_line_of_vllm_where_metrics_are_not_asked_for(server: Server) -> None:
    assert Client(server.grpc_port).text("The operator watches")
    assert server.metrics() == {}


class Resources:
    """What a process holds."""

    def __init__(self, pid: int) -> None:
        proc = Path(f"/proc/{pid}")
        self.files = len(list((proc / "fd").iterdir()))
        self.threads = len(list((proc / "task").iterdir()))
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        self.memory_kib = int(status["VmRSS"].split()[0])


async def _mixed(port: int, first: int, count: int) -> list[str]:
    """Run requests of every kind; return what became of each."""
    clients = [aioclient.InferenceServerClient(f"127.0.0.1:{port}") for _ in range(4)]
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def one(number: int) -> str:
        kind = number % 10
        values: dict[str, Any] = {"text_input": f"{number} and", "stream": kind < 5}
        sampling: dict[str, Any] = {"temperature": 0, "max_tokens": 12, "ignore_eos": True}
        if kind == 2:
            sampling |= {"n": 3, "temperature": 1.0}
        elif kind == 3:
            sampling["lora_name"] = "doll"
        elif kind == 4:
            sampling["max_tokens"] = 500
        elif kind == 6:
            sampling["top_p"] = 9
        elif kind == 7:
            values["sampling_parameters"] = "{"
        async with gate:
            request = ask_async(clients[number % len(clients)], **{"sampling_parameters": sampling, **values})
            if kind == 4:
                try:
                    await asyncio.wait_for(request, 0.1)
                except TimeoutError:
                    return "cancelled"
                return "answered"
            answer = await asyncio.wait_for(request, 60)
        if kind in (6, 7):
            return "refused" if answer.error else "wrong"
        return "answered" if answer.error is None and answer.responses else f"failed: {answer.error}"

    outcomes = await asyncio.gather(*(one(number) for number in range(first, first + count)))
    for client in clients:
        await client.close()
    return outcomes


@pytest.mark.timeout(400)
def test_mixed_load_leaks_nothing(server: Server) -> None:
    stub = server.pid_of("triton_python_backend_stub")
    warm = asyncio.run(_mixed(server.grpc_port, 0, 400))
    before = Resources(stub)
    outcomes = warm + asyncio.run(_mixed(server.grpc_port, 400, REQUESTS - 400))
    assert len(outcomes) == REQUESTS
    assert set(outcomes) <= {"answered", "refused", "cancelled"}
    assert outcomes.count("refused") == REQUESTS // 5
    assert outcomes.count("cancelled") > 0

    def settled() -> bool:
        after = Resources(stub)
        return after.files <= before.files + 4 and after.threads <= before.threads + 2

    eventually(settled, 15, "file descriptors and threads as before")
    assert Resources(stub).memory_kib < before.memory_kib + 40_000
    # Nothing of it is left in the engine: a request alone has one response for each token.
    alone = Client(server.grpc_port).ask(
        text_input="x",
        stream=True,
        sampling_parameters={"temperature": 0, "max_tokens": 30, "ignore_eos": True},
    )
    assert len(alone.responses) == 30
    assert "Traceback" not in server.log()


@pytest.fixture
def fresh_server(where: Installation) -> Iterator[Server]:
    """A server on which no request was cancelled as it ended: one may keep Triton from ending in order."""
    server = Server(where, {"vllm_model": Model(parameters={"DRAIN_SECONDS": str(DRAIN_SECONDS)})})
    try:
        yield server.wait_ready()
    finally:
        server.close()


def test_sigterm_with_requests_in_flight_ends_within_the_drain_time(fresh_server: Server) -> None:
    flood = Flood(fresh_server.grpc_port, IN_FLIGHT, max_tokens=2000)
    with Stream(
        Client(fresh_server.grpc_port),
        text_input="x",
        stream=True,
        sampling_parameters={"temperature": 0, "max_tokens": 20, "ignore_eos": True},
    ) as short:
        ended = short.next()
        asked = time.monotonic()
        fresh_server.kill("tritonserver", signal.SIGTERM)
        answer = short.answer if ended else short.result()
    # Its client closed it: Triton keeps a model while a gRPC stream that used it is open, answered or not.
    assert answer.error is None, "a request that can finish in the drain time does"
    flood.join(DRAIN_SECONDS + 10)
    status = eventually(
        lambda: fresh_server.exit_status() is not None, DRAIN_SECONDS + 20, "the server's end"
    )
    assert status
    assert fresh_server.exit_status() == 0
    assert time.monotonic() - asked < DRAIN_SECONDS + 20
    assert fresh_server.state() == {"state": "drained"}
    fresh_server.wait_gone(1)


def test_sigterm_with_an_http_stream_in_flight(fresh_server: Server) -> None:
    # Triton then keeps its endpoint open for that connection, and turns new ones away.
    flood = Flood(fresh_server.grpc_port, 8, max_tokens=2000)
    asked = {"text_input": "x", "stream": True, "max_tokens": 2000, "ignore_eos": True}
    # Not `requests`, which keeps the connection for longer than it says: Triton waits for it.
    connection = http.client.HTTPConnection("127.0.0.1", fresh_server.http_port, timeout=60)
    connection.request("POST", "/v2/models/vllm_model/generate_stream", json.dumps(asked))
    events = (line for line in connection.getresponse() if line.strip())
    assert b"text_output" in next(events)
    fresh_server.kill("tritonserver", signal.SIGTERM)
    *_, last = events
    connection.close()
    assert b"the model is being unloaded" in last
    flood.join(DRAIN_SECONDS + 10)
    eventually(lambda: fresh_server.exit_status() is not None, DRAIN_SECONDS + 20, "the server's end")
    assert fresh_server.exit_status() == 0


def test_an_unload_gives_requests_in_flight_the_drain_time(where: Installation) -> None:
    model = Model(parameters={"DRAIN_SECONDS": str(DRAIN_SECONDS)})
    server = Server(where, {"vllm_model": model}, "--model-control-mode=explicit", "--load-model=vllm_model")
    try:
        server.wait_ready()
        flood = Flood(server.grpc_port, 8)
        asked = time.monotonic()
        assert server.post("/v2/repository/models/vllm_model/unload", {}).ok
        answers = flood.join(DRAIN_SECONDS + 10)
        assert time.monotonic() - asked >= DRAIN_SECONDS
        assert {getattr(answer, "error", answer) for answer in answers} == {"the model is being unloaded"}
        server.wait_gone(30, besides=("bin/tritonserver",))
        assert "after all" not in server.log()
    finally:
        server.close()
