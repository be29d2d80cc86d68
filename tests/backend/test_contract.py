"""The contract of the reference backend and what is right in ours, on one server.

LoRA, metrics, the health check and explicit model control are on; the last test kills the engine.
"""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests

from backend.client import GREEDY, Client, Flood, Stream
from backend.serving import Installation, Model, Server, eventually
from vllm_operator.observed.state import ProbeVerdict
from vllm_operator.observed.target import ProbeTarget
from vllm_operator.probe import triton

# A PNG of one pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
LONG = {"temperature": 0, "max_tokens": 400, "ignore_eos": True}


@pytest.fixture(scope="module")
def server(where: Installation) -> Iterator[Server]:
    model = Model(
        engine={"enable_lora": "true", "max_loras": 2, "max_cpu_loras": 4, "max_lora_rank": 16},
        parameters={"REPORT_CUSTOM_METRICS": "true", "ENABLE_VLLM_HEALTH_CHECK": "True"},
        adapters={name: f"{where.adapters}/{name}" for name in ("doll", "sheep")},
    )
    server = Server(where, {"vllm_model": model}, "--model-control-mode=explicit", "--load-model=vllm_model")
    try:
        yield server.wait_ready()
    finally:
        server.close()


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return Client(server.grpc_port)


# Metrics first: they count exactly what follows.


def test_metrics_count_tokens_and_requests_as_the_reference_does(server: Server, client: Client) -> None:
    before = server.metrics()
    labels = '{model="vllm_model",version="1"}'
    assert before[f"vllm:generation_tokens_total{labels}"] == 0, "the warm-up must not be counted"
    for _ in range(3):
        client.ask(text_input="The operator watches", sampling_parameters={**LONG, "max_tokens": 16})

    def counted() -> bool:
        return server.metrics()[f"vllm:generation_tokens_total{labels}"] == 48

    eventually(counted, 5, "48 generated tokens")
    counts = {
        "time_to_first_token_seconds": 3,
        "time_per_output_token_seconds": 45,
        "inter_token_latency_seconds": 45,
        "e2e_request_latency_seconds": 3,
        "request_prompt_tokens": 3,
        "request_generation_tokens": 3,
        "request_params_n": 3,
        "request_queue_time_seconds": 3,
        "request_prefill_time_seconds": 3,
        "request_decode_time_seconds": 3,
    }

    def published() -> bool:
        now = server.metrics()
        return {name: now[f"vllm:{name}_count{labels}"] for name in counts} == counts

    eventually(published, 5, "the histograms' counts")
    after = server.metrics()
    assert after[f"vllm:prompt_tokens_total{labels}"] > 0
    assert after[f"vllm:request_generation_tokens_sum{labels}"] == 48
    assert after[f"vllm:request_params_n_sum{labels}"] == 3


def test_more_tokens_than_one_push_holds_are_all_observed(server: Server) -> None:
    name = 'vllm:time_per_output_token_seconds_count{model="vllm_model",version="1"}'
    before = server.metrics()[name]
    Flood(server.grpc_port, 4, max_tokens=200).join(60)
    eventually(lambda: server.metrics()[name] - before == 4 * 199, 5, "a latency of each token but the first")


def test_gauges_follow_the_load(server: Server) -> None:
    labels = '{model="vllm_model",version="1"}'
    flood = Flood(server.grpc_port, 4, max_tokens=400)
    eventually(lambda: server.metrics()[f"vllm:num_requests_running{labels}"] > 0, 10, "running requests")
    flood.join(60)
    for gauge in ("num_requests_running", "num_requests_waiting"):
        eventually(lambda g=gauge: server.metrics()[f"vllm:{g}{labels}"] == 0, 5, f"{gauge} back at 0")
    assert f"vllm:kv_cache_usage_perc{labels}" in server.metrics()
    assert f"vllm:prefix_cache_queries_total{labels}" in server.metrics()


# Declarations


