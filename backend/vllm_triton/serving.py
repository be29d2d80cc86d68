"""Brings the engine up and proves that it generates before the model reports ready."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from . import engine as vllm_engine
from .configuration import Settings
from .engine import Engine
from .lora import Adapters, read_adapters
from .responses import Senders
from .service import Service

_WARM_UP_SECONDS = 300.0


async def start(
    loop: asyncio.AbstractEventLoop, settings: Settings, arguments: Mapping[str, Any], senders: Senders
) -> Service:
    """Start the engine, load the adapters, generate one token."""
    adapters = Adapters(enabled=bool(arguments.get("enable_lora")))
    wanted = read_adapters(settings.directory) if adapters.enabled else {}
    engine = await Engine.start(arguments, None)
    try:
        await _warm_up(engine)
        await adapters.apply(engine, wanted)
    except BaseException:
        engine.shutdown(5.0)
        raise
    return Service(loop, engine, senders, adapters, settings.name)


async def _warm_up(engine: Engine) -> None:
    """Run one token through the model: a model that reports ready has generated."""
    if engine.is_encoder_decoder:
        return
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(output: Any) -> None:
        if done.done():
            return
        if isinstance(output, BaseException):
            done.set_exception(output)
        elif output.finished:
            done.set_result(None)

    if "generate" in engine.tasks:
        params = vllm_engine.sampling_params(
            {"max_tokens": 1, "temperature": 0.0}, stream=False, cumulative_logprob=False
        )
    else:
        task = next(
            task for task in ("embed", "classify", "token_embed", "token_classify") if task in engine.tasks
        )
        params = vllm_engine.pooling_params(task, {})
    prompt = await engine.render_tokens([1])
    await engine.submit("warm-up", prompt, params, take)
    await asyncio.wait_for(done, _WARM_UP_SECONDS)
