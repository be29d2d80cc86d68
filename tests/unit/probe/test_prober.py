"""The prober on a virtual clock, with pods that the test makes answer, hang or err."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from unit.probe.targets import ERRS, GOOD, HANGS, KEY, TARGET
from unit.virtualtime import run_virtually
from vllm_operator.observed.state import BackendInfo, ProbeResult, ProbeVerdict
from vllm_operator.observed.store import Key
from vllm_operator.observed.target import ProbeTarget
from vllm_operator.probe.outcome import Outcome
from vllm_operator.probe.prober import Prober
from vllm_operator.probe.triton import deadline_seconds

EVER = 1e9
_QUICK = 0.01


def now() -> float:
    return asyncio.get_running_loop().time()


class Pods:
    """Stands for all pods. `hanging`, `erring`: UIDs; `stuck`: those that do not even end in time."""

    def __init__(self, cpu: float = 0.0, concurrency: int = 16) -> None:
        self.hanging: set[str] = set()
        self.erring: set[str] = set()
        self.stuck: set[str] = set()
        self.hung: set[str] = set()
        self.busy: set[str] = set()
        """Others' requests succeed all the time."""
        self.asked: dict[str, list[float]] = defaultdict(list)
        self.checks: list[bool] = []
        self.suspects: list[bool] = []
        self.in_flight: dict[str, int] = defaultdict(int)
        self.most_in_flight: dict[str, int] = defaultdict(int)
        self.told: list[tuple[float, Key]] = []
        self.cost = cpu
        self.spent = 0.0
        self.prober = Prober(
            enqueue=lambda key: self.told.append((now(), key)),
            concurrency=concurrency,
            ask=self.ask,
            cpu=lambda: self.spent,
        )

    async def ask(self, target: ProbeTarget, *, embed: bool, suspect: bool, check: bool) -> Outcome:
        uid = target.pod_uid
        self.asked[uid].append(now())
        self.checks.append(check)
        self.suspects.append(suspect)
        with self._flying(uid):
            self.spent += self.cost
            await asyncio.sleep(_QUICK)
            if uid in self.stuck:
                await asyncio.sleep(EVER)
            if uid in self.hung:
                return Outcome(ProbeVerdict.HUNG, "hangs", BackendInfo(), certain=True)
            if uid in self.hanging:
                await asyncio.sleep(deadline_seconds(target) - _QUICK)
                return HANGS
            if target.ask_only:
                return Outcome(None, "", BackendInfo())
            if uid in self.busy and not (check or suspect):
                return replace(GOOD, inferred=False, success_age=0.1)
            return ERRS if uid in self.erring else GOOD

    @contextmanager
    def _flying(self, uid: str) -> Iterator[None]:
        self.in_flight[uid] += 1
        self.most_in_flight[uid] = max(self.most_in_flight[uid], self.in_flight[uid])
        try:
            yield
        finally:
            self.in_flight[uid] -= 1

    def result(self, key: Key = KEY) -> ProbeResult | None:
        return next(iter(self.prober.results(key).values()), None)

    def verdict(self, key: Key = KEY) -> ProbeVerdict | None:
        result = self.result(key)
        return result.verdict if result else None


def target(uid: str = "pod", **fields: Any) -> ProbeTarget:
    return replace(TARGET, pod_uid=uid, pod_name=uid, **fields)


def scenario(test: Callable[[Pods], Coroutine[Any, Any, None]], **pods: Any) -> None:
    async def main() -> None:
        stage = Pods(**pods)
        await test(stage)
        await stage.prober.close()

    run_virtually(main())


async def until(condition: Callable[[], bool], seconds: float) -> float:
    """Wait in virtual time; how long it took."""
    began = now()
    while not condition():
        assert now() - began <= seconds, f"not within {seconds} s"
        await asyncio.sleep(0.05)
    return now() - began


@pytest.mark.parametrize(("period", "timeout"), [(10, 5), (5, 5), (15, 15), (5, 20)])
def test_a_hang_is_found_in_time_with_one_attempt_in_flight(period: int, timeout: int) -> None:
    """In time is period x threshold + timeout; a longer timeout counts as the period of what failed."""

    async def test(pods: Pods) -> None:
        pods.prober.watch(KEY, [target(period_seconds=period, timeout_seconds=timeout)])
        await until(lambda: pods.verdict() is ProbeVerdict.SERVING, 1)
        pods.hanging.add("pod")  # right after a success: the worst case
        limit = period + 2 * max(period, timeout) + timeout
        await until(lambda: pods.verdict() is ProbeVerdict.TIMEOUT, limit)
        assert pods.most_in_flight["pod"] == 1
        assert pods.told == [(pods.told[0][0], KEY), (pytest.approx(now(), abs=0.1), KEY)]
        pods.hanging.clear()
        await until(lambda: pods.verdict() is ProbeVerdict.SERVING, period + timeout)

    scenario(test)


