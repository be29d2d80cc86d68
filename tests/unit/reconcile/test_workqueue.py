"""The queue: duplicates fold, never two at once, later after each failure, none starves."""

import asyncio

import pytest

from vllm_operator.reconcile.workqueue import WorkQueue


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def _take(queue: WorkQueue[str]) -> str | None:
    async with asyncio.timeout(2):
        return await queue.get()


async def _nothing_due(queue: WorkQueue[str]) -> bool:
    getter = asyncio.ensure_future(queue.get())
    for _ in range(5):
        await asyncio.sleep(0)
    waiting = not getter.done()
    getter.cancel()
    return waiting


async def test_duplicates_fold_into_one() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "b", "a", "a"):
        queue.add(key)
    assert [await _take(queue), await _take(queue)] == ["a", "b"]
    assert await _nothing_due(queue)


async def test_a_key_is_never_handed_out_twice_and_returns_when_it_was_added_meanwhile() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await _take(queue) == "a"
    queue.add("a")
    assert await _nothing_due(queue)
    queue.done("a", again_after=None)
    assert await _take(queue) == "a"
    queue.done("a", again_after=None)
    assert await _nothing_due(queue)


async def test_the_earliest_wish_counts() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add("a", after=600)
    queue.add("a", after=10)
    queue.add("a", after=300)
    assert await _nothing_due(queue)
    clock.now += 10
    assert await _take(queue) == "a"
    queue.done("a", again_after=None)
    clock.now += 1000
    assert await _nothing_due(queue)


async def test_a_resync_does_not_delay_an_event_that_came_meanwhile() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add("a")
    await _take(queue)
    queue.add("a", after=0.2)
    queue.done("a", again_after=600)
    clock.now += 0.2
    assert await _take(queue) == "a"


async def test_failures_back_off_from_half_a_second_to_five_minutes_and_a_success_forgets_them() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    delays = []
    queue.add("a")
    for _ in range(14):
        await _take(queue)
        delays.append(queue.retry("a"))
        clock.now += delays[-1]
    assert delays[0] == pytest.approx(0.5)
    assert all(0.8 * 0.5 * 2**n <= delay <= 0.5 * 2**n for n, delay in enumerate(delays[1:10], 1))
    assert all(240 <= delay <= 300 for delay in delays[10:])
    await _take(queue)
    queue.done("a", again_after=0)
    await _take(queue)
    assert queue.retry("a") == pytest.approx(0.5)


async def test_throttling_keeps_the_servers_pace_and_never_backs_off() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add("a")
    for _ in range(20):
        await _take(queue)
        delay = queue.retry("a", throttled=7)
        assert 7 <= delay <= 7 * 1.5
        clock.now += delay
    await _take(queue)
    assert queue.retry("a", throttled=0) <= 3, "without a wish of the server"
    clock.now += 3
    await _take(queue)
    assert queue.retry("a") == pytest.approx(0.5), "a failure of its own is the first one"


async def test_after_a_long_outage_nothing_sleeps_on() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add("a")
    delays = []
    for _ in range(20):
        await _take(queue)
        delays.append(queue.retry("a", outage=True))
        clock.now += delays[-1]
    assert delays[0] == pytest.approx(0.5), "a connection that broke is tried again at once"
    assert max(delays) <= 10


async def test_who_alone_gets_no_answer_backs_off_like_any_other_failure() -> None:
    """A webhook that hangs for one namespace: the API server answers everybody else."""
    clock, answered = Clock(), 0
    queue: WorkQueue[str] = WorkQueue(clock=clock, answered=lambda: answered)
    queue.add("a")
    delays = []
    for _ in range(14):
        await _take(queue)
        answered += 3
        delays.append(queue.retry("a", outage=True))
        clock.now += delays[-1]
    assert all(240 <= delay <= 300 for delay in delays[10:])


async def test_an_outage_that_ends_for_some_first_lets_nobody_sleep() -> None:
    clock, answered = Clock(), 7
    queue: WorkQueue[str] = WorkQueue(clock=clock, answered=lambda: answered)
    queue.add("a")
    for _ in range(20):
        await _take(queue)
        clock.now += queue.retry("a", outage=True)
    await _take(queue)
    answered += 1
    assert queue.retry("a", outage=True) <= 40


async def test_first_come_first_served_under_load() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add("quiet")
    for number in range(100):
        clock.now += 0.001
        queue.add(f"noisy-{number}")
    assert await _take(queue) == "quiet"


async def test_closing_wakes_every_waiting_worker() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = [asyncio.ensure_future(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.close()
    async with asyncio.timeout(2):
        assert await asyncio.gather(*waiting) == [None, None, None]


async def test_depth_counts_what_is_due_and_waits_are_reported() -> None:
    clock, waits = Clock(), []
    queue: WorkQueue[str] = WorkQueue(clock=clock, on_wait=waits.append)
    queue.add("a")
    queue.add("b", after=60)
    assert queue.depth() == 1
    clock.now += 3
    await _take(queue)
    assert waits == [pytest.approx(3)]
    assert queue.depth() == 0
