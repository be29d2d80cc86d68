"""Hysteresis and timing of the prober, with outcomes given by the test."""

import asyncio
from dataclasses import replace

import pytest

from vllm_operator.observed.state import BackendInfo, ProbeVerdict
from vllm_operator.observed.store import Key
from vllm_operator.observed.target import ProbeTarget
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


def test_a_hang_is_found_within_period_times_threshold() -> None:
    """The worst case: it hangs right after a proven success, and each probe then takes its whole deadline."""
    pod = probed()
    pod.judge(GOOD)
    deadline = deadline_seconds(TARGET)
    now = pod.pause(GOOD, 0.1)
    for took in (deadline + 2, deadline, deadline):  # the first one also asked the backend, in vain
        now += took
        pod.judge(HANGS)
        if pod.result and pod.result.verdict is ProbeVerdict.TIMEOUT:
            break
        now += pod.pause(HANGS, took)
    assert now <= TARGET.period_seconds * TARGET.failure_threshold


def test_the_next_probe_is_due_one_period_after_the_success_that_the_backend_reported() -> None:
    pod = probed()
    assert 5 <= pod.pause(replace(GOOD, success_age=4.0), 0.1) <= 6
    assert 9 <= pod.pause(GOOD, 0.1) <= 10


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
