"""One probe against a real gRPC server that misbehaves, and against ports that do not speak gRPC at all."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from operatorkit.waiting import wait_for
from tritonstandin import PORT, TritonStandIn
from unit.probe.targets import TARGET
from vllm_operator.observed.state import BackendInfo, ProbeVerdict
from vllm_operator.observed.target import ProbeTarget
from vllm_operator.probe import triton
from vllm_operator.probe.asking import ProbeThread

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def server() -> Iterator[TritonStandIn]:
    with TritonStandIn() as running:
        yield running


@pytest.fixture(autouse=True)
def _short_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "_LEAST_DEADLINE_SECONDS", 0.5)
    monkeypatch.setattr(triton, "_INFO_SECONDS", 0.5)


def target(address: str) -> ProbeTarget:
    return replace(TARGET, address=address, timeout_seconds=0.5)


async def test_a_served_inference_brings_the_backends_account_with_it(server: TritonStandIn) -> None:
    outcome = await triton.probe(target(server.address))
    assert outcome.verdict is ProbeVerdict.SERVING
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert outcome.backend == BackendInfo("2.51.0", "0.32.0", (commit,))
    assert server.inferences == 1


LONG = "0.32.0 " + "x" * 5000


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ({"vllm": LONG}, BackendInfo("", LONG[:128])),
        ({"triton": "2.51\n.0\ud800\u202e"}, BackendInfo("2.51.0")),
        ({"vllm": ["0.32.0"], "triton": 2}, BackendInfo()),
        ({"model_revisions": 5}, BackendInfo()),
        ({"model_revisions": "abc"}, BackendInfo()),
        ({"model_revisions": {"a": "b"}}, BackendInfo()),
        ({"model_revisions": [LONG, 5, None, "", "abc"]}, BackendInfo("", "", (LONG[:128], "abc"))),
        ({"model_revisions": ["abc"] * 5000}, BackendInfo("", "", ("abc",) * 10)),
    ],
)
async def test_what_a_pod_says_of_itself_is_bounded(
    server: TritonStandIn, said: dict[str, object], taken: BackendInfo
) -> None:
    server.info = said
    outcome = await triton.probe(target(server.address))
    assert (outcome.verdict, outcome.backend) == (ProbeVerdict.SERVING, taken)


@pytest.mark.parametrize("text", ["[" * 5000, '{"vllm": ' * 5000, '{"n": ' + "1" * 5000 + "}"])
async def test_an_account_that_cannot_be_read_is_none(server: TritonStandIn, text: str) -> None:
    server.info = text
    outcome = await triton.probe(target(server.address))
    assert (outcome.verdict, outcome.backend) == (ProbeVerdict.SERVING, None)


async def test_a_recent_success_of_the_backend_spares_the_inference(server: TritonStandIn) -> None:
    assert server.info is not None
    server.info["seconds_since_last_success"] = 1.5
    outcome = await triton.probe(target(server.address))
    assert (outcome.verdict, outcome.success_age) == (ProbeVerdict.SERVING, 1.5)
    assert server.inferences == 0


@pytest.mark.parametrize("age", [5.1, None, "soon", -1])
async def test_anything_else_does_not_spare_it(server: TritonStandIn, age: object) -> None:
    assert server.info is not None
    server.info["seconds_since_last_success"] = age
    assert (await triton.probe(target(server.address))).verdict is ProbeVerdict.SERVING
    assert server.inferences == 1


async def test_a_suspect_pod_must_infer_whatever_its_backend_says(server: TritonStandIn) -> None:
    assert server.info is not None
    server.info["seconds_since_last_success"] = 0.1
    server.behaviour = "error"
    assert (await triton.probe(target(server.address), suspect=True)).verdict is ProbeVerdict.FAILED


async def test_a_backend_without_an_account_of_itself_is_probed_all_the_same(server: TritonStandIn) -> None:
    server.info = None
    outcome = await triton.probe(target(server.address))
    assert (outcome.verdict, outcome.backend) == (ProbeVerdict.SERVING, None)


async def test_a_dead_engine_is_believed(server: TritonStandIn) -> None:
    assert server.info is not None
    server.info["engine"] = "dead"
    assert (await triton.probe(target(server.address))).verdict is ProbeVerdict.FAILED
    assert server.inferences == 0


@pytest.mark.parametrize("suspect", [False, True])
async def test_a_hung_engine_is_believed_and_gets_no_further_request(
    server: TritonStandIn, suspect: bool
) -> None:
    assert server.info is not None
    server.info.update(engine="hung", seconds_since_last_success=1.0)
    outcome = await triton.probe(target(server.address), suspect=suspect)
    assert (outcome.verdict, outcome.certain) == (ProbeVerdict.HUNG, True)
    assert server.inferences == 0


@pytest.mark.parametrize(
    ("engine", "verdict"),
    [("healthy", None), ("hung", ProbeVerdict.HUNG), ("dead", ProbeVerdict.FAILED)],
)
async def test_a_pod_that_was_turned_away_is_only_asked_how_it_is(
    server: TritonStandIn, engine: str, verdict: ProbeVerdict | None
) -> None:
    assert server.info is not None
    server.info["engine"] = engine
    outcome = await triton.probe(replace(target(server.address), ask_only=True))
    assert outcome.verdict is verdict
    assert outcome.backend is not None
    assert server.inferences == 0


@pytest.mark.parametrize("silence", ["closed", "no account"])
async def test_what_a_pod_that_was_turned_away_does_not_say_is_not_held_against_it(
    server: TritonStandIn, silence: str
) -> None:
    if silence == "closed":
        server.stop()
    server.info = None
    outcome = await triton.probe(replace(target(server.address), ask_only=True))
    assert (outcome.verdict, outcome.backend) == (None, None)


async def test_under_traffic_what_must_be_in_the_answer_is_checked_when_it_is_due(
    server: TritonStandIn,
) -> None:
    assert server.info is not None
    server.info["seconds_since_last_success"] = 0.1
    wrong = replace(target(server.address), kind="generate", expect_contains="Rome")
    spared = await triton.probe(wrong)
    assert (spared.verdict, spared.inferred) == (ProbeVerdict.SERVING, False)
    checked = await triton.probe(wrong, check=True)
    assert checked.verdict is ProbeVerdict.FAILED
    right = await triton.probe(replace(wrong, expect_contains="Paris"), check=True)
    assert (right.verdict, right.inferred) == (ProbeVerdict.SERVING, True)


async def test_a_check_that_gets_no_answer_under_traffic_says_nothing_of_the_content(
    server: TritonStandIn,
) -> None:
    assert server.info is not None
    server.info["seconds_since_last_success"] = 0.1
    server.behaviour = "hang"
    outcome = await triton.probe(replace(target(server.address), expect_contains="Paris"), check=True)
    assert (outcome.verdict, outcome.inferred) == (ProbeVerdict.SERVING, False)
    suspect = await triton.probe(replace(target(server.address), expect_contains="Paris"), suspect=True)
    assert suspect.verdict is ProbeVerdict.TIMEOUT


async def test_a_probe_in_the_probers_thread_finds_the_same_and_is_ended_when_it_is_cancelled(
    server: TritonStandIn,
) -> None:
    thread = ProbeThread()
    try:
        outcome = await thread.ask(target(server.address), embed=False, suspect=False, check=False)
        assert outcome.verdict is ProbeVerdict.SERVING
        server.behaviour = "hang"
        slow = replace(target(server.address), timeout_seconds=60)
        attempt = asyncio.create_task(thread.ask(slow, embed=False, suspect=False, check=False))
        await asyncio.to_thread(wait_for, "the inference has arrived", lambda: server.in_flight == 1, 10)
        attempt.cancel()
        await asyncio.to_thread(wait_for, "the inference has ended", lambda: server.in_flight == 0, 10)
    finally:
        thread.close()


async def test_a_model_that_does_not_generate_is_asked_for_an_embedding(server: TritonStandIn) -> None:
    server.generates = False
    outcome = await triton.probe(target(server.address))
    assert (outcome.verdict, outcome.embeds) == (ProbeVerdict.SERVING, True)
    explicit = await triton.probe(replace(target(server.address), kind="generate"))
    assert explicit.verdict is ProbeVerdict.FAILED
    assert "does not support 'generate'" in explicit.message


async def test_embedding_asked_of_a_model_that_generates_fails(server: TritonStandIn) -> None:
    outcome = await triton.probe(replace(target(server.address), kind="embed"))
    assert outcome.verdict is ProbeVerdict.FAILED


async def test_the_expected_text_must_be_in_the_answer(server: TritonStandIn) -> None:
    good = await triton.probe(replace(target(server.address), expect_contains="Paris"))
    bad = await triton.probe(replace(target(server.address), expect_contains="Rome"))
    assert (good.verdict, bad.verdict) == (ProbeVerdict.SERVING, ProbeVerdict.FAILED)
    assert "Rome" in bad.message


@pytest.mark.parametrize(
    ("behaviour", "verdict"),
    [
        ("hang", ProbeVerdict.TIMEOUT),
        ("error", ProbeVerdict.FAILED),
        ("empty", ProbeVerdict.FAILED),
        ("mute", ProbeVerdict.PROTOCOL_ERROR),
        ("garble", ProbeVerdict.PROTOCOL_ERROR),
    ],
)
async def test_misbehaviour(server: TritonStandIn, behaviour: str, verdict: ProbeVerdict) -> None:
    server.behaviour = behaviour
    outcome = await triton.probe(target(server.address))
    assert outcome.verdict is verdict
    assert outcome.message


@pytest.mark.parametrize("size", [0, 1000, 500_000])
async def test_an_answer_without_end_is_cut_off(server: TritonStandIn, size: int) -> None:
    server.behaviour, server.flood_bytes = "flood", size
    outcome = await triton.probe(replace(target(server.address), timeout_seconds=60))
    assert outcome.verdict is ProbeVerdict.PROTOCOL_ERROR
    assert "more than 1048576 bytes" in outcome.message
    await asyncio.to_thread(wait_for, "the call has ended", lambda: server.in_flight == 0, 10)


async def test_one_message_that_is_too_large_is_not_read(server: TritonStandIn) -> None:
    server.text = "x" * 2_000_000
    outcome = await triton.probe(replace(target(server.address), timeout_seconds=60))
    assert outcome.verdict is ProbeVerdict.FAILED
    assert len(outcome.message) <= 300


@pytest.mark.parametrize("text", ["[" * 200_000, '{"engine":' * 50_000])
async def test_what_is_nested_without_end_is_no_account_and_no_embedding(
    server: TritonStandIn, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("tritonstandin.json.dumps", lambda _: text)
    server.generates = False
    outcome = await triton.probe(replace(target(server.address), timeout_seconds=60))
    assert (outcome.verdict, outcome.backend) == (ProbeVerdict.PROTOCOL_ERROR, None)


async def test_a_closed_port_is_unreachable(server: TritonStandIn) -> None:
    server.stop()
    assert (await triton.probe(target(server.address))).verdict is ProbeVerdict.UNREACHABLE


async def _http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    writer.close()


async def _noise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\xff220 mail.example.org ESMTP ready, what can I do for you today?\r\n" * 3)
    await reader.read(100)
    writer.close()


async def _silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(100):
        pass
    writer.close()


@asynccontextmanager
async def _listening(handler: Handler) -> AsyncIterator[str]:
    while True:
        address = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}.{random.randint(1, 254)}"
        try:
            server = await asyncio.start_server(handler, address, PORT)
        except OSError:
            continue
        async with server:
            yield address
        return


@pytest.mark.parametrize(
    ("handler", "verdict"),
    [
        (_http1, ProbeVerdict.PROTOCOL_ERROR),
        (_noise, ProbeVerdict.PROTOCOL_ERROR),
        (_silence, ProbeVerdict.TIMEOUT),
    ],
)
async def test_ports_that_do_not_speak_grpc(handler: Handler, verdict: ProbeVerdict) -> None:
    async with _listening(handler) as address:
        assert (await triton.probe(target(address))).verdict is verdict


async def test_a_grpc_server_of_another_service_is_another_protocol(server: TritonStandIn) -> None:
    import grpc

    server.stop()
    other = grpc.aio.server()
    other.add_insecure_port(f"{server.address}:{PORT}")
    await other.start()
    try:
        # Where the server's refusal overtakes the request, gRPC tells only that the call failed.
        verdicts = {(await triton.probe(target(server.address))).verdict for _ in range(5)}
        assert ProbeVerdict.PROTOCOL_ERROR in verdicts
        assert verdicts <= {ProbeVerdict.PROTOCOL_ERROR, ProbeVerdict.FAILED}
    finally:
        await other.stop(grace=0)
