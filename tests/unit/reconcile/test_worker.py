"""What becomes of a key after each outcome; no failure ends a worker."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from vllm_operator.observed.store import Key
from vllm_operator.reconcile.errors import TransientError
from vllm_operator.reconcile.worker import Done, Gone, Outcome, RequeueAfter, work
from vllm_operator.reconcile.workqueue import WorkQueue
from vllm_operator.telemetry import metrics

KEY = Key("team-a", "llama")


async def _run(reconcile: Callable[[Key], Awaitable[Outcome]], times: int) -> None:
    queue: WorkQueue[Key] = WorkQueue()
    calls = 0

    async def counted(key: Key) -> Outcome:
        nonlocal calls
        calls += 1
        if calls == times:
            queue.close()
        return await reconcile(key)

    queue.add(KEY)
    async with asyncio.timeout(10):
        await work(queue, counted, resync_seconds=0.1)
    assert calls == times


def _count(result: str) -> float:
    return metrics.RECONCILES.labels(result)._value.get()


async def test_done_comes_again_with_the_resync() -> None:
    async def reconcile(_: Key) -> Outcome:
        return Done()

    await _run(reconcile, times=3)


async def test_requeue_after_comes_again_when_it_says() -> None:
    async def reconcile(_: Key) -> Outcome:
        return RequeueAfter(0.01)

    await _run(reconcile, times=3)


async def test_gone_does_not_come_again() -> None:
    queue: WorkQueue[Key] = WorkQueue()

    async def reconcile(_: Key) -> Outcome:
        return Gone()

    queue.add(KEY)
    worker = asyncio.ensure_future(work(queue, reconcile, resync_seconds=0.01))
    await asyncio.sleep(0.1)
    assert queue.depth() == 0
    queue.close()
    await worker


@pytest.mark.parametrize(
    ("error", "result"), [(TransientError("API away"), "error"), (ZeroDivisionError("bug"), "bug")]
)
async def test_a_failure_is_counted_and_tried_again(error: Exception, result: str) -> None:
    before = _count(result)

    async def reconcile(_: Key) -> Outcome:
        raise error

    await _run(reconcile, times=2)
    assert _count(result) == before + 2
