"""Brings the engine up and proves that it generates before the model reports ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from . import engine as vllm_engine
from . import metrics
from .configuration import Settings
from .engine import Engine, Step
from .errors import ModelInvalid
from .frontends import Follower, Leader
from .lora import Adapters, follow, read_adapters
from .responses import Senders
from .service import Service

_WARM_UP_SECONDS = 300.0


async def start(
    loop: asyncio.AbstractEventLoop,
    settings: Settings,
    arguments: Mapping[str, Any],
    senders: Senders,
    frontend: Leader | Follower,
) -> Service:
    """Start the engine, load the adapters, generate one token."""
    published: metrics.Metrics | None = None
    statistics: metrics.Statistics | None = None

    def take_step(max_model_len: int) -> Callable[[Step], None] | None:
        nonlocal published, statistics
        if not settings.report_metrics:
            return None
        published = metrics.publish(frontend, settings.name, settings.version, max_model_len)
        if not frontend.publishing:
            return None
        statistics = metrics.Statistics(frontend)
        return statistics.take

    lora_enabled = bool(arguments.get("enable_lora"))
    wanted = read_adapters(settings.directory) if lora_enabled else {}
    engine = await Engine.start(arguments, take_step, frontend)
    try:
        await _warm_up(engine)
        adapters = Adapters(engine, frontend, enabled=lora_enabled)
        await _load_adapters(adapters, wanted)
        engine.warmed_up()
    except BaseException:
        engine.shutdown(5.0)
        raise
    if statistics is not None:
        statistics.start(lambda: engine.unfinished == 0)
    service = Service(loop, engine, senders, adapters, settings.name, statistics, published)
    if lora_enabled:
        service.keep(follow(adapters, settings.directory))
    return service


async def _load_adapters(adapters: Adapters, wanted: Mapping[str, str]) -> None:
    """Load the adapters that the model starts with; one that does not load fails the model."""
    failed = await adapters.apply(wanted)
    if failed:
        raise ModelInvalid(
            "; ".join(f"LoRA {name} could not be loaded: {why}" for name, why in failed.items())
        )


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
        known = ("embed", "classify", "token_embed", "token_classify")
        task = next((task for task in known if task in engine.tasks), None)
        if task is None:
            return
        params = vllm_engine.pooling_params(task, {})
    prompt = await engine.render_tokens([1])
    await engine.submit("warm-up", prompt, params, take)
    await asyncio.wait_for(done, _WARM_UP_SECONDS)
