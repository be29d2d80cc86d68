"""Loads the model, keeps it, and ends it: the threads, the event loop and their order."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import sys
import threading
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from . import configuration, frontends, health, heartbeat, log
from .cancellation import CancellationPoller
from .departure import DepartureWatch
from .drain import Drain
from .errors import Kind, RequestFailed, internal
from .requests import Generation, decode
from .responses import Senders
from .supervision import Watchdog

_SHUTDOWN = RequestFailed(Kind.UNAVAILABLE, "the model is being unloaded")
_ENGINE_STOP_SECONDS = 2.0
_FLUSH_SECONDS = 3.0
# How long a thread may hold the interpreter while another waits. At the default of 5 ms a burst of arrivals
# waits for the event loop again and again: 10 % fewer tokens/s at 64 in flight, measured.
_SWITCH_SECONDS = 0.001


class LoadedModel:
    """A model from Triton's `initialize` to its `finalize`."""

    def __init__(self, args: dict[str, str]) -> None:
        directory = Path(pb_utils.get_model_dir())
        self._settings = settings = configuration.read_settings(args, directory)
        arguments = configuration.read_engine_arguments(directory)
        configuration.check_group(settings, arguments)
        devices = configuration.choose_devices(settings, arguments)
        if devices is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = devices
        # Before vLLM starts anything, so that all of it is born into the group that the watchdog ends.
        self._watchdog = Watchdog()
        self._closing = False
        self._drain: Drain | None = None
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="vllm-event-loop", daemon=True)
        self._thread.start()
        self._senders = Senders(settings.sender_threads)
        try:
            self._load(arguments)
        except BaseException:
            self._watchdog.expect_end()
            self._stop_loop()
            raise
        self._poller = CancellationPoller(self._service.open, self._cancel)
        self._departure = DepartureWatch(
            settings.name,
            settings.version,
            leaving=self._leave,
            closing=self._close_doors,
            staying=self._stay,
            drained=self._frontend.report_drained,
        )
        # What is loaded by now lives until the end: keep the garbage collector from walking it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        sys.setswitchinterval(_SWITCH_SECONDS)
        log.info(f"model {settings.name} is ready (vLLM {self._vllm_version})")

    def _load(self, arguments: dict[str, Any]) -> None:
        settings = self._settings
        self._frontend = frontends.open_seat(
            settings.name, settings.version, settings.group, settings.instance, settings.instances
        )
        try:
            self._start_serving(arguments)
        except BaseException as error:
            self._frontend.failed(str(error))
            raise
        self._frontend.engine_is_up()

    def _start_serving(self, arguments: dict[str, Any]) -> None:
        from . import engine as vllm_engine
        from .serving import start

        checked = configuration.check_engine_arguments(
            arguments, vllm_engine.argument_fields(), vllm_engine.VERSION
        )
        self._vllm_version = vllm_engine.VERSION
        self._service = self._call(start(self._loop, self._settings, checked, self._senders, self._frontend))
        self._watch = asyncio.run_coroutine_threadsafe(
            health.watch(self._service, self._senders, self._frontend), self._loop
        )
        self._loop.call_soon_threadsafe(
            self._service.keep, heartbeat.keep(self._service.engine, lambda: self.ready, log.warning)
        )
        self._frontend.watch(lost=self._service.engine.abandon, ending=self._end_requests)

    @property
    def ready(self) -> bool:
        """Whether requests can be served now."""
        return not self._closing and not self._service.engine.errored

    def accept(self, requests: list[Any]) -> None:
        """Decode requests and pass them on; one that is wrong does not disturb the others."""
        unavailable = _SHUTDOWN if self._closing else None
        if unavailable is None and self._settings.check_health:
            unavailable = health.check(self._call, self._service.engine, self._settings.name)
        batch = []
        for request in requests:
            number = f"{self._settings.instance}-{next(self._numbers)}"
            stream = self._senders.admit(number, request.get_response_sender())
            asked: Any = unavailable
            if asked is None:
                try:
                    asked = decode(request)
                    if isinstance(asked, Generation) and asked.text is not None and not asked.images:
                        asked.encoded = self._encode(asked.text)
                except RequestFailed as error:
                    # Without its traceback: the frames would keep Triton's request alive in a cycle.
                    asked = error.with_traceback(None)
                except Exception as error:
                    log.defect(f"request {stream.id} could not be decoded", error)
                    asked = internal(stream.id)
            batch.append((stream, asked))
        self._service.accept(batch)

    def _encode(self, text: str) -> list[int] | None:
        """Tokenise on Triton's thread, which waits for nothing else meanwhile."""
        tokenizer = self._service.engine.tokenizer
        return tokenizer.encode(text) if tokenizer is not None else None

    def close(self) -> None:
        """Stop everything; Triton has waited for the requests in flight."""
        self._departure.stop()
        self._leave()
        self._poller.stop()
        self._watch.cancel()
        self._frontend.stopping()
        self._call(self._service.stop(_ENGINE_STOP_SECONDS))
        self._senders.stop(_FLUSH_SECONDS)
        self._stop_loop()
        # Triton's objects must not be left to the interpreter's end, which comes after their memory's.
        gc.collect()
        self._watchdog.expect_end()
        self._frontend.close()
        log.info(f"model {self._settings.name} is stopped")

    def _leave(self) -> None:
        """Let requests in flight finish for the drain time, then end them."""
        if not self._turn_away():
            return
        if not self._senders.wait_until_sent(self._settings.drain_seconds):
            self._end_late_requests()
            self._senders.wait_until_sent(_FLUSH_SECONDS)

    def _close_doors(self) -> None:
        """Do the same beside who asks for it, until `_stay` takes it back."""
        if self._turn_away():
            self._drain = Drain(
                self._senders.wait_until_sent, self._end_late_requests, self._settings.drain_seconds
            )
            self._drain.begin()

    def _stay(self) -> None:
        """Take requests again: what looked like the model's end was none."""
        if self._drain is not None:
            self._drain.cancel()
        log.warning(f"model {self._settings.name} is not being unloaded after all: it takes requests again")
        self._closing = False

    def _turn_away(self) -> bool:
        """Take no requests any more, if the engine lives.

        A server that asks `is_ready` takes a dead engine for a model that leaves: all are answered already.
        """
        if self._service.engine.errored:
            return False
        self._closing = True
        return True

    def _end_late_requests(self) -> None:
        log.warning(f"{self._senders.open} requests did not finish within the drain time, ending them")
        self._end_requests()

    def _end_requests(self) -> None:
        self._closing = True
        self._loop.call_soon_threadsafe(self._service.fail_all, _SHUTDOWN)

    def _cancel(self, stream: Any) -> None:
        self._loop.call_soon_threadsafe(self._service.cancel, stream)

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, coroutine: Any) -> Any:
        """Run a coroutine on the loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _stop_loop(self) -> None:
        self._call(_cancel_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_FLUSH_SECONDS)


async def _cancel_tasks() -> None:
    """Cancel what still runs on this loop, so that closing it warns of nothing."""
    mine = asyncio.current_task()
    tasks = [task for task in asyncio.all_tasks() if task is not mine]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
