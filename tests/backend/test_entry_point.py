"""The container's entry point around a real tritonserver: a part of it dies or is given up."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import pytest

from backend.client import Client
from backend.serving import STUB, Installation, Model, Server, eventually


@pytest.fixture
def server(where: Installation) -> Iterator[Server]:
    server = Server(where, {"vllm_model": Model()}, entry_point=True)
    try:
        yield server
    finally:
        server.close()


@pytest.mark.parametrize(
    ("victim", "reason"),
    [
        ("EngineCore", "EngineDead"),
        (STUB, "PythonStubDied"),
        # Where no control group counts the kernel's kills, a SIGKILL is taken for one of them.
        ("bin/tritonserver", "HostOutOfMemory"),
    ],
)
def test_a_part_that_dies_while_serving_ends_the_container_with_its_reason(
    server: Server, victim: str, reason: str
) -> None:
    server.wait_ready()
    assert Client(server.grpc_port).text("The operator watches")
    server.kill(victim)
    eventually(lambda: server.exit_status() is not None, 20, "the container ends")
    assert server.exit_status() not in (0, None)
    assert server.last_words()["reason"] == reason
    server.wait_gone(5)


def test_a_stub_that_triton_gives_up_while_loading_ends_the_container(server: Server) -> None:
    # What a machine without CPU to spare does to the stub: silence, for longer than Triton waits for its sign
    # of life (1 s in Triton 2.51, 5 s in later ones), then it goes on.
    eventually(lambda: "EngineCore" in "".join(server.processes().values()), 120, "the engine starts")
    stub = server.pid_of(STUB)
    os.kill(stub, signal.SIGSTOP)
    stopped = time.monotonic()
    eventually(lambda: time.monotonic() > stopped + 8, 10, "Triton gives the stub up")
    with contextlib.suppress(ProcessLookupError):  # ended already
        os.kill(stub, signal.SIGCONT)
    eventually(lambda: server.exit_status() is not None, 60, "the container ends")
    assert server.exit_status() == 1
    assert server.last_words()["reason"] == "StubTimeout"
    server.wait_gone(5)
