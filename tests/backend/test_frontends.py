"""Several instances of one group: front ends that share one engine, and live and die with it."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from backend.client import Client, Flood, Stream
from backend.serving import Installation, Model, Server, eventually

INSTANCES, IN_FLIGHT, DRAIN_SECONDS = 2, 16, 2
GROUP = f"{{ count: {INSTANCES} kind: KIND_MODEL }}"
LABELS = '{model="vllm_model",version="1"}'
UNHEALTHY = "Model is unavailable due to unhealthy vLLM engine"


@pytest.fixture
def start(where: Installation) -> Iterator[Callable[..., Server]]:
    servers = []

    def begin(*flags: str, env: dict[str, str] | None = None, **options: Any) -> Server:
        model = Model(group=GROUP, parameters={"DRAIN_SECONDS": str(DRAIN_SECONDS)}, **options)
        servers.append(Server(where, {"vllm_model": model}, *flags, env=env))
        return servers[-1]

    yield begin
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def server(where: Installation) -> Iterator[Server]:
    model = Model(
        engine={"enable_lora": True, "max_lora_rank": 16, "max_loras": 2},
        parameters={"REPORT_CUSTOM_METRICS": "true"},
        adapters={name: f"{where.adapters}/{name}" for name in ("doll", "sheep")},
        group=GROUP,
    )
    server = Server(where, {"vllm_model": model})
    try:
        yield server.wait_ready()
    finally:
        server.close()


@pytest.fixture
def client(server: Server) -> Client:
    return Client(server.grpc_port)


def _stub(server: Server, instance: int) -> int:
    """The process of an instance (its watchdog is a fork of it, and younger)."""
    return server.pid_of(f"vllm_model_0_{instance}")


def _engines(server: Server) -> list[str]:
    return [command for command in server.processes().values() if "EngineCore" in command]


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_metrics_add_up_over_the_front_ends(server: Server) -> None:
    tokens, running = f"vllm:generation_tokens_total{LABELS}", f"vllm:num_requests_running{LABELS}"
    flood = Flood(server.grpc_port, IN_FLIGHT, max_tokens=300)
    eventually(lambda: server.metrics()[running] > 0, 10, "running requests")
    flood.join(60)
    eventually(lambda: server.metrics()[tokens] == IN_FLIGHT * 300, 10, "all tokens are counted")
    eventually(lambda: server.metrics()[running] == 0, 10, "nothing runs")


def test_every_front_end_serves_from_the_one_engine(server: Server, client: Client, expected: Any) -> None:
    assert len(_engines(server)) == 1
    before = [_cpu_seconds(_stub(server, instance)) for instance in range(INSTANCES)]
    flood = Flood(server.grpc_port, IN_FLIGHT, max_tokens=300)
    flood.join(60)
    assert all(len(answer.text) > 0 for answer in flood.answers)
    after = [_cpu_seconds(_stub(server, instance)) for instance in range(INSTANCES)]
    spent = [now - then for then, now in zip(before, after, strict=True)]
    # At rest a front end takes a hundredth of a second in this time.
    assert min(spent) > max(spent) / 5, f"an instance had no request: {spent}"
    case = expected["prompts"][3]
    for _ in range(3 * INSTANCES):
        assert client.text(case["prompt"], max_tokens=64) == case["continuation"]


def test_a_stream_alone_has_one_response_for_each_token(client: Client) -> None:
    for _ in range(INSTANCES):
        answer = client.ask(
            text_input="x",
            stream=True,
            sampling_parameters={"temperature": 0, "max_tokens": 30, "ignore_eos": True},
        )
        assert len(answer.responses) == 30


def test_adapters_are_the_same_at_every_front_end(
    server: Server, client: Client, where: Installation, expected: Any
) -> None:
    path = server.repository / "vllm_model/1/multi_lora.json"

    def change(*names: str) -> None:
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({name: f"{where.adapters}/{name}" for name in names}))
        os.replace(fresh, path)
        # Every one of several answers in a row, whoever gives them.
        eventually(
            lambda: all(client.info()["adapters"] == list(names) for _ in range(4 * INSTANCES)),
            20,
            f"adapters {names}",
        )

    def check(name: str) -> None:
        case = expected["adapters"][name]
        for _ in range(2 * INSTANCES):
            assert client.text(case["prompt"], max_tokens=64, lora_name=name) == case["continuation"]

    check("doll")
    check("sheep")
    change("sheep")
    check("sheep")
    for _ in range(2 * INSTANCES):
        gone = client.ask(text_input="x", sampling_parameters={"lora_name": "doll"}).error
        assert gone == "LoRA doll is not supported, we currently support ['sheep']"
    change("doll", "sheep")
    check("doll")
    assert "could not be unloaded" not in server.log()
    assert "Traceback" not in server.log()


def test_the_engines_death_is_answered_by_every_front_end(server: Server, client: Client) -> None:
    flood = Flood(server.grpc_port, IN_FLIGHT)
    server.kill("EngineCore")
    flood.join(5)
    assert [str(answer.error) for answer in flood.answers] == [UNHEALTHY] * IN_FLIGHT
    assert {client.ask(text_input="x").error for _ in range(2 * INSTANCES)} == {UNHEALTHY}
    state = eventually(server.state, 5, "the death's report")
    assert state["state"] == "dead"


@pytest.mark.parametrize("victim", range(INSTANCES))
def test_no_front_end_outlives_another(start: Callable[..., Server], victim: int) -> None:
    # Instances that load one after the other, too: the first is ready before the second begins.
    server = start(env={"TRITON_PARALLEL_INSTANCE_LOADING": str(victim)}).wait_ready()
    sampling = {"temperature": 0, "max_tokens": 100_000, "ignore_eos": True}
    with ExitStack() as stack:
        streams = [
            stack.enter_context(
                Stream(Client(server.grpc_port), text_input="x", stream=True, sampling_parameters=sampling)
            )
            for _ in range(IN_FLIGHT)
        ]
        for stream in streams:
            assert not stream.next()
        os.kill(_stub(server, victim), signal.SIGKILL)
        eventually(lambda: not _engines(server), 5, "the engine's end")
        # Triton never answers for the killed one: the container's entry point ends such a server.
        deadline = time.monotonic() + 5
        answers = [stream.error_by(deadline) for stream in streams]
        assert set(answers) == {UNHEALTHY, None}
        state = eventually(server.state, 5, "the report")
        assert state["state"] in ("dead", "stub-dead")
        server.kill("tritonserver")
    server.wait_gone(5)


def test_reload_and_sigterm_with_requests_in_flight(
    start: Callable[..., Server], where: Installation
) -> None:
    sockets = where.path / "tmp"
    before = set(sockets.glob("vllm-engine-*"))
    server = start("--model-control-mode=explicit", "--load-model=vllm_model").wait_ready()
    assert server.post("/v2/repository/models/vllm_model/unload", {}).ok
    eventually(lambda: not _engines(server), 30, "the engine's end")
    assert server.post("/v2/repository/models/vllm_model/load", {}, timeout=120).ok
    assert len(_engines(server)) == 1
    assert len(set(sockets.glob("vllm-engine-*")) - before) == 1
    flood = Flood(server.grpc_port, IN_FLIGHT)
    asked = time.monotonic()
    server.kill("tritonserver", signal.SIGTERM)
    flood.join(DRAIN_SECONDS + 10)
    eventually(lambda: server.exit_status() is not None, DRAIN_SECONDS + 20, "the server's end")
    assert server.exit_status() == 0
    assert time.monotonic() - asked < DRAIN_SECONDS + 20
    assert server.state() == {"state": "drained"}
    assert set(sockets.glob("vllm-engine-*")) <= before
    server.wait_gone(1)


def test_what_is_wrong_with_the_model_is_said_and_nothing_waits_for_ever(
    start: Callable[..., Server],
) -> None:
    server = start(engine={"max_model_len": 1 << 30})
    eventually(lambda: server.exit_status() is not None, 120, "the server's end")
    assert "max_model_len" in server.log()
    server.wait_gone(1)
