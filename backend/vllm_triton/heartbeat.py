"""Shows the entry point once a second that this front end lives and whether its engine makes progress.

It tells by counters, so that neither side reads the other's clock: beats, and messages of the engine. An
engine may have requests and nothing to send for minutes, while a grammar is compiled or a KV cache comes from
another machine. Its busy loop answers between steps all the same: so where nothing came for a while it is
asked something cheap, and the answer is a message, too. Who judges is the entry point
(`triton_runtime.hang`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from .state_file import BeatFile

if TYPE_CHECKING:
    from .engine import Engine

_PERIOD_SECONDS = 1.0
_NO_PROGRESS_VARIABLE = "TRITON_VLLM_NO_PROGRESS_SECONDS"
_NO_PROGRESS_SECONDS = 60.0


async def keep(engine: Engine, is_open: Callable[[], bool], warn: Callable[[str], None]) -> None:
    """Beat until cancelled; `is_open` says whether this front end takes requests, `warn` logs."""
    file = BeatFile.of_this_process()
    if file is None:
        return
    patience = float(os.environ.get(_NO_PROGRESS_VARIABLE) or _NO_PROGRESS_SECONDS)
    # A thread of its own: a slow disk must not hold the loop, nor other threads' work the beat.
    writer = ThreadPoolExecutor(1, "vllm-heartbeat")
    silence = _Silence(engine, patience, warn)
    beats = 0
    try:
        while True:
            beats += 1
            beat = {
                "beats": beats,
                "messages": engine.messages,
                "in_flight": engine.unfinished,
                "proven": engine.proven,
                "loading_adapter": engine.loading_adapter,
                "open": is_open(),
            }
            try:
                await asyncio.get_running_loop().run_in_executor(writer, file.write, beat)
            except OSError as error:
                warn(f"the front end's beat could not be written: {error}")
            silence.look()
            await asyncio.sleep(_PERIOD_SECONDS)
    finally:
        file.remove()
        writer.shutdown(wait=False)


class _Silence:
    """Asks an engine that has requests and has not said anything for a while whether it is there."""

    def __init__(self, engine: Engine, patience: float, warn: Callable[[str], None]) -> None:
        self._engine = engine
        self._warn = warn
        self._patience = patience
        self._clock = asyncio.get_running_loop().time
        self._messages = -1
        self._since = 0.0
        self._question: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Look at the engine, and ask it if it is time to."""
        engine = self._engine
        if engine.messages != self._messages or not engine.unfinished or engine.errored:
            self._messages = engine.messages
            self._since = self._clock()
        elif self._clock() - self._since >= self._patience and (
            self._question is None or self._question.done()
        ):
            self._question = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        try:
            await self._engine.answer()
        except Exception as error:
            self._warn(f"the engine could not be asked whether it is there: {type(error).__name__}")
