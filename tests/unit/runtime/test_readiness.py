"""The container's own readiness, and the end of what hangs, around a small script in tritonserver's place."""

import http.client
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from triton_runtime import readiness

from .conftest import Container, alive, free_ports, wait_for

TIMES = {"TRITON_VLLM_NO_PROGRESS_SECONDS": "0.5", "TRITON_VLLM_HANG_END_SECONDS": "3"}

#: A front end that beats, and an engine below it. The beat has what the file `beat` says.
STUB = """
import faulthandler, json, os, subprocess, sys, time
from pathlib import Path
faulthandler.enable()
folder, state = Path(sys.argv[1]), Path(sys.argv[2])
program = '''
import os, sys, time
def wait_in_a_step():
    open(sys.argv[1], "w").write(str(os.getpid()))
    time.sleep(600)
wait_in_a_step()
'''
core = subprocess.Popen([sys.executable, "-c", program, str(folder / "core.pid")])
(folder / "stub.pid").write_text(str(os.getpid()))
beat = {"beats": 0, "messages": 0, "in_flight": 1, "proven": True, "loading_adapter": False, "open": True}
while True:
    said = json.loads((folder / "beat").read_text()) if (folder / "beat").exists() else {}
    beat["beats"] += 1
    beat["messages"] += 0 if said.get("silent") else 1
    beat |= said
    (state.parent / f"front-end-{os.getpid()}.json").write_text(json.dumps(beat))
    if (state.parent / "hung").exists():
        (folder / "told").touch()
    time.sleep(0.05)
"""

#: Triton around it: loads until the file `load` is there, and answers with the status in the file `status`.
TRITON = """
    from http.server import BaseHTTPRequestHandler, HTTPServer
    stub = folder / "triton_python_backend_stub"
    subprocess.Popen([str(stub), str(folder), os.environ["TRITON_VLLM_ENGINE_STATE_FILE"]])
    while not (folder / "stub.pid").exists():
        time.sleep(0.01)
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            file = folder / "status"
            self.send_response(int(file.read_text()) if file.exists() else 200)
            self.end_headers()
            (folder / "asked").write_text(self.path)
        def log_message(self, *_):
            pass
    while not (folder / "load").exists():
        time.sleep(0.01)
    signal.signal(signal.SIGTERM, lambda *_: (folder / "got-term").touch())
    HTTPServer(("127.0.0.1", http_port), Handler).serve_forever()
"""


def ask(container: Container, path: str = "/ready") -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", container.health_port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def reason(container: Container) -> str:
    return str(ask(container)[1].get("reason", ""))


def load(container: Container, **env: str) -> None:
    stub = container.folder / "triton_python_backend_stub"
    stub.write_text(f"#!{sys.executable}{STUB}")
    stub.chmod(0o755)
    container.start(TRITON, **{**TIMES, **env})
    container.until("stub.pid")


def serve(container: Container, **env: str) -> None:
    load(container, **env)
    (container.folder / "load").touch()
    wait_for(lambda: ask(container)[0] == 200, "it is ready")


def say(container: Container, name: str, content: str) -> None:
    new = container.folder / f"{name}.new"
    new.write_text(content)
    new.rename(container.folder / name)


def test_it_answers_from_the_start_and_combines_what_all_say(container: Container) -> None:
    load(container)
    assert ask(container) == (503, {"ready": False, "reason": "tritonserver is loading the model"})
    (container.folder / "load").touch()
    wait_for(lambda: ask(container) == (200, {"ready": True}), "it is ready")
    wait_for(lambda: container.until("asked").read_text() == "/v2/models/m/ready", "the model is asked for")
    assert ask(container, "/")[0] == ask(container, "/ready/x")[0] == 404

    say(container, "status", "400")
    assert ask(container)[1]["reason"] == "tritonserver says that the model is not ready (400)"
    say(container, "status", "200")
    assert ask(container)[0] == 200

    say(container, "beat", '{"open": false}')
    wait_for(lambda: reason(container) == "a front end takes no requests", "its doors are closed")
    say(container, "beat", '{"open": true}')
    wait_for(lambda: ask(container)[0] == 200, "its doors are open")


def test_who_asks_slowly_does_not_hold_the_others(container: Container) -> None:
    serve(container)
    address = ("127.0.0.1", container.health_port)
    slow = [socket.create_connection(address) for _ in range(8)]
    started = time.monotonic()
    assert ask(container)[0] == 200
    assert time.monotonic() - started < 3
    for connection in slow:
        connection.close()


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(readiness, "CLIENT_SECONDS", 1.0)
    (port,) = free_ports(1)
    made = readiness.Endpoint(port)
    made.start(lambda: None)
    yield "127.0.0.1", port
    made._server.shutdown()
    made._server.server_close()


