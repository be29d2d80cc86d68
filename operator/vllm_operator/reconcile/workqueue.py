"""Which models are due, each at most once: duplicates fold, failures come back later each time."""

import asyncio
import heapq
import itertools
import random
import time
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)

_BACKOFF_FIRST = 0.5
_BACKOFF_LAST = 300.0
_THROTTLED = 2.0
_OUTAGE = 10.0
#: After so many failures in a row the back-off of an outage has reached its end.
_OUTAGE_FAILURES = 6


class _Failures(NamedTuple):
    """How many in a row, and how many writes had been answered by the last one."""

    in_a_row: int
    answered: int


class WorkQueue(Generic[K]):
    """A key is never worked on by two at once; added meanwhile, it comes back when that one is done.

    `answered` counts the writes that the API server has answered, for whatever key.
    Used within one event loop.
    """

    def __init__(
        self,
        *,
        on_wait: Callable[[float], None] = lambda _: None,
        on_retry: Callable[[], None] = lambda: None,
        answered: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_wait = on_wait
        self._on_retry = on_retry
        self._answered = answered
        self._clock = clock
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()
        self._running: set[K] = set()
        self._again: dict[K, float] = {}
        self._failures: dict[K, _Failures] = {}
        self._changed = asyncio.Event()
        self._closed = False

    def add(self, key: K, *, after: float = 0) -> None:
        """Make a key due after some seconds; of several wishes the earliest counts."""
        due = self._clock() + after
        waiting = self._again if key in self._running else self._due
        if due >= waiting.get(key, float("inf")):
            return
        waiting[key] = due
        if waiting is self._due:
            heapq.heappush(self._heap, (due, next(self._order), key))
            self._changed.set()

    async def get(self) -> K | None:
        """The next key that is due, first come first served; None once the queue is closed."""
        while not self._closed:
            wait = self._next_due()
            if wait is not None and wait <= 0:
                _, _, key = heapq.heappop(self._heap)
                self._on_wait(-wait)
                del self._due[key]
                self._running.add(key)
                return key
            self._changed.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return None

    def done(self, key: K, *, again_after: float | None) -> None:
        """The key was worked on with success; it comes again after some seconds, or when it is added."""
        self._failures.pop(key, None)
        self._finish(key, again_after)

    def retry(self, key: K, *, throttled: float | None = None, outage: bool = False) -> float:
        """The key was worked on in vain; returns the seconds after which it comes back.

        Later after each failure. What the API server does is none of the key's: `throttled`, it comes back
        after the seconds that the server asked for, each time; after an `outage` it has not slept for long.
        It is none of the server's where others were answered since the key's last failure: a webhook that
        hangs for one namespace would keep all workers waiting.
        """
        if throttled is None:
            answered = self._answered()
            count, answered_before = self._failures.get(key, _Failures(0, answered))
            count += 1
            outage = outage and answered == answered_before
            if outage:
                count = min(count, _OUTAGE_FAILURES)
            self._failures[key] = _Failures(count, answered)
            longest = _OUTAGE if outage else _BACKOFF_LAST
            delay = min(_BACKOFF_FIRST * 2.0 ** min(count - 1, 20), longest)
            delay = max(delay * random.uniform(0.8, 1.0), _BACKOFF_FIRST)  # noqa: S311 - spreads load
        else:
            delay = max(throttled, _THROTTLED) * random.uniform(1.0, 1.5)  # noqa: S311 - spreads load
        self._on_retry()
        self._finish(key, delay)
        return delay

    def close(self) -> None:
        """Hand out nothing more; who waits gets None."""
        self._closed = True
        self._changed.set()

    def depth(self) -> int:
        """How many keys are due now."""
        now = self._clock()
        return sum(due <= now for due in self._due.values())

    def _finish(self, key: K, again_after: float | None) -> None:
        self._running.discard(key)
        if again_after is not None:
            self.add(key, after=again_after)
        if (due := self._again.pop(key, None)) is not None:
            self.add(key, after=due - self._clock())

    def _next_due(self) -> float | None:
        """Seconds until the earliest key is due; entries that an earlier wish replaced are dropped."""
        while self._heap:
            due, _, key = self._heap[0]
            if self._due.get(key) == due:
                return due - self._clock()
            heapq.heappop(self._heap)
        return None
