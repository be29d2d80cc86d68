"""Follows the engine's health: answers what is open when it dies and says so to who supervises the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import triton_python_backend_utils as pb_utils

from . import log
from .engine import Engine
from .errors import RequestFailed, unhealthy
from .frontends import Follower, Leader
from .responses import Senders
from .service import Service

_PERIOD_SECONDS = 0.2
_FLUSH_SECONDS = 3.0


async def watch(service: Service, senders: Senders, frontend: Leader | Follower) -> None:
    """Wait until the engine is dead, answer every open request, then report the death."""
    # Polled: vLLM calls nobody back.
    while True:
        if service.engine.errored:
            break
        await asyncio.sleep(_PERIOD_SECONDS)
    cause = service.engine.death()
    log.error(f"the vLLM engine is dead: {cause}")
    frontend.engine_died(cause)
    service.fail_all(unhealthy())
    await asyncio.to_thread(senders.wait_until_sent, _FLUSH_SECONDS)
    try:
        await asyncio.to_thread(frontend.report_death, cause)
    except OSError as error:
        log.error(f"the engine's death could not be reported: {error}")


def check(call: Callable[[Any], Any], engine: Engine, name: str) -> RequestFailed | None:
    """Ask the engine for its health, once for a whole batch; unload the model if it is unhealthy."""
    try:
        call(engine.check_health())
    except Exception as error:
        log.error(f"vLLM engine is not healthy and model will be unloaded: {error}")
        try:
            pb_utils.unload_model(name)
        except Exception as refusal:
            # Without explicit model control Triton refuses; requests fail all the same.
            log.warning(f"the model cannot be unloaded: {refusal}")
        return unhealthy()
    return None