def test_configuration_is_completed(server: Server) -> None:
    url = f"http://127.0.0.1:{server.http_port}/v2/models/vllm_model/config"
    config = requests.get(url, timeout=5).json()
    assert config["model_transaction_policy"]["decoupled"] is True
    assert config.get("max_batch_size", 0) == 0
    inputs = {i["name"]: (i["data_type"], i["dims"], i.get("optional", False)) for i in config["input"]}
    assert inputs["text_input"] == ("TYPE_STRING", [1], False)
    for name in ("stream", "exclude_input_in_output", "return_logprobs", "return_num_output_tokens"):
        assert inputs[name][0] == "TYPE_BOOL", name
        assert inputs[name][2] is True, name
    for name in ("image", "sampling_parameters", "embedding_request"):
        assert inputs[name][0] == "TYPE_STRING", name
    outputs = {o["name"]: o["data_type"] for o in config["output"]}
    assert outputs["text_output"] == "TYPE_STRING"
    assert outputs["cumulative_logprob"] == "TYPE_FP32"
    assert outputs["num_input_tokens"] == outputs["num_output_tokens"] == "TYPE_UINT32"


# Generation


def test_known_texts(client: Client, expected: Any) -> None:
    for case in expected["prompts"]:
        assert client.text(case["prompt"], max_tokens=64) == case["continuation"]


def test_the_prompt_is_in_the_output_unless_excluded(client: Client, expected: Any) -> None:
    case = expected["prompts"][0]
    sampling = {"temperature": 0, "max_tokens": 64}
    with_prompt = client.ask(text_input=case["prompt"], sampling_parameters=sampling)
    assert with_prompt.text == case["prompt"] + case["continuation"]
    assert len(with_prompt.responses) == 1
    streamed = client.ask(text_input=case["prompt"], stream=True, sampling_parameters=sampling)
    assert streamed.text == case["continuation"]


def test_one_response_for_each_token_and_all_outputs(client: Client) -> None:
    returns = {
        f"return_{name}": True
        for name in (
            "finish_reason",
            "logprobs",
            "cumulative_logprob",
            "num_input_tokens",
            "num_output_tokens",
        )
    }
    answer = client.ask(
        text_input="The operator watches",
        stream=True,
        return_token_ids=True,
        sampling_parameters={**LONG, "max_tokens": 40, "logprobs": 1},
        **returns,
    )
    assert len(answer.responses) == 40
    assert all(value.tolist() == [1] for value in answer.values("num_output_tokens"))
    assert [value[0] for value in answer.values("finish_reason")] == [b"None"] * 39 + [b"length"]
    assert len({int(value) for value in answer.values("num_input_tokens")}) == 1
    assert all(value.shape == () for value in answer.values("num_input_tokens"))
    cumulative = [float(value[0]) for value in answer.values("cumulative_logprob")]
    total = 0.0
    for response, token_ids, so_far in zip(
        answer.values("logprobs"), answer.values("token_ids"), cumulative, strict=True
    ):
        (position,) = json.loads(response[0])
        (token,) = json.loads(token_ids[0])
        assert set(position[str(token)]) == {"logprob", "rank", "decoded_token"}
        total += position[str(token)]["logprob"]
        assert so_far == pytest.approx(total, abs=1e-3)


def test_outputs_not_asked_for_are_not_sent(client: Client) -> None:
    (response,) = client.ask(text_input="The", sampling_parameters=GREEDY).responses
    assert set(response) == {"text_output"}
    (response,) = client.ask(text_input="The", return_logprobs=True, sampling_parameters=GREEDY).responses
    assert response["logprobs"].tolist() == [b"null"]


def test_streams_and_single_answers_are_the_same_bytes(client: Client, expected: Any) -> None:
    prompt = expected["long"]["prompt"]
    streamed = client.ask(
        text_input=prompt, stream=True, sampling_parameters={"temperature": 0, "max_tokens": 300}
    )
    assert streamed.text == client.text(prompt, max_tokens=300)
    assert streamed.text.startswith(expected["long"]["continuation"][:200])


