"""Closed-loop streaming load for one server; prints one JSON line with rates and latencies.

    load.py grpc|openai IN_FLIGHT REQUESTS [--tokens 256] [--processes 8] [--port P] [--model NAME]

Tokens are counted as received: `num_output_tokens` of every response (gRPC), `usage` of the last event
(OpenAI). A gap is the time between two messages of one stream; the time per output token is a request's
time after its first message over its remaining tokens. The generator's own CPU seconds are printed,
so that a reader can see whether it was the limit.
"""

import argparse
import asyncio
import json
import multiprocessing
import random
import resource
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

WORDS = tuple("def return import self class for in range print value index data None True False".split())  # noqa: SIM905


def prompt(seed: int) -> str:
    """About 130 tokens of the benchmark's tokenizer, different for every seed."""
    words = random.Random(seed)
    return f"# {seed}\n" + " ".join(words.choice(WORDS) for _ in range(120))


@dataclass
class Stream:
    """One request as its client saw it; times in seconds."""

    first: float = 0.0
    total: float = 0.0
    messages: int = 0
    tokens: int = 0
    gaps: list[float] = field(default_factory=list)
    last: float = 0.0
    started: float = 0.0

    def message(self, tokens: int) -> None:
        """Account for one message that carried `tokens` new tokens."""
        now = time.perf_counter()
        if self.messages:
            self.gaps.append(now - self.last)
        else:
            self.first = now - self.started
        self.last = now
        self.messages += 1
        self.tokens += tokens


class GrpcClient:
    """KServe v2 over gRPC, the tensors of the Triton vLLM backend."""

    def __init__(self, port: int, model: str, tokens: int) -> None:
        import tritonclient.grpc.aio as grpc_aio
        from tritonclient.grpc import InferInput

        self._input = InferInput
        self._channels = [grpc_aio.InferenceServerClient(f"127.0.0.1:{port}") for _ in range(2)]
        self._model = model
        self._parameters = json.dumps({"temperature": 0.0, "max_tokens": tokens, "ignore_eos": True})

    def _tensor(self, name: str, dtype: str, value: Any) -> Any:
        tensor = self._input(name, [1], dtype)
        tensor.set_data_from_numpy(np.array([value], dtype=object if dtype == "BYTES" else bool))
        return tensor

    async def run(self, seed: int) -> Stream:
        """Send one request and read its stream to the end."""
        inputs = [
            self._tensor("text_input", "BYTES", prompt(seed).encode()),
            self._tensor("stream", "BOOL", True),
            self._tensor("return_num_output_tokens", "BOOL", True),
            self._tensor("sampling_parameters", "BYTES", self._parameters.encode()),
        ]

        async def requests() -> AsyncIterator[dict[str, Any]]:
            yield {"model_name": self._model, "inputs": inputs, "request_id": str(seed)}

        stream = Stream(started=time.perf_counter())
        async for result, error in self._channels[seed % 2].stream_infer(requests()):
            if error:
                raise error
            stream.message(int(result.as_numpy("num_output_tokens").sum()))
        stream.total = time.perf_counter() - stream.started
        return stream

    async def close(self) -> None:
        """Close the channels."""
        for channel in self._channels:
            await channel.close()


class OpenAIClient:
    """vLLM's OpenAI-compatible server, /v1/completions as server-sent events."""

    def __init__(self, port: int, model: str, tokens: int) -> None:
        import aiohttp

        self._url = f"http://127.0.0.1:{port}/v1/completions"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(600)
        )
        self._body = {
            "model": model,
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    async def run(self, seed: int) -> Stream:
        """Send one request and read its events to the end."""
        stream = Stream(started=time.perf_counter())
        async with self._session.post(self._url, json={**self._body, "prompt": prompt(seed)}) as response:
            response.raise_for_status()
            async for line in response.content:
                if not line.startswith(b"data: {"):
                    continue
                if b'"usage":{' in line:
                    stream.tokens = json.loads(line[6:])["usage"]["completion_tokens"]
                else:
                    stream.message(0)
        stream.total = time.perf_counter() - stream.started
        return stream

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()


async def _client_process(arguments: argparse.Namespace, base: int, start: Any) -> tuple[list[Stream], float]:
    kind = GrpcClient if arguments.protocol == "grpc" else OpenAIClient
    client = kind(arguments.port, arguments.model, arguments.tokens)
    in_flight = asyncio.Semaphore(arguments.in_flight // arguments.processes)

    async def one(index: int) -> Stream:
        async with in_flight:
            return await client.run(base + index)

    start.wait(120)
    streams = await asyncio.gather(*(one(i) for i in range(arguments.requests // arguments.processes)))
    await client.close()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return streams, usage.ru_utime + usage.ru_stime


def _process(arguments: argparse.Namespace, base: int, start: Any, results: Any) -> None:
    results.put(asyncio.run(_client_process(arguments, base, start)))


def summary(streams: list[Stream], seconds: float) -> dict[str, Any]:
    """Rates and latencies of a run; milliseconds where the name says so."""
    gaps = np.concatenate([np.array(s.gaps) for s in streams if s.gaps])
    first = np.array([s.first for s in streams])
    per_token = np.array([(s.total - s.first) / max(1, s.tokens - 1) for s in streams])
    tokens = sum(s.tokens for s in streams)
    return {
        "requests": len(streams),
        "tokens_per_second": round(tokens / seconds, 1),
        "tokens_per_request": round(tokens / len(streams), 2),
        "messages_per_request": round(sum(s.messages for s in streams) / len(streams), 1),
        "ttft_ms_p50": round(float(np.median(first)) * 1e3, 1),
        "ttft_ms_p99": round(float(np.percentile(first, 99)) * 1e3, 1),
        "gap_ms_p50": round(float(np.median(gaps)) * 1e3, 2),
        "gap_ms_p90": round(float(np.percentile(gaps, 90)) * 1e3, 2),
        "gap_ms_p99": round(float(np.percentile(gaps, 99)) * 1e3, 2),
        "time_per_token_ms_p50": round(float(np.median(per_token)) * 1e3, 2),
        "time_per_token_ms_p99": round(float(np.percentile(per_token, 99)) * 1e3, 2),
        "seconds": round(seconds, 2),
    }


def main() -> None:
    """Run the load and print its summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("protocol", choices=("grpc", "openai"))
    parser.add_argument("in_flight", type=int)
    parser.add_argument("requests", type=int)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", default="vllm_model")
    arguments = parser.parse_args()
    multiprocessing.set_start_method("spawn")
    start = multiprocessing.Barrier(arguments.processes + 1)
    results: Any = multiprocessing.Queue()
    bases = [random.randrange(1 << 30) for _ in range(arguments.processes)]
    processes = [
        multiprocessing.Process(target=_process, args=(arguments, base, start, results)) for base in bases
    ]
    for process in processes:
        process.start()
    start.wait(120)
    began = time.perf_counter()
    answers = [results.get(timeout=300) for _ in processes]
    seconds = time.perf_counter() - began
    for process in processes:
        process.join()
    line = {"in_flight": arguments.in_flight, **summary([s for ss, _ in answers for s in ss], seconds)}
    print(json.dumps({**line, "generator_cpu_seconds": round(sum(cpu for _, cpu in answers), 1)}), flush=True)


if __name__ == "__main__":
    main()
