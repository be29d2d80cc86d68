"""One open request: what the engine produced for it and what has been sent, with exactly one final answer."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from .errors import RequestFailed
from .requests import Outputs

Item = Any  # an output of the engine, a ready answer, or the `RequestFailed` that ends the request


class Stream:
    """A request from its arrival to its final response.

    Outputs are added on the event loop's thread; exactly one sender thread, always the same, takes them.
    """

    __slots__ = (
        "aborting",
        "answer",
        "closed",
        "deadline",
        "ended",
        "finished",
        "handles",
        "id",
        "interval",
        "lock",
        "lora",
        "on_end",
        "outputs",
        "pending",
        "prefix",
        "responder",
        "scheduled",
        "sender",
        "sequences",
        "started",
        "streaming",
        "task",
        "unsent_tokens",
    )

    def __init__(self, request_id: str, responder: Any, sender: int) -> None:
        self.id = request_id
        self.responder = responder
        self.sender = sender
        self.pending: deque[Item] = deque()
        # True from the moment the stream is handed to its sender until the sender starts to empty `pending`.
        self.scheduled = False
        # No item may follow once ended (event loop's side).
        self.ended = False
        # Ended by the engine, not by an error.
        self.finished = False
        # Ended by us: the engine must be told as soon as it has the request.
        self.aborting = False
        # The final flag has been sent: Triton has freed what the responder points to (sender's side).
        self.closed = False
        # Held while the responder is used for anything that must not meet the final send.
        self.lock = threading.Lock()
        self.outputs = Outputs()
        self.streaming = False
        self.prefix = ""
        self.sequences: Any = None
        self.answer: Callable[[Any], list[Any]] | None = None
        # What the engine holds of this request: one generation, or one entry for each pooled input.
        self.handles: list[Any] = []
        self.task: asyncio.Task[None] | None = None
        self.deadline: asyncio.TimerHandle | None = None
        self.lora: Any = None
        self.on_end: Callable[[Stream], None] | None = None
        self.interval = 1
        self.unsent_tokens = 0
        self.started = False

    def add(self, output: Any) -> bool:
        """Take one output of the engine; return whether there is something to send now."""
        if self.ended:
            return False
        self.pending.append(output)
        if output.finished:
            self.finished = True
            self._end()
            return True
        if self.interval > 1:
            return self._interval_reached(output)
        return True

    def fail(self, error: RequestFailed, *, drop_pending: bool = False) -> bool:
        """End the request with an error; return whether there is something to send now."""
        if self.ended:
            return False
        if drop_pending:
            self.pending.clear()
        self.pending.append(error)
        self._end()
        return True

    def take(self) -> list[Item]:
        """Take all that waits (sender's side)."""
        self.scheduled = False
        pending = self.pending
        items = []
        while pending:
            try:
                items.append(pending.popleft())
            except IndexError:  # cleared by a cancellation in between
                break
        return items

    def _end(self) -> None:
        self.ended = True
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None
        if self.on_end is not None:
            self.on_end(self)

    def _interval_reached(self, output: Any) -> bool:
        """Count tokens up to the interval the client asked for; the first output is never held back."""
        if not self.started:
            self.started = True
            return True
        self.unsent_tokens += sum(len(sequence.token_ids) for sequence in output.outputs)
        if self.unsent_tokens < self.interval:
            return False
        self.unsent_tokens = 0
        return True