def test_a_pod_that_hangs_for_long_sees_one_inference_at_a_time_and_no_flood() -> None:
    async def test(pods: Pods) -> None:
        pods.hanging.add("pod")
        pods.prober.watch(KEY, [target(period_seconds=5, timeout_seconds=20)])
        await asyncio.sleep(400)
        assert pods.most_in_flight["pod"] == 1
        assert 19 <= len(pods.asked["pod"]) <= 21

    scenario(test)


def test_hanging_models_of_one_tenant_do_not_delay_the_probes_of_another() -> None:
    async def test(pods: Pods) -> None:
        mine = Key("mine", "model")
        for number in range(300):
            uid = f"theirs-{number}"
            pods.hanging.add(uid)
            pods.prober.watch(Key("theirs", uid), [target(uid, period_seconds=5, timeout_seconds=20)])
        pods.prober.watch(mine, [target("mine", period_seconds=5)])
        await until(lambda: pods.verdict(mine) is ProbeVerdict.SERVING, 5)
        await asyncio.sleep(120)
        starts = pods.asked["mine"]
        assert max(after - before for before, after in itertools.pairwise(starts)) <= 6
        pods.erring.add("mine")
        await until(lambda: pods.verdict(mine) is ProbeVerdict.FAILED, 5 * 3 + 5)
        assert all(pods.most_in_flight[uid] <= 1 for uid in pods.asked)
        assert sum(pods.in_flight.values()) <= 16 * 16
        assert len(pods.asked) == 301, "they are all probed themselves"

    scenario(test)


def test_many_pods_are_probed_less_often_and_within_the_budget_and_a_suspect_one_as_its_spec_says() -> None:
    async def test(pods: Pods) -> None:
        keys = [Key("ns", f"model-{number}") for number in range(500)]
        for key in keys:
            pods.prober.watch(key, [target(key.name, period_seconds=15, timeout_seconds=15)])
        await until(lambda: all(pods.verdict(key) is ProbeVerdict.SERVING for key in keys), 120)
        await asyncio.sleep(200)
        before, began = pods.spent, now()
        await asyncio.sleep(600)
        assert (pods.spent - before) / (now() - began) * 60 <= 8
        period = pods.prober.effective_period_seconds(keys[0])
        assert period > 60
        pods.erring.add(keys[0].name)
        await until(lambda: pods.verdict(keys[0]) is ProbeVerdict.FAILED, period + 2 * 15 + 5)
        asked = pods.asked[keys[0].name]
        assert asked[-1] - asked[-3] <= 31

    scenario(test, cpu=0.02)


def test_periods_shrink_again_when_most_pods_are_gone() -> None:
    async def test(pods: Pods) -> None:
        keys = [Key("ns", f"model-{number}") for number in range(500)]
        for key in keys:
            pods.prober.watch(key, [target(key.name)])
        await asyncio.sleep(200)
        for key in keys[1:]:
            pods.prober.watch(key, [])
        await asyncio.sleep(8)
        asked = len(pods.asked[keys[0].name])
        await until(lambda: len(pods.asked[keys[0].name]) >= asked + 2, 22)

    scenario(test, cpu=0.02)


def test_a_verdict_that_no_probe_renews_becomes_stale_and_fresh_again_and_both_are_told() -> None:
    async def test(pods: Pods) -> None:
        pods.prober.watch(KEY, [target()])
        await until(lambda: pods.verdict() is ProbeVerdict.SERVING, 1)
        pods.stuck.add("pod")
        told = len(pods.told)
        took = await until(lambda: bool((found := pods.result()) and found.stale), 30)
        assert took >= 20, "two periods"
        assert len(pods.told) == told + 1
        pods.stuck.clear()
        for task in asyncio.all_tasks():
            if task.get_name() == "probe pod":
                task.cancel()
        await until(lambda: bool((found := pods.result()) and not found.stale), 1)
        assert len(pods.told) == told + 2
        assert pods.verdict() is ProbeVerdict.SERVING

    scenario(test)


def test_a_verdict_is_not_stale_because_the_periods_shrink() -> None:
    async def test(pods: Pods) -> None:
        others = [Key("ns", f"other-{number}") for number in range(600)]
        for key in others:
            pods.prober.watch(key, [target(key.name, period_seconds=5)])
        pods.prober.watch(KEY, [target(period_seconds=5)])
        await until(lambda: pods.prober.effective_period_seconds(KEY) > 12, 60)
        await asyncio.sleep(120)
        told = len(pods.told)
        for key in others:
            pods.prober.watch(key, [])
        await asyncio.sleep(60)
        assert pods.prober.effective_period_seconds(KEY) == 5
        assert pods.told[told:] == []

    scenario(test, cpu=0.005)


