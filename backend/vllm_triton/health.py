"""Follows the engine's health: answers what is open when it dies and says so to who supervises the server."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

import triton_python_backend_utils as pb_utils

from . import log
from .engine import Engine
from .errors import RequestFailed, unhealthy
from .responses import Senders
from .service import Service

STATE_FILE_VARIABLE = "TRITON_VLLM_ENGINE_STATE_FILE"
_PERIOD_SECONDS = 0.2
_FLUSH_SECONDS = 3.0


async def watch(service: Service, senders: Senders) -> None:
    """Wait until the engine is dead, answer every open request, then report the death."""
    while not service.engine.errored:
        await asyncio.sleep(_PERIOD_SECONDS)
    cause = service.engine.death()
    log.error(f"the vLLM engine is dead: {cause}")
    service.fail_all(unhealthy())
    await asyncio.to_thread(senders.wait_until_sent, _FLUSH_SECONDS)
    report_death(cause)


def report_death(cause: str) -> None:
    """Write the engine's state where the container's entry point looks for it."""
    path = os.environ.get(STATE_FILE_VARIABLE)
    if not path:
        return
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump({"state": "dead", "cause": cause}, file)
        os.replace(temporary, path)
    except OSError as error:
        log.error(f"the engine's state could not be written to {path}: {error}")


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