@pytest.mark.parametrize("stream", [True, False])
def test_every_one_of_several_sequences_comes_back_whole(client: Client, stream: bool) -> None:
    sampling = {"n": 3, "seed": 7, "temperature": 1.2, "max_tokens": 12}
    answer = client.ask(
        text_input="Once upon a time",
        stream=stream,
        exclude_input_in_output=True,
        return_finish_reason=True,
        return_num_output_tokens=True,
        sampling_parameters=sampling,
    )
    assert answer.error is None
    assert all(response["text_output"].shape == (3,) for response in answer.responses)
    texts = ["".join(answer.texts(sequence)) for sequence in range(3)]
    alone = [
        client.text("Once upon a time", **{**sampling, "n": 1, "seed": 7 + number}) for number in range(3)
    ]
    assert texts == alone
    assert all(reason in (b"stop", b"length") for reason in answer.responses[-1]["finish_reason"])


def test_a_cumulative_log_probability_needs_no_logprobs(client: Client) -> None:
    (response,) = client.ask(
        text_input="The", return_cumulative_logprob=True, return_logprobs=True, sampling_parameters=GREEDY
    ).responses
    assert response["cumulative_logprob"][0] < 0.0
    assert response["logprobs"].tolist() == [b"null"], "they were not asked for"


def test_coalescing_on_request(client: Client) -> None:
    answer = client.ask(
        text_input="The operator",
        stream=True,
        return_num_output_tokens=True,
        sampling_parameters={**LONG, "max_tokens": 25, "stream_interval": 8},
    )
    counts = [int(value[0]) for value in answer.values("num_output_tokens")]
    assert sum(counts) == 25
    assert len(counts) == 4
    assert counts[0] == 1, "the first token is never held back"


def test_token_ids_in(client: Client, expected: Any) -> None:
    case = expected["prompts"][1]
    first = client.ask(
        text_input=case["prompt"],
        return_token_ids=True,
        return_num_input_tokens=True,
        sampling_parameters={"temperature": 0, "max_tokens": 4, "prompt_logprobs": None},
    )
    tokens = json.loads(first.responses[0]["token_ids"][0])
    assert len(tokens) == 4
    again = client.ask(
        prompt_token_ids=[1, *tokens], return_num_input_tokens=True, sampling_parameters=GREEDY
    )
    assert again.error is None
    assert int(again.responses[0]["num_input_tokens"]) == 5


def test_chat_messages_go_through_the_template(client: Client, expected: Any) -> None:
    for case in expected["chat"]:
        answer = client.ask(
            messages=case["messages"], sampling_parameters={"temperature": 0, "max_tokens": 32}
        )
        assert answer.error is None, answer.error
        assert answer.text.strip() == case["continuation"]


# Sampling parameters


def test_parameters_of_the_request_count_where_the_tensor_is_missing(client: Client) -> None:
    wanted = client.ask(text_input="Once upon", sampling_parameters={"temperature": 0, "max_tokens": 3})
    assert (
        client.ask(text_input="Once upon", parameters={"temperature": 0, "max_tokens": 3}).text == wanted.text
    )
    both = client.ask(
        text_input="Once upon",
        parameters={"max_tokens": 9},
        sampling_parameters={"temperature": 0, "max_tokens": 3},
    )
    assert both.text == wanted.text


def test_text_for_numbers_and_booleans(client: Client) -> None:
    wanted = client.text("My favourite toy is", max_tokens=64)
    assert client.text("My favourite toy is", temperature="0", max_tokens="64", ignore_eos="false") == wanted
    longer = client.text("My favourite toy is", max_tokens=64, ignore_eos="true")
    assert len(longer) > len(wanted)


def test_stop_strings_and_token_lists(client: Client, expected: Any) -> None:
    case = expected["prompts"][3]
    answer = client.ask(
        text_input=case["prompt"],
        exclude_input_in_output=True,
        return_finish_reason=True,
        sampling_parameters={"temperature": 0, "max_tokens": 64, "stop": ["wooden"]},
    )
    assert answer.text == case["continuation"].split("wooden")[0]
    assert answer.responses[0]["finish_reason"].tolist() == [b"stop"]
    first = json.loads(
        client.ask(text_input=case["prompt"], return_token_ids=True, sampling_parameters=GREEDY).responses[0][
            "token_ids"
        ][0]
    )
    stopped = client.ask(
        text_input=case["prompt"],
        return_num_output_tokens=True,
        sampling_parameters={"temperature": 0, "max_tokens": 64, "stop_token_ids": [first[2]]},
    )
    assert stopped.responses[0]["num_output_tokens"].tolist() == [3]
    biased = client.text(case["prompt"], logit_bias={str(first[0]): -100})
    assert biased != client.text(case["prompt"])


