"""The ceiling: vLLM's engine with no server in front, driven by commands on standard input.

Each command is a JSON line {"in_flight", "tokens", "requests", "stream", "words"}; each answer is one, too.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import Any

WORDS = ("def", "return", "import", "self", "class", "for", "in", "range", "print", "value", "index", "data")


def prompt(number: int, words: int) -> str:
    """Return the same kind of prompt as the load generator's."""
    chosen = random.Random(number)
    return f"# {number}\n" + " ".join(chosen.choice(WORDS) for _ in range(words))


async def measure(engine: Any, command: dict[str, Any]) -> dict[str, float]:
    """Run one closed loop."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    kind = RequestOutputKind.DELTA if command["stream"] else RequestOutputKind.FINAL_ONLY
    gate = asyncio.Semaphore(command["in_flight"])
    base = random.randrange(1 << 30)

    async def run(number: int) -> tuple[float, float, int]:
        async with gate:
            began = time.perf_counter()
            first = 0.0
            tokens = 0
            params = SamplingParams(
                temperature=0.0, max_tokens=command["tokens"], ignore_eos=True, output_kind=kind
            )
            async for output in engine.generate(
                prompt(base + number, command["words"]), params, f"{base}-{number}"
            ):
                first = first or time.perf_counter() - began
                tokens += len(output.outputs[0].token_ids)
            return first, time.perf_counter() - began, tokens

    began = time.perf_counter()
    rows = await asyncio.gather(*(run(number) for number in range(command["requests"])))
    elapsed = time.perf_counter() - began
    firsts, totals = sorted(row[0] for row in rows), sorted(row[1] for row in rows)
    return {
        "tokens_per_second": sum(row[2] for row in rows) / elapsed,
        "ttft_p50_ms": firsts[len(rows) // 2] * 1e3,
        "latency_p50_ms": totals[len(rows) // 2] * 1e3,
        "seconds": elapsed,
    }


async def main() -> None:
    """Start the engine, answer commands until standard input ends."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    arguments = json.loads(open(sys.argv[1], encoding="utf-8").read())  # noqa: ASYNC230, SIM115
    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments, disable_log_stats=True))
    await measure(engine, {"in_flight": 4, "tokens": 8, "requests": 8, "stream": True, "words": 24})
    print("ready", file=sys.stderr, flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await measure(engine, json.loads(line))), flush=True)
    engine.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
