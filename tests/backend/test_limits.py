"""Queue limits, priorities, and a server without metrics; the last test kills the stub."""

from collections.abc import Iterator

import pytest

from backend.client import Client, Flood, Stream
from backend.serving import Installation, Model, Server, eventually


@pytest.fixture(scope="module")
def server(where: Installation) -> Iterator[Server]:
    model = Model(
        engine={
            "enable_lora": "false",
            "max_num_queued_reqs": 3,
            "max_num_seqs": 1,
            "scheduling_policy": "priority",
        },
        parameters={"REPORT_CUSTOM_METRICS": "true"},
    )
    server = Server(where, {"vllm_model": model}, "--allow-metrics=false")
    try:
        yield server.wait_ready()
    finally:
        server.close()


def test_it_loads_with_metrics_switched_off(server: Server) -> None:
    assert Client(server.grpc_port).text("The operator watches")


def test_the_text_false_does_not_enable_lora(server: Server) -> None:
    error = Client(server.grpc_port).ask(text_input="x", sampling_parameters={"lora_name": "doll"}).error
    assert error == "LoRA feature is not enabled."


def test_a_full_queue_is_unavailable(server: Server) -> None:
    flood = Flood(server.grpc_port, 1, max_tokens=600)
    client = Client(server.grpc_port)
    long = {"temperature": 0, "max_tokens": 600, "ignore_eos": True}
    waiting = [Stream(client, text_input="x", stream=True, sampling_parameters=long) for _ in range(2)]
    try:
        # The queue has room for three: one that runs and two that wait.
        eventually(
            lambda: (
                client.kind_of_error(text_input="x", sampling_parameters={"max_tokens": 1})
                == "StatusCode.UNAVAILABLE"
            ),
            10,
            "a full queue",
        )
        # Waiting requests can be cancelled, although they have no output yet.
        before = server.log().count("Successfully cancelled the request")
        for stream in waiting:
            stream.cancel()
        eventually(
            lambda: server.log().count("Successfully cancelled the request") >= before + 2,
            5,
            "both cancelled",
        )
    finally:
        for stream in waiting:
            stream.__exit__()
    flood.join(60)


def test_priority_decides_who_is_next(server: Server) -> None:
    flood = Flood(server.grpc_port, 1, max_tokens=400)
    client = Client(server.grpc_port)
    order: list[str] = []
    sampling = {"temperature": 0, "max_tokens": 3, "ignore_eos": True}
    late = Stream(client, text_input="late", stream=True, sampling_parameters={**sampling, "priority": 9})
    soon = Stream(client, text_input="soon", stream=True, sampling_parameters={**sampling, "priority": -9})
    try:
        soon.result()
        order.append("soon")
        late.result()
        order.append("late")
        assert order == ["soon", "late"]
        assert soon.answer.error is None
        assert late.answer.error is None
    finally:
        soon.__exit__()
        late.__exit__()
    flood.join(60)


def test_a_killed_stub_leaves_no_process(server: Server) -> None:
    server.kill("triton_python_backend_stub")
    server.wait_gone(5, besides=("tritonserver",))
    state = eventually(server.state, 5, "the report")
    assert state == {"state": "stub-dead"}
