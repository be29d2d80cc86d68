"""Hysteresis and timing of the prober, with outcomes given by the test."""

import asyncio
from dataclasses import replace

import pytest

from vllm_operator.observed.state import BackendInfo, ProbeVerdict
from vllm_operator.observed.store import Key
from vllm_operator.observed.target import ProbeTarget
from vllm_operator.probe import prober as prober_module
from vllm_operator.probe import triton
from vllm_operator.probe.prober import PodProbe, Prober
from vllm_operator.probe.triton import Outcome, deadline_seconds

KEY = Key("ns", "llama")
TARGET = ProbeTarget(
    pod_uid="pod",
    pod_name="llama-1",
    address="127.0.0.1",
    model_name="llama",
    kind="auto",
    prompt="Hello",
    max_tokens=1,
    expect_contains=None,
    embed_input="Hello",
    period_seconds=10,
    timeout_seconds=5,
    failure_threshold=3,
)
GOOD = Outcome(ProbeVerdict.SERVING, "")
HANGS = Outcome(ProbeVerdict.TIMEOUT, "no answer within 5 s")
ERRS = Outcome(ProbeVerdict.FAILED, "inference failed: boom")


def probed() -> PodProbe:
    return PodProbe(KEY, TARGET)


def test_one_success_is_enough_and_is_told_once() -> None:
    pod = probed()
    assert pod.judge(GOOD)
    assert not pod.judge(GOOD)


@pytest.mark.parametrize("start", [None, GOOD])
def test_it_takes_the_threshold_of_failures_in_a_row(start: Outcome | None) -> None:
    pod = probed()
    if start:
        pod.judge(start)
    assert [pod.judge(HANGS), pod.judge(HANGS)] == [False, False]
    assert pod.judge(HANGS)
    assert pod.result is not None
    assert pod.result.verdict is ProbeVerdict.TIMEOUT


def test_a_success_in_between_starts_the_count_anew() -> None:
    pod = probed()
    for outcome in (GOOD, HANGS, HANGS, GOOD, HANGS, HANGS):
        pod.judge(outcome)
    assert pod.result is not None
    assert pod.result.verdict is ProbeVerdict.SERVING
    assert pod.judge(HANGS)


def test_failing_it_is_renamed_only_when_it_has_settled_on_another_kind() -> None:
    pod = probed()
    for _ in range(3):
        pod.judge(HANGS)
    assert [pod.judge(ERRS), pod.judge(HANGS), pod.judge(ERRS), pod.judge(ERRS)] == [False] * 4
    assert pod.judge(ERRS)
    assert pod.result is not None
    assert pod.result.verdict is ProbeVerdict.FAILED


def test_versions_learnt_later_are_told_and_kept_through_a_failure() -> None:
    pod = probed()
    pod.judge(GOOD)
    assert pod.result is not None
    since = pod.result.at
    info = BackendInfo("2.51.0", "0.32.0", ("abc",))
    assert pod.judge(replace(GOOD, backend=info))
    assert pod.result.at == since
    for _ in range(3):
        pod.judge(HANGS)
    assert pod.result.backend == info


@pytest.mark.parametrize("target", [TARGET, replace(TARGET, period_seconds=15, timeout_seconds=15)])
def test_a_hang_is_found_within_period_times_threshold(target: ProbeTarget) -> None:
    """The worst case: it hangs right after a proven success, and no probe answers before its deadline."""
    pod = PodProbe(KEY, target)
    started = pod.due_after_success(0, GOOD)
    for _ in range(target.failure_threshold - 1):
        started = pod.due_without_success(started)
    assert started + deadline_seconds(target) <= target.period_seconds * target.failure_threshold


def test_the_next_probe_is_due_one_period_after_the_success_that_the_backend_reported() -> None:
    pod = probed()
    assert 4.5 <= pod.due_after_success(0, replace(GOOD, success_age=4.0)) <= 5.5
    assert 8.5 <= pod.due_after_success(0, GOOD) <= 9.5


async def test_a_hanging_pod_is_asked_again_while_it_hangs_and_its_recovery_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(triton, "_LEAST_DEADLINE_SECONDS", 1)
    monkeypatch.setattr(prober_module, "_LEAST_PAUSE_SECONDS", 0.1)
    told: asyncio.Queue[Key] = asyncio.Queue()
    hanging = asyncio.Event()
    asked = 0

    async def ask(target: ProbeTarget, *, embed: bool, suspect: bool) -> Outcome:
        nonlocal asked
        asked += 1
        if not hanging.is_set():
            return GOOD
        try:
            async with asyncio.timeout(1):
                await asyncio.Event().wait()
        except TimeoutError:
            return HANGS
        raise AssertionError

    quick = replace(TARGET, period_seconds=1, timeout_seconds=1)
    prober = Prober(enqueue=told.put_nowait, concurrency=1, ask=ask)
    prober.watch(KEY, [quick])
    async with asyncio.timeout(20):
        await told.get()
        hanging.set()
        began = asyncio.get_running_loop().time()
        await told.get()
        assert prober.results(KEY)["pod"].verdict is ProbeVerdict.TIMEOUT
        assert asyncio.get_running_loop().time() - began <= 3.2
        hanging.clear()
        await told.get()
    assert prober.results(KEY)["pod"].verdict is ProbeVerdict.SERVING
    await prober.close()


async def test_pods_are_probed_as_long_as_they_are_watched_and_changes_are_told() -> None:
    told: asyncio.Queue[Key] = asyncio.Queue()
    asked: list[tuple[str, bool]] = []

    async def ask(target: ProbeTarget, *, embed: bool, suspect: bool) -> Outcome:
        asked.append((target.pod_uid, suspect))
        return GOOD

    prober = Prober(enqueue=told.put_nowait, concurrency=2, ask=ask)
    prober.watch(KEY, [TARGET])
    async with asyncio.timeout(2):
        assert await told.get() == KEY
    assert prober.results(KEY)["pod"].verdict is ProbeVerdict.SERVING
    prober.watch(KEY, [TARGET])
    assert asked == [("pod", False)]
    prober.watch(KEY, [])
    assert prober.results(KEY) == {}
    await prober.close()


async def test_a_bug_in_a_probe_counts_as_a_failure_and_probing_goes_on() -> None:
    told: asyncio.Queue[Key] = asyncio.Queue()

    async def ask(target: ProbeTarget, *, embed: bool, suspect: bool) -> Outcome:
        raise ZeroDivisionError

    prober = Prober(enqueue=told.put_nowait, concurrency=2, ask=ask)
    prober.watch(KEY, [replace(TARGET, failure_threshold=1, period_seconds=0.1)])
    async with asyncio.timeout(5):
        await told.get()
    assert prober.results(KEY)["pod"].verdict is ProbeVerdict.FAILED
    await prober.close()