@pytest.mark.parametrize("form", ["object", "text", "with private keys"])
def test_structured_outputs(client: Client, form: str) -> None:
    constraint: Any = {"choice": ["yes", "no"]}
    if form == "with private keys":
        constraint = {**constraint, "json": None, "_backend": None, "_backend_was_auto": False}
    if form != "object":
        constraint = json.dumps(constraint)
    assert client.text("Well", structured_outputs=constraint, max_tokens=20) in ("yes", "no")


# Errors


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"stream": True, "exclude_input_in_output": False},
            "Error generating stream: When streaming, `exclude_input_in_output` = False is not allowed.",
        ),
        ({"sampling_parameters": "{"}, "Invalid sampling_parameters: expected a valid JSON object."),
        ({"sampling_parameters": "[1]"}, "Invalid sampling_parameters: expected a JSON object."),
        (
            {"sampling_parameters": {"lora_name": 3}},
            "Invalid sampling_parameters: 'lora_name' must be a string.",
        ),
        (
            {"sampling_parameters": {"lora_name": "cat"}},
            "LoRA cat is not supported, we currently support ['doll', 'sheep']",
        ),
        (
            {"embedding_request": {"input": "x"}},
            "Error generating stream: Model vllm_model does not support 'embed' request",
        ),
    ],
)
def test_exact_error_texts(client: Client, values: dict[str, Any], text: str) -> None:
    assert client.ask(text_input="x", **values).error == text


@pytest.mark.parametrize(
    ("sampling", "named"),
    [
        ({"temperature": -1}, "temperature"),
        ({"top_p": 7}, "top_p"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"n": 2, "temperature": 0}, "n must be 1"),
        ({"temprature": 1}, "did you mean 'temperature'"),
        ({"structured_outputs": {"colour": "red"}}, "structured_outputs"),
        ({"stream_interval": 0}, "stream_interval"),
        ({"priority": "high"}, "priority"),
        ({"timeout_seconds": -1}, "timeout_seconds"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"seed": 10**30}, "`seed`"),
        ({"seed": str(10**30)}, "`seed`"),
        ({"priority": 10**30}, "`priority`"),
        ({"stop": ["\ud800"]}, "`stop`"),
        ({"\ud800": 1}, "'?'"),
        ({"structured_outputs": {"regex": "\ud800"}}, "`structured_outputs`"),
        ({"structured_outputs": {}}, "must have exactly one of json, regex"),
        ({"chat_template_kwargs": "[]"}, "`chat_template_kwargs`"),
    ],
)
def test_a_bad_parameter_is_named(client: Client, sampling: dict[str, Any], named: str) -> None:
    error = client.ask(text_input="x", stream=True, sampling_parameters=sampling).error
    assert error is not None
    assert named in error
    assert "Traceback" not in error
    assert "NoneType" not in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"sampling_parameters": {"temperature": -1}}, "INVALID_ARGUMENT"),
        ({"sampling_parameters": "{"}, "INVALID_ARGUMENT"),
        ({"sampling_parameters": {"lora_name": "cat"}}, "NOT_FOUND"),
        ({"embedding_request": {"input": "x"}}, "INVALID_ARGUMENT"),
        ({"sampling_parameters": {**LONG, "timeout_seconds": 0.01}}, "UNAVAILABLE"),
    ],
)
def test_errors_are_typed(client: Client, values: dict[str, Any], kind: str) -> None:
    assert client.kind_of_error(text_input="x", **values) == f"StatusCode.{kind}"


def test_generate_answers_errors_with_a_status(server: Server) -> None:
    assert server.post("/v2/models/vllm_model/generate", {"text_input": "x"}).status_code == 200
    bad = server.post("/v2/models/vllm_model/generate", {"text_input": "x", "temperature": -1})
    assert bad.status_code == 400
    assert "temperature" in bad.json()["error"]