def test_pods_at_fault_never_look_stale_nor_like_a_prober_that_stands_still() -> None:
    async def test(pods: Pods) -> None:
        for number in range(40):
            pods.hanging.add(f"pod-{number}")
            hangs = target(f"pod-{number}", period_seconds=5, timeout_seconds=20)
            pods.prober.watch(Key("ns", f"pod-{number}"), [hangs])
        for _ in range(300):
            await asyncio.sleep(1)
            since = pods.prober.last_attempt_ended()
            assert since is None or now() - since < 5
            results = [pods.result(Key("ns", f"pod-{number}")) for number in range(40)]
            assert not any(result.stale for result in results if result)

    scenario(test)


def test_a_prober_whose_attempts_do_not_end_shows_and_one_without_pods_does_not() -> None:
    async def test(pods: Pods) -> None:
        assert pods.prober.last_attempt_ended() is None
        pods.stuck.add("pod")
        pods.prober.watch(KEY, [target()])
        await asyncio.sleep(60)
        since = pods.prober.last_attempt_ended()
        assert since is not None
        assert now() - since > 40
        pods.prober.watch(KEY, [])
        await asyncio.sleep(0.1)
        assert pods.prober.last_attempt_ended() is None

    scenario(test)


def test_whoever_cancels_all_tasks_does_not_end_the_probing() -> None:
    async def test(pods: Pods) -> None:
        pods.hanging.add("pod")
        pods.prober.watch(KEY, [target()])
        await asyncio.sleep(1)
        for _ in range(3):
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0.5)
        assert pods.verdict() is None, "an attempt that was cancelled proves nothing"
        await until(lambda: pods.verdict() is ProbeVerdict.TIMEOUT, 40)
        assert pods.most_in_flight["pod"] == 1

    scenario(test)


def test_an_attempt_on_a_pod_that_goes_away_is_ended() -> None:
    async def test(pods: Pods) -> None:
        pods.hanging.add("pod")
        pods.prober.watch(KEY, [target()])
        await asyncio.sleep(0.5)
        assert pods.in_flight["pod"] == 1
        pods.prober.watch(KEY, [])
        await asyncio.sleep(0.1)
        assert pods.in_flight["pod"] == 0
        asked = len(pods.asked["pod"])
        await asyncio.sleep(60)
        assert len(pods.asked["pod"]) == asked
        assert pods.prober.results(KEY) == {}

    scenario(test)


def test_a_pod_that_is_turned_away_is_asked_at_once_and_says_that_it_hangs() -> None:
    async def test(pods: Pods) -> None:
        pods.hanging.add("pod")
        pods.prober.watch(KEY, [target(timeout_seconds=10)])
        await asyncio.sleep(1)
        pods.hung.add("pod")
        pods.prober.watch(KEY, [target(timeout_seconds=10, ask_only=True)])
        await until(lambda: pods.verdict() is ProbeVerdict.HUNG, 1)
        assert pods.most_in_flight["pod"] <= 1
        pods.hung.clear()
        pods.hanging.clear()
        pods.prober.watch(KEY, [target()])
        await until(lambda: pods.verdict() is ProbeVerdict.SERVING, 1)

    scenario(test)


def test_content_is_checked_under_traffic_and_a_failed_pod_is_suspect() -> None:
    async def test(pods: Pods) -> None:
        pods.busy.add("pod")
        pods.prober.watch(KEY, [target(kind="generate", expect_contains="Paris")])
        await asyncio.sleep(1)
        assert pods.checks == [True]
        await asyncio.sleep(400)
        assert 8 <= pods.checks.count(True) <= 12, "one in about four periods"
        assert len(pods.checks) >= 40
        assert set(pods.suspects) == {False}
        pods.erring.add("pod")
        await until(lambda: pods.verdict() is ProbeVerdict.FAILED, 4 * 10 + 2 * 10 + 5)
        assert pods.suspects[-2:] == [True, True]

    scenario(test)


def test_pods_are_probed_as_long_as_they_are_watched() -> None:
    async def test(pods: Pods) -> None:
        pods.prober.watch(KEY, [target()])
        await until(lambda: pods.verdict() is ProbeVerdict.SERVING, 1)
        pods.prober.watch(KEY, [target()])
        assert len(pods.asked["pod"]) == 1
        await asyncio.sleep(100)
        assert 10 <= len(pods.asked["pod"]) <= 13
        pods.prober.watch(KEY, [])
        assert pods.prober.results(KEY) == {}

    scenario(test)


def test_a_bug_in_a_probe_counts_as_a_failure_and_probing_goes_on() -> None:
    async def main() -> None:
        asked = 0

        async def ask(target: ProbeTarget, *, embed: bool, suspect: bool, check: bool) -> Outcome:
            nonlocal asked
            asked += 1
            raise ZeroDivisionError

        prober = Prober(enqueue=lambda key: None, concurrency=2, ask=ask)
        prober.watch(KEY, [replace(TARGET, failure_threshold=1)])
        await until(lambda: asked >= 3, 40)
        assert prober.results(KEY)["pod"].verdict is ProbeVerdict.FAILED
        await prober.close()

    run_virtually(main())
