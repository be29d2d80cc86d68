"""Closed-loop clients for the backend's benchmarks: tokens as received, and the clients' processor time."""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import time
from dataclasses import asdict, dataclass
from typing import Any

import grpc
import grpc.aio
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

WORDS = ("def", "return", "import", "self", "class", "for", "in", "range", "print", "value", "index", "data")


@dataclass
class Load:
    """One load: how many requests in flight, how many tokens each, how many requests."""

    address: str = "127.0.0.1:8001"
    model: str = "vllm_model"
    in_flight: int = 64
    tokens: int = 128
    requests: int = 256
    stream: bool = True
    words: int = 24
    processes: int = 1
    parameters: str = "{}"


def prompt(number: int, words: int) -> str:
    """Return a prompt of its own for every request, so that no prefix is shared."""
    chosen = random.Random(number)
    return f"# {number}\n" + " ".join(chosen.choice(WORDS) for _ in range(words))


def build_request(load: Load, number: int) -> Any:
    """Build the message that tritonclient would send."""
    request = service_pb2.ModelInferRequest(model_name=load.model, id=str(number))
    parameters = {
        "temperature": 0.0,
        "max_tokens": load.tokens,
        "ignore_eos": True,
        **json.loads(load.parameters),
    }

    def add(name: str, datatype: str, content: bytes) -> None:
        request.inputs.add(name=name, datatype=datatype, shape=[1])
        request.raw_input_contents.append(content)

    for name, text in (
        ("text_input", prompt(number, load.words)),
        ("sampling_parameters", json.dumps(parameters)),
    ):
        data = text.encode()
        add(name, "BYTES", len(data).to_bytes(4, "little") + data)
    add("stream", "BOOL", bytes([load.stream]))
    add("return_num_output_tokens", "BOOL", b"\x01")
    return request


async def one(stub: Any, load: Load, number: int) -> tuple[float, float, int, int, list[float]]:
    """Run one request; return time to first response, total, responses, tokens, gaps per token."""
    message = build_request(load, number)

    async def send() -> Any:
        yield message

    started = last = time.perf_counter()
    first = 0.0
    responses = tokens = 0
    gaps = []
    async for answer in stub.ModelStreamInfer(send()):
        if answer.error_message:
            raise RuntimeError(answer.error_message)
        now = time.perf_counter()
        reply = answer.infer_response
        index = next(i for i, output in enumerate(reply.outputs) if output.name == "num_output_tokens")
        count = int(np.frombuffer(reply.raw_output_contents[index], dtype=np.uint32).sum())
        if responses == 0:
            first = now - started
        else:
            gaps.append(now - last)
        last = now
        responses += 1
        tokens += count
    return first, last - started, responses, tokens, gaps


async def worker(load: Load, base: int, in_flight: int, requests: int, start: Any, results: Any) -> None:
    """Keep `in_flight` requests going until `requests` are done."""
    channels = [
        grpc.aio.insecure_channel(load.address, options=[("grpc.use_local_subchannel_pool", 1)])
        for _ in range(2)
    ]
    stubs = [service_pb2_grpc.GRPCInferenceServiceStub(channel) for channel in channels]
    await asyncio.gather(*(channel.channel_ready() for channel in channels))
    start.wait(120)
    cpu = time.process_time()
    gate = asyncio.Semaphore(in_flight)

    async def run(number: int) -> Any:
        async with gate:
            return await one(stubs[number % len(stubs)], load, base + number)

    rows = await asyncio.gather(*(run(number) for number in range(requests)))
    results.put((rows, time.process_time() - cpu))
    for channel in channels:
        await channel.close()


def entry(*arguments: Any) -> None:
    """Run a worker in its process."""
    asyncio.run(worker(*arguments))


def run(load: Load) -> dict[str, float]:
    """Run a load and return its figures."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(load.processes + 1), context.Queue()
    workers = [
        context.Process(
            target=entry,
            args=(
                load,
                random.randrange(1 << 30),
                load.in_flight // load.processes,
                load.requests // load.processes,
                start,
                results,
            ),
        )
        for _ in range(load.processes)
    ]
    for process in workers:
        process.start()
    start.wait(120)
    began = time.perf_counter()
    answers = [results.get(timeout=580) for _ in workers]
    elapsed = time.perf_counter() - began
    for process in workers:
        process.join()
    rows = [row for answer, _ in answers for row in answer]
    gaps = (
        np.concatenate([np.array(row[4]) for row in rows]) if load.stream and load.tokens > 1 else np.zeros(1)
    )
    first = np.array([row[0] for row in rows])
    tokens = sum(row[3] for row in rows)
    return {
        "tokens_per_second": tokens / elapsed,
        "tokens_per_request": tokens / len(rows),
        "responses_per_request": sum(row[2] for row in rows) / len(rows),
        "ttft_p50_ms": float(np.median(first) * 1e3),
        "ttft_p99_ms": float(np.percentile(first, 99) * 1e3),
        "itl_p50_ms": float(np.median(gaps) * 1e3),
        "itl_p99_ms": float(np.percentile(gaps, 99) * 1e3),
        "latency_p50_ms": float(np.median([row[1] for row in rows]) * 1e3),
        "seconds": elapsed,
        "client_cores": sum(cpu for _, cpu in answers) / elapsed,
    }


def main() -> None:
    """Run one load from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in asdict(Load()).items():
        kind = (lambda text: text.lower() == "true") if isinstance(value, bool) else type(value)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=value)
    print(json.dumps(run(Load(**vars(parser.parse_args())))), flush=True)


if __name__ == "__main__":
    main()