def test_a_prompt_that_is_too_long_is_the_clients_mistake(client: Client) -> None:
    error = client.ask(text_input="word " * 5000).error
    assert error is not None
    assert "context length" in error or "maximum" in error
    error = client.ask(prompt_token_ids=[5] * 5000).error
    assert error is not None


@pytest.mark.parametrize(
    "values",
    [
        {"stream": True},
        {"messages": "nonsense"},
        {"messages": [{"role": "user"}], "text_input": "x"},
        {"messages": [{"role": "user", "content": "x"}], "image": [PIXEL]},
    ],
)
def test_requests_without_a_usable_prompt(client: Client, values: dict[str, Any]) -> None:
    assert (client.ask(**values).error or "").startswith("Error generating stream: ")


def test_images_that_are_none(client: Client) -> None:
    error = client.ask(text_input="x", image=["not base64!"]).error
    assert error == "Error generating stream: `image` element 0 is not a base64-encoded image."
    error = client.ask(text_input="x", image=[PIXEL]).error
    assert error is not None, "the tiny model takes no images"
    assert "internal error" not in error


def test_a_bad_request_does_not_disturb_its_neighbours(client: Client, expected: Any) -> None:
    case = expected["prompts"][0]
    good = {
        "text_input": case["prompt"],
        "stream": True,
        "sampling_parameters": {"temperature": 0, "max_tokens": 64},
    }
    streams = [
        Stream(client, **(good if i % 2 else {"text_input": "x", "sampling_parameters": "{"}))
        for i in range(8)
    ]
    try:
        for number, stream in enumerate(streams):
            answer = stream.result()
            assert (answer.text == case["continuation"]) if number % 2 else answer.error
    finally:
        for stream in streams:
            stream.__exit__()


# Cancellation, time limits


@pytest.mark.parametrize("streamed", [True, False])
def test_cancelled_requests_leave_the_engine(server: Server, client: Client, streamed: bool) -> None:
    labels = '{model="vllm_model",version="1"}'
    before = server.log().count("[vllm] Successfully cancelled the request")
    stream = Stream(client, text_input="x", stream=streamed, sampling_parameters={**LONG, "max_tokens": 900})
    if streamed:
        stream.next()
    else:
        eventually(lambda: server.metrics()[f"vllm:num_requests_running{labels}"] == 1, 10, "it runs")
    stream.cancel()
    eventually(
        lambda: server.log().count("[vllm] Successfully cancelled the request") > before, 10, "cancelled"
    )
    assert "[vllm] Cancelling the request" in server.log()
    eventually(lambda: server.metrics()[f"vllm:num_requests_running{labels}"] == 0, 5, "nothing runs")


def test_a_time_limit_ends_a_request(client: Client) -> None:
    began = time.monotonic()
    answer = client.ask(
        text_input="x", stream=True, sampling_parameters={**LONG, "max_tokens": 900, "timeout_seconds": 0.05}
    )
    assert answer.error == "Error generating stream: the request's timeout of 0.05 s expired."
    assert time.monotonic() - began < 5


# LoRA


def test_adapters(client: Client, expected: Any) -> None:
    for name, case in expected["adapters"].items():
        assert client.text(case["prompt"], max_tokens=64, lora_name=name) == case["continuation"]
    base = expected["prompts"][3]
    assert client.text(base["prompt"], max_tokens=64) == base["continuation"]


def test_adapters_come_and_go_with_the_file(
    server: Server, client: Client, where: Installation, expected: Any
) -> None:
    path = server.repository / "vllm_model/1/multi_lora.json"
    both = {name: f"{where.adapters}/{name}" for name in ("doll", "sheep")}

    def change(adapters: dict[str, str]) -> None:
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(adapters))
        os.replace(fresh, path)

    case = expected["adapters"]["sheep"]
    change({"lamb": both["sheep"], "missing": "/nowhere", "doll": both["doll"]})
    eventually(lambda: client.info()["adapters"] == ["lamb", "doll"], 15, "adapters by the new file")
    assert client.text(case["prompt"], max_tokens=64, lora_name="lamb") == case["continuation"]
    gone = client.ask(text_input="x", sampling_parameters={"lora_name": "sheep"}).error
    assert gone == "LoRA sheep is not supported, we currently support ['lamb', 'doll']"
    assert "LoRA missing could not be loaded" in server.log()
    # The same name for other weights: no stale answers.
    change({"lamb": both["doll"]})
    eventually(lambda: client.info()["adapters"] == ["lamb"], 15, "one adapter")
    doll = expected["adapters"]["doll"]
    assert client.text(doll["prompt"], max_tokens=64, lora_name="lamb") == doll["continuation"]
    change(both)
    eventually(lambda: client.info()["adapters"] == ["doll", "sheep"], 15, "the first two again")


