"""Serves requests on the event loop: renders them, gives them to the engine, follows them to their end."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

from . import engine as vllm_engine
from . import images, info, log, pooling
from .engine import Engine
from .errors import Kind, RequestFailed, cancelled, generating, internal, unhealthy
from .lora import Adapters
from .metrics import Metrics, Statistics
from .requests import Generation, Information, Pooling
from .responses import Senders
from .sampling import check_names, normalise, split_options, template_arguments
from .streams import Stream
from .tensors import Sequences


class Service:
    """The open requests of one model. Everything but `accept` runs on the event loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        engine: Engine,
        senders: Senders,
        adapters: Adapters,
        name: str,
        statistics: Statistics | None,
        metrics: Metrics | None,
    ) -> None:
        self._loop = loop
        self.engine = engine
        self._senders = senders
        self._adapters = adapters
        self._name = name
        self._statistics = statistics
        self._metrics = metrics
        self._kept: set[asyncio.Task[None]] = set()
        self._arrived: deque[Sequence[tuple[Stream, Any]]] = deque()
        self._dirty: list[Stream] = []
        self._flush_due = False
        self.open: dict[str, Stream] = {}
        self.last_success: float | None = None

    def keep(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something beside the requests for as long as the model is served."""
        task = self._loop.create_task(coroutine)
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    # Arrival

    def accept(self, batch: Sequence[tuple[Stream, Any]]) -> None:
        """Take requests from Triton's thread: one wake-up of the loop for all of them."""
        self._arrived.append(batch)
        self._loop.call_soon_threadsafe(self._admit)

    def _admit(self) -> None:
        for stream, asked in self._arrived.popleft():
            if isinstance(asked, RequestFailed):
                self.fail(stream, asked)
                continue
            if isinstance(asked, Information):
                stream.answer = info.tensors
                self.deliver(stream, self._information())
                continue
            self.open[stream.id] = stream
            stream.on_end = self._ended
            stream.task = self._loop.create_task(self._serve(stream, asked))

    async def _serve(self, stream: Stream, asked: Generation | Pooling) -> None:
        try:
            if self.engine.errored:
                raise unhealthy()
            options, values = split_options(asked.parameters, asked.timeout_us)
            stream.lora = self._adapters.acquire(options.lora_name)
            if options.timeout_seconds is not None:
                stream.deadline = self._loop.call_later(
                    options.timeout_seconds, self._expire, stream, options.timeout_seconds
                )
            if isinstance(asked, Pooling):
                await pooling.serve(self, stream, asked, options.priority)
            else:
                await self._generate(stream, asked, values, options.priority)
        except asyncio.CancelledError:
            # Cancelled by `cancel`, which has answered; the engine may hold the request already.
            raise
        except Exception as error:
            self.fail(stream, self._explain(stream, error))
        finally:
            stream.task = None

    async def _generate(
        self, stream: Stream, asked: Generation, values: dict[str, Any], priority: int
    ) -> None:
        self.require_task("generate")
        stream.interval = _interval(values.pop("stream_interval", 1)) if asked.stream else 1
        template = template_arguments(values.pop("chat_template_kwargs", None))
        check_names(values, vllm_engine.SAMPLING_NAMES)
        params = vllm_engine.sampling_params(
            normalise(values, vllm_engine.STRUCTURED_OUTPUTS_NAMES),
            stream=asked.stream,
            cumulative_logprob=asked.outputs.cumulative_logprob,
        )
        stream.outputs = asked.outputs
        stream.streaming = asked.stream
        prefix = asked.text if asked.prepend_prompt and asked.text else ""
        stream.sequences = Sequences(
            params.n, asked.outputs, prefix, has_logprobs=vllm_engine.asks_for_logprobs(values)
        )
        if asked.messages is not None:
            prompt = await self.engine.render_chat(asked.messages, template)
        elif asked.prompt_token_ids is not None:
            prompt = await self.engine.render_tokens(asked.prompt_token_ids)
        elif asked.encoded is not None:
            prompt = self.engine.encoded(asked.text or "", asked.encoded)
        else:
            pictures = await images.decode(asked.images) if asked.images else None
            prompt = await self.engine.render_text(asked.text or "", pictures)
        await self.submit(stream, prompt, params, priority, sink=partial(self._deliver_text, stream))

    def require_task(self, task: str) -> None:
        """Refuse what the model cannot do."""
        if task not in self.engine.tasks:
            raise generating(Kind.INVALID_ARG, f"Model {self._name} does not support '{task}' request")

    async def stop(self, seconds: float) -> None:
        """Stop the engine, and the metrics when nothing of this front end changes them any more."""
        for task in self._kept:
            task.cancel()
        await asyncio.to_thread(self.engine.shutdown, seconds)
        if self._statistics is not None:
            await asyncio.to_thread(self._statistics.stop)
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.stop)

    async def submit(
        self,
        stream: Stream,
        prompt: Any,
        params: Any,
        priority: int,
        *,
        sink: vllm_engine.Sink,
        part: str = "",
    ) -> None:
        """Give a prepared request, or a part of one, to the engine."""
        if stream.ended:
            return
        handle = await self.engine.submit(
            stream.id + part,
            prompt,
            params,
            sink,
            lora=stream.lora.request if stream.lora is not None else None,
            priority=priority,
        )
        stream.handles.append(handle)
        if stream.ended and stream.aborting:
            await self.engine.abort(handle)

    def _information(self) -> info.Answer:
        return info.describe(
            vllm_version=vllm_engine.VERSION,
            revision=self.engine.revision,
            errored=self.engine.errored,
            last_success=self.last_success,
            adapters=self._adapters.names(),
        )

    # Outputs

    def _deliver_text(self, stream: Stream, output: Any) -> None:
        """Take an output of the engine or its error; called from vLLM's output loop, so it never raises."""
        try:
            if isinstance(output, BaseException):
                self.fail(stream, self._explain(stream, output))
            elif vllm_engine.ended_in_error(output):
                log.warning(f"request {stream.id}: the engine gave up a sequence")
                self._withdraw(stream, internal(stream.id))
            else:
                self.deliver(stream, output)
        except Exception as error:
            log.defect(f"request {stream.id}: an output could not be taken", error)
            self.fail(stream, internal(stream.id))

    def deliver(self, stream: Stream, answer: Any) -> None:
        """Take what is to be sent next."""
        if stream.add(answer):
            self._mark(stream)

    def fail(self, stream: Stream, error: RequestFailed, *, drop_pending: bool = False) -> None:
        """End a request with an error."""
        if stream.fail(error, drop_pending=drop_pending):
            self._mark(stream)

    def _mark(self, stream: Stream) -> None:
        """Note that a stream has something to send; hand all such streams over once per turn of the loop."""
        if stream.scheduled:
            return
        stream.scheduled = True
        self._dirty.append(stream)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        dirty, self._dirty = self._dirty, []
        self._senders.hand_over(dirty)

    def _ended(self, stream: Stream) -> None:
        self.open.pop(stream.id, None)
        if stream.finished:
            self.last_success = time.monotonic()
        if stream.lora is not None:
            self._adapters.release(stream.lora)

    # Ends that the engine did not bring about

    def cancel(self, stream: Stream) -> None:
        """Cancel a request whose client is gone or asked for it, wherever the request is."""
        if stream.ended:
            return
        log.info("Cancelling the request")
        self._withdraw(stream, cancelled())
        log.info("Successfully cancelled the request")

    def _expire(self, stream: Stream, seconds: float) -> None:
        self._withdraw(
            stream, generating(Kind.UNAVAILABLE, f"the request's timeout of {seconds:g} s expired.")
        )

    def _withdraw(self, stream: Stream, error: RequestFailed) -> None:
        stream.aborting = True
        self.fail(stream, error, drop_pending=True)
        if stream.handles:
            self._loop.create_task(self._abort(stream))
        # A request still being prepared or handed in is aborted by `submit` as soon as the engine has it.

    async def _abort(self, stream: Stream) -> None:
        if self.engine.errored:
            return
        try:
            for handle in stream.handles:
                await self.engine.abort(handle)
        except Exception as error:
            log.defect(f"request {stream.id}: could not be aborted", error)

    def fail_all(self, error: RequestFailed) -> None:
        """End every open request with an error."""
        for stream in list(self.open.values()):
            self._withdraw(stream, error)

    def _explain(self, stream: Stream, error: BaseException) -> RequestFailed:
        known = vllm_engine.translate(error)
        if known is None and self.engine.errored:
            known = unhealthy()
        if known is None:
            log.defect(f"request {stream.id} failed", error)
            known = internal(stream.id)
        return known


def _interval(value: Any) -> int:
    try:
        interval = int(value)
    except (TypeError, ValueError):
        interval = 0
    if interval < 1 or isinstance(value, bool):
        raise generating(Kind.INVALID_ARG, "`stream_interval` must be an integer of at least 1.")
    return interval