def kubelet(address: tuple[str, int]) -> bytes:
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while part := connection.recv(4096):
            answer += part
        return answer


@pytest.mark.parametrize("count", [readiness.MOST_AT_ONCE, 3 * readiness.MOST_AT_ONCE])
def test_however_many_ask_a_byte_at_a_time_the_kubelet_is_answered(
    endpoint: tuple[str, int], count: int
) -> None:
    end, asked = time.monotonic() + 3, 0
    drip = [socket.create_connection(endpoint) for _ in range(count)]
    while time.monotonic() < end:
        for number, connection in enumerate(drip):
            try:
                connection.sendall(b"G")
            except OSError:
                connection.close()
                drip[number] = socket.create_connection(endpoint)
        assert kubelet(endpoint).startswith(b"HTTP/1.0 200"), f"after {asked} answers"
        asked += 1
    assert asked >= 5
    for connection in drip:
        connection.close()


def test_a_question_has_one_deadline_however_it_comes(endpoint: tuple[str, int]) -> None:
    started = time.monotonic()
    with socket.create_connection(endpoint, timeout=10) as connection:
        connection.settimeout(0.1)
        while time.monotonic() < started + 10:
            try:
                connection.sendall(b"G")
                if connection.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    assert 0.9 < time.monotonic() - started < 4


def test_tritons_answer_has_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was slow to be made leaves less time for the answer."""
    monkeypatch.setattr(readiness, "TRITON_SECONDS", 1.0)
    connect = http.client.HTTPConnection.connect

    def slowly(self: http.client.HTTPConnection) -> None:
        time.sleep(0.8)
        connect(self)

    monkeypatch.setattr(http.client.HTTPConnection, "connect", slowly)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        said = readiness.triton_unready(silent.getsockname()[1], "m")
        assert said == "tritonserver did not answer in time"
        assert time.monotonic() - started < 1.5


def test_a_container_that_ends_is_not_ready(container: Container) -> None:
    serve(container)
    container.terminate()
    container.until("got-term")
    assert reason(container) == "the container is ending"
    container.terminate()
    container.end()


def test_a_silence_turns_clients_away_and_is_forgotten_when_it_ends(container: Container) -> None:
    serve(container, TRITON_VLLM_HANG_END_SECONDS="600")
    say(container, "beat", '{"silent": true}')
    wait_for(lambda: reason(container) == "nothing has come from the engine", "the silence counts")
    container.until("told")
    say(container, "beat", '{"silent": false}')
    wait_for(lambda: ask(container)[0] == 200, "it is ready again")
    assert container.started
    assert container.started.poll() is None


def test_a_hung_engine_ends_the_container_with_its_stacks_in_the_log_only(container: Container) -> None:
    serve(container)
    core, stub = container.pid("core.pid"), container.pid("stub.pid")
    say(container, "beat", '{"silent": true}')
    os.kill(core, signal.SIGSTOP)
    code, _, err = container.end()
    assert code == 1
    assert container.message["reason"] == "EngineHung"
    assert container.message["detail"].startswith("nothing has come from the engine for ")
    assert container.message["detail"].endswith(" s with requests in flight: 1")
    assert err.count("Fatal Python error: Aborted") == 2, "the engine, and the front end after it"
    assert "in wait_in_a_step" in err
    assert "wait_in_a_step" not in json.dumps(container.message)
    assert not alive(core)
    assert not alive(stub)


def test_a_stopped_front_end_ends_the_container(container: Container) -> None:
    serve(container)
    stub = container.pid("stub.pid")
    os.kill(stub, signal.SIGSTOP)
    code, _, err = container.end()
    assert code == 1
    assert container.message["reason"] == "EngineHung"
    assert f"the backend's process {stub} has given no sign of life for" in container.message["detail"]
    assert "Fatal Python error: Aborted" in err
    assert not alive(stub)


def test_vllms_own_patience_with_a_step_comes_first(container: Container) -> None:
    serve(container, VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS="3600")
    say(container, "beat", '{"silent": true}')
    container.until("told")
    told = time.monotonic()
    wait_for(lambda: time.monotonic() > told + 4, "longer than the entry point's own limit")
    assert container.started
    assert container.started.poll() is None


def test_a_port_that_is_taken_is_named(container: Container) -> None:
    with socket.create_server(("", container.health_port)):
        container.start("time.sleep(600)")
        code, _, _ = container.end()
    assert code == 1
    assert container.message["reason"] == "ContainerCrashed"
    assert (
        container.message["detail"]
        == f"cannot listen on port {container.health_port}: Address already in use"
    )