# HTTP


def test_generate_endpoints(server: Server, expected: Any) -> None:
    case = expected["prompts"][2]
    body = {"text_input": case["prompt"], "temperature": 0, "max_tokens": 64}
    answer = server.post("/v2/models/vllm_model/generate", {**body, "exclude_input_in_output": True}).json()
    assert answer["text_output"] == case["continuation"]
    lines = server.post("/v2/models/vllm_model/generate_stream", {**body, "stream": True}).text.splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert "".join(event["text_output"] for event in events) == case["continuation"]
    assert len(events) > 5
    answer = server.post(
        "/v2/models/vllm_model/generate",
        {**body, "stop": '["what"]', "exclude_input_in_output": True},
    ).json()
    assert answer["text_output"] == case["continuation"].split("what")[0]


def test_the_backend_says_what_it_is(client: Client) -> None:
    info = client.info()
    assert info["engine"] == "healthy"
    assert info["backend"]
    assert info["vllm"].startswith("0.")
    assert info["seconds_since_last_success"] < 60
    assert info["adapters"] == ["doll", "sheep"]


@pytest.mark.parametrize(
    ("kind", "contains", "verdict"),
    [
        ("auto", None, ProbeVerdict.SERVING),
        ("generate", "every model", ProbeVerdict.SERVING),
        ("generate", "no such answer", ProbeVerdict.FAILED),
        ("embed", None, ProbeVerdict.FAILED),
    ],
)
def test_the_operators_probe_understands_it(
    server: Server, monkeypatch: pytest.MonkeyPatch, kind: Any, contains: str | None, verdict: ProbeVerdict
) -> None:
    monkeypatch.setattr(triton, "GRPC_PORT", server.grpc_port)
    target = ProbeTarget(
        pod_uid="pod",
        pod_name="pod",
        address="127.0.0.1",
        model_name="vllm_model",
        kind=kind,
        prompt="The operator watches",
        max_tokens=8,
        expect_contains=contains,
        embed_input="Hello",
        period_seconds=10,
        timeout_seconds=30,
        failure_threshold=3,
    )
    outcome = asyncio.run(triton.probe(target, check=True))
    assert outcome.verdict is verdict, outcome.message
    assert outcome.backend is not None
    assert outcome.backend.vllm.startswith("0.")
    asked = asyncio.run(triton.probe(replace(target, ask_only=True)))
    assert (asked.verdict, bool(asked.backend)) == (None, True)


# The end


def test_the_engines_death_is_answered_at_once_and_unloads_the_model(server: Server, client: Client) -> None:
    flood = Flood(server.grpc_port, 8)
    killed = time.monotonic()
    server.kill("EngineCore")
    answers = flood.join(5)
    assert time.monotonic() - killed < 5
    text = "Model is unavailable due to unhealthy vLLM engine"
    assert [getattr(answer, "error", answer) for answer in answers] == [text] * 8
    state = eventually(server.state, 5, "the engine's state")
    assert state["state"] == "dead"
    assert "exit code -9" in state["cause"]
    refused = client.ask(text_input="x").error
    assert refused == text or "not ready" in str(refused) or "unknown model" in str(refused)
    eventually(lambda: server.get("/v2/models/vllm_model/ready") == 400, 20, "the model is unloaded")
    # Only Triton's own processes stay: the stub, which may wait for a client's stream, and its helper.
    server.wait_gone(5, besides=("tritonserver", "resource_tracker"))
