"""What hangs below the container's entry point: stopped processes, and what must not be taken for them."""

import contextlib
import os
import queue
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from backend.client import Client, Flood, Stream
from backend.serving import Installation, Model, Server, eventually

#: In a container it takes 60 s and 300 s (docs/backend.md, "Signs of life").
TIMES = {"TRITON_VLLM_NO_PROGRESS_SECONDS": "5", "TRITON_VLLM_HANG_END_SECONDS": "25"}
#: The silence, as long again for an answer, and the kubelet's patience for a machine that stalls.
FOUND_WITHIN = 5 + 5 + 10
ENDED_WITHIN = 25 * 1.2 + 30
UNHEALTHY = "Model is unavailable due to unhealthy vLLM engine"


@pytest.fixture
def start(where: Installation) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def begin(instances: int = 1, **options: Any) -> Server:
        group = f"{{ count: {instances} kind: KIND_MODEL }}"
        servers.append(
            Server(where, {"vllm_model": Model(group=group, **options)}, entry_point=True, env=TIMES)
        )
        return servers[-1].wait_ready()

    yield begin
    for server in servers:
        print(server.log()[-4000:])
        server.close()


def ready(server: Server) -> tuple[int, str]:
    """The container's own answer, as the kubelet asks for it, and why."""
    answer = requests.get(f"http://127.0.0.1:{server.health_port}/ready", timeout=10)
    return answer.status_code, str(answer.json().get("reason", ""))


def turned_away(server: Server, words: str) -> bool:
    status, reason = ready(server)
    return status == 503 and words in reason


def engine(server: Server) -> str:
    """What a front end that still answers says of the engine; empty where none did."""
    with (
        contextlib.suppress(queue.Empty),
        Stream(Client(server.grpc_port), backend_info_request=True) as asked,
    ):
        answer = asked.result(timeout=3)
        return str(answer.document("backend_info")["engine"]) if answer.error is None else ""
    return ""


def stub(server: Server, instance: int) -> int:
    return server.pid_of(f"vllm_model_0_{instance}")


@pytest.mark.timeout(500)
def test_a_stopped_engine(start: Callable[..., Server]) -> None:
    server = start()
    assert ready(server) == (200, "")
    assert Client(server.grpc_port).text("The operator watches")

    # Four times as many as the engine runs at once, for longer than it takes to find a hang.
    asked = time.monotonic()
    queued = Flood(server.grpc_port, 256, max_tokens=400)
    queued.join(200)
    assert all(getattr(answer, "error", answer) is None for answer in queued.answers)
    print(f"256 queued requests took {time.monotonic() - asked:.0f} s")
    assert "not ready" not in server.log()

    flood = Flood(server.grpc_port, 8)
    process = server.pid_of("EngineCore")
    os.kill(process, signal.SIGSTOP)
    eventually(lambda: turned_away(server, "nothing has come from the engine"), FOUND_WITHIN, "the hang")
    assert engine(server) == "hung"
    os.kill(process, signal.SIGCONT)
    eventually(lambda: ready(server) == (200, ""), 20, "it serves again")
    assert engine(server) == "healthy"

    os.kill(process, signal.SIGSTOP)
    eventually(lambda: server.exit_status() is not None, ENDED_WITHIN, "the container ends")
    assert server.exit_status() == 1
    assert [str(answer.error) for answer in flood.join(5)] == [UNHEALTHY] * 8
    words = server.last_words()
    assert words["reason"] == "EngineHung"
    assert re.fullmatch(
        r"nothing has come from the engine for \d+ s with requests in flight: 8", words["detail"]
    )
    assert "Fatal Python error: Aborted" in server.log()
    assert "run_busy_loop" in server.log()
    assert "Fatal Python error" not in str(words)
    server.wait_gone(5)


@pytest.mark.timeout(500)
def test_a_stopped_front_end(start: Callable[..., Server]) -> None:
    server = start(instances=2)
    leader, follower = stub(server, 0), stub(server, 1)
    os.kill(leader, signal.SIGSTOP)
    eventually(lambda: turned_away(server, "has given no sign of life"), FOUND_WITHIN, "the leader's silence")
    os.kill(leader, signal.SIGCONT)
    eventually(lambda: ready(server) == (200, ""), 20, "it serves again")

    os.kill(follower, signal.SIGSTOP)
    eventually(
        lambda: turned_away(server, "has given no sign of life"), FOUND_WITHIN, "the follower's silence"
    )
    eventually(lambda: engine(server) == "hung", 15, "the other front end tells of it")
    eventually(lambda: server.exit_status() is not None, ENDED_WITHIN, "the container ends")
    assert server.exit_status() == 1
    assert server.last_words()["reason"] in ("EngineHung", "PythonStubDied")
    server.wait_gone(5)
