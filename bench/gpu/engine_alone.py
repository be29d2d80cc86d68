"""The ceiling: vLLM's engine in this process with no server in front of it, kept loaded between rounds.

engine_alone.py MODEL_JSON      prints "ready", then runs a round for each line "IN_FLIGHT REQUESTS KIND"
                                on standard input (KIND: DELTA or FINAL_ONLY) and prints one JSON line.
"""

import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

from load import Stream, prompt, summary
from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM

TOKENS = 256


async def measure(engine: AsyncLLM, in_flight: int, requests: int, kind: RequestOutputKind) -> dict[str, Any]:
    """One closed-loop round straight on the engine."""
    limit, base = asyncio.Semaphore(in_flight), random.randrange(1 << 30)

    async def one(index: int) -> Stream:
        async with limit:
            params = SamplingParams(temperature=0.0, max_tokens=TOKENS, ignore_eos=True, output_kind=kind)
            stream = Stream(started=time.perf_counter())
            async for output in engine.generate(prompt(base + index), params, f"{base}-{index}"):
                stream.message(len(output.outputs[0].token_ids))
            stream.total = time.perf_counter() - stream.started
            stream.gaps = stream.gaps or [0.0]
            return stream

    began = time.perf_counter()
    streams = await asyncio.gather(*(one(i) for i in range(requests)))
    return {"in_flight": in_flight, **summary(list(streams), time.perf_counter() - began)}


async def main(arguments: AsyncEngineArgs) -> None:
    """Load the engine, then serve rounds until standard input ends."""
    engine = AsyncLLM.from_engine_args(arguments)
    await measure(engine, 8, 16, RequestOutputKind.DELTA)
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        in_flight, requests, kind = line.split()
        result = await measure(engine, int(in_flight), int(requests), RequestOutputKind[kind])
        print(json.dumps(result), flush=True)
    engine.shutdown()


if __name__ == "__main__":
    model_json = json.loads(Path(sys.argv[1]).read_text())
    asyncio.run(main(AsyncEngineArgs(**model_json, disable_log_stats=True)))
