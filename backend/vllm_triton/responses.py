"""Sends responses from several threads, each request's in order, merging only what piled up."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from typing import Any

import triton_python_backend_utils as pb_utils

from . import log
from .errors import Kind, RequestFailed, internal
from .streams import Item, Stream
from .tensors import Constants

_CODES = {kind: getattr(pb_utils.TritonError, kind.value, pb_utils.TritonError.INTERNAL) for kind in Kind}
_FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class Senders:
    """The sender threads. A request belongs to one of them for its whole life, which keeps its order."""

    def __init__(self, count: int) -> None:
        self._queues: list[queue.SimpleQueue[Sequence[Stream] | None]] = [
            queue.SimpleQueue() for _ in range(count)
        ]
        self._next = 0
        # Requests that have not had their final response; a lone request is never merged.
        self._open = 0
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._threads = [
            threading.Thread(target=self._run, args=(mine,), name=f"vllm-sender-{index}", daemon=True)
            for index, mine in enumerate(self._queues)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def open(self) -> int:
        """How many requests have not had their final response."""
        return self._open

    def admit(self, request_id: str, responder: Any) -> Stream:
        """Open the stream of a new request."""
        with self._lock:
            self._open += 1
            self._next = (self._next + 1) % len(self._queues)
            return Stream(request_id, responder, self._next)

    def hand_over(self, streams: Sequence[Stream]) -> None:
        """Give streams that have something to send to their senders: one wake-up for each sender."""
        batches: list[list[Stream]] = [[] for _ in self._queues]
        for stream in streams:
            batches[stream.sender].append(stream)
        for target, batch in zip(self._queues, batches, strict=True):
            if batch:
                target.put(batch)

    def wait_until_sent(self, timeout: float) -> bool:
        """Wait until every admitted request has had its final response."""
        with self._idle:
            return self._idle.wait_for(lambda: self._open == 0, timeout)

    def stop(self, timeout: float) -> None:
        """End the threads once what they were given is sent."""
        for target in self._queues:
            target.put(None)
        for thread in self._threads:
            thread.join(timeout)

    def _run(self, mine: queue.SimpleQueue[Sequence[Stream] | None]) -> None:
        constants = Constants()
        while (batch := mine.get()) is not None:
            for stream in batch:
                try:
                    self._flush(stream, constants)
                except Exception as error:
                    self._abandon(stream, error)

    def _flush(self, stream: Stream, constants: Constants) -> None:
        items = stream.take()
        if not items or stream.closed:
            return
        error = items.pop() if isinstance(items[-1], RequestFailed) else None
        if items:
            if len(items) > 1 and (self._open > 1 or stream.interval > 1):
                self._send(stream, items, constants)
            else:
                for item in items:
                    self._send(stream, (item,), constants)
        if error is not None:
            self._send_error(stream, error)

    def _send(self, stream: Stream, items: Sequence[Item], constants: Constants) -> None:
        if stream.answer is None:
            response = pb_utils.InferenceResponse(stream.sequences.tensors(items, constants))
        else:
            response = pb_utils.InferenceResponse(stream.answer(items))
        if items[-1].finished:
            self._close(stream, response)
        else:
            stream.responder.send(response)

    def _send_error(self, stream: Stream, error: RequestFailed) -> None:
        # It may repeat a name from the client's JSON, which need not be valid Unicode.
        text = str(error).encode("utf-8", "replace").decode()
        failure = pb_utils.TritonError(text, _CODES[error.kind])
        self._close(stream, pb_utils.InferenceResponse(output_tensors=[], error=failure))

    def _close(self, stream: Stream, response: Any) -> None:
        try:
            with stream.lock:
                stream.closed = True
                stream.responder.send(response, flags=_FINAL)
        finally:
            # Triton keeps the model for as long as any responder lives, and a stream may outlive its end.
            stream.responder = None
            with self._idle:
                self._open -= 1
                if self._open == 0:
                    self._idle.notify_all()

    def _abandon(self, stream: Stream, error: Exception) -> None:
        """Answer a request whose response could not be built or sent, so that it never hangs."""
        log.defect(f"request {stream.id}: a response could not be sent", error)
        if stream.closed:
            return
        try:
            self._send_error(stream, internal(stream.id))
        except Exception as second:
            log.defect(f"request {stream.id}: the error could not be sent either", second)
