"""Probes every pod it is told of for ever and keeps the standing verdicts; only a change is told.

Timers of the event loop drive it, and no task of its own: nothing that cancels tasks can end it.
"""

import asyncio
import heapq
import itertools
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from vllm_operator.observed.state import ProbeResult, ProbeVerdict
from vllm_operator.observed.store import Key
from vllm_operator.observed.target import ProbeTarget
from vllm_operator.probe import report, schedule, triton
from vllm_operator.probe.asking import ProbeThread, limit_seconds, other_threads_cpu
from vllm_operator.probe.meter import Meter
from vllm_operator.probe.outcome import Outcome
from vllm_operator.probe.pod import PodProbe
from vllm_operator.probe.progress import Progress
from vllm_operator.probe.shares import Shares
from vllm_operator.telemetry import logs, metrics

_log = logs.get("probe")

#: How often periods, stale verdicts and gauges are looked at.
_SURVEY_SECONDS: Final = 5.0
#: A probe that takes longer waits for its pod and no longer for a CPU.
_WORK_SECONDS: Final = 1.0


class Ask(Protocol):
    """One probe of one pod."""

    def __call__(self, target: ProbeTarget, *, embed: bool, suspect: bool, check: bool) -> Awaitable[Outcome]:
        """`embed`: an earlier probe found that this model embeds. The others are as for `triton.probe`."""


class Prober:
    """At most one attempt in flight a pod; `enqueue` is called with the model of a pod whose verdict changed.

    `concurrency`: how many attempts may be at work at once. Attempts that wait for a pod are not at work.
    """

    def __init__(
        self,
        *,
        enqueue: Callable[[Key], None],
        concurrency: int,
        ask: Ask | None = None,
        cpu: Callable[[], float] = other_threads_cpu,
    ) -> None:
        self._enqueue = enqueue
        self._thread: ProbeThread | None = None
        if ask is None:
            self._thread = ProbeThread()
            ask = self._thread.ask
        self._ask = ask
        self._meter = Meter(cpu)
        self._firsts = schedule.FirstProbes()
        self._paces: Mapping[str, schedule.Pace] = {}
        self._shares: Shares[PodProbe] = Shares(concurrency)
        self._pods: dict[Key, dict[str, PodProbe]] = {}
        self._flying: set[PodProbe] = set()
        self._due: list[tuple[float, int, PodProbe]] = []
        self._numbers = itertools.count()
        self._progress = Progress()
        self._timer: asyncio.TimerHandle | None = None
        self._survey_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._surveyed = 0

    # What others ask of it

    def watch(self, key: Key, targets: Sequence[ProbeTarget]) -> None:
        """Probe exactly these pods of the model from now on; an attempt on any other of its pods is ended."""
        now = _now()
        pods = self._pods.setdefault(key, {})
        wanted = {target.pod_uid: target for target in targets}
        for uid in pods.keys() - wanted.keys():
            _drop(pods.pop(uid))
        for uid, target in wanted.items():
            if uid not in pods:
                pods[uid] = PodProbe(key, target, due=now, judged=now)
                self._plan(pods[uid], now)
            elif pods[uid].turn(target):
                self._start_over(pods[uid], now)
        if not pods:
            del self._pods[key]
        if len(self._pods) >= 2 * self._surveyed and not self._closed:
            self._survey()  # a new leader hears of thousands of models within a second
        self._dispatch()

    def results(self, key: Key) -> Mapping[str, ProbeResult]:
        """The standing verdicts by pod UID; a pod without one has not been judged yet."""
        pods = self._pods.get(key, {})
        return {uid: result for uid, probed in pods.items() if (result := probed.standing()) is not None}

    def effective_period_seconds(self, key: Key) -> float:
        """The longest time between two probes of a pod of this model, in seconds; 0 if it has none."""
        return max((self._period(probed) for probed in self._pods.get(key, {}).values()), default=0.0)

    def last_attempt_ended(self) -> float | None:
        """Progress: monotonic time since when an attempt has been owed and none has ended.

        That is when the last one ended, or, if that is later, when one should have started or ended. None
        while none is owed: nothing is due, or what is under way may still take its time. An attempt that
        ends is progress whatever it found, so pods at fault do not look like a prober that stands still.
        """
        ends = (
            probed.started + limit_seconds(probed.target)
            for probed in self._flying
            if probed.started is not None
        )
        heads = (probed.due for probed in self._shares.heads())
        dues = itertools.chain(heads, (entry[0] for entry in self._due[:1]))
        return self._progress.owed_since(_now(), under_way=ends, waiting=dues)

    async def close(self) -> None:
        """End all probes."""
        self._closed = True
        for timer in (self._timer, self._survey_timer):
            if timer is not None:
                timer.cancel()
        attempts = [probed.attempt for probed in self._flying if probed.attempt]
        for probed in self._every():
            _drop(probed)
        self._pods.clear()
        await asyncio.gather(*attempts, return_exceptions=True)
        if self._thread is not None:
            self._thread.close()
            self._thread = None

    # One pod's round: planned, due, started, ended, planned again

    def _plan(self, probed: PodProbe, due: float) -> None:
        probed.due = due
        heapq.heappush(self._due, (due, next(self._numbers), probed))

    def _dispatch(self) -> None:
        """Start what is due, as far as the shares allow, and come back when the next one is."""
        if self._closed:
            return
        now = _now()
        while self._due and self._due[0][0] <= now:
            due, _, probed = heapq.heappop(self._due)
            if not probed.gone and probed.due == due:
                self._shares.put(probed.key.namespace, probed, first=probed.first)
        while True:
            may_start_first = self._firsts.ready_at(now) <= now
            probed_next = self._shares.take(firsts=may_start_first)
            if probed_next is None:
                break
            self._start(probed_next, now)
        wake = self._due[0][0] if self._due else None
        if self._shares.first_waiting and not may_start_first:
            wake = min(self._firsts.ready_at(now), wake if wake is not None else float("inf"))
        self._wake_at(wake)

    def _wake_at(self, when: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._dispatch) if when is not None else None

    def _start(self, probed: PodProbe, now: float) -> None:
        namespace = probed.key.namespace
        if probed.gone:
            self._shares.release(namespace, waited=False)
            return
        if probed.first:
            self._firsts.start(now, cpu_seconds_a_probe=self._meter.cpu_seconds_a_probe)
        metrics.PROBE_LATENESS.observe(now - probed.due)
        loop = asyncio.get_running_loop()
        probed.started = now
        probed.attempt = loop.create_task(self._ask_once(probed, now), name=f"probe {probed.target.pod_name}")
        self._flying.add(probed)
        probed.at_work = loop.call_later(_WORK_SECONDS, self._give_way, probed)
        probed.attempt.add_done_callback(lambda task: self._ended(probed, task))

    def _give_way(self, probed: PodProbe) -> None:
        probed.at_work = None
        self._shares.wait(probed.key.namespace)
        self._dispatch()

    async def _ask_once(self, probed: PodProbe, now: float) -> Outcome:
        try:
            return await self._ask(
                probed.target,
                embed=probed.embeds,
                suspect=bool(probed.failures),
                check=probed.must_infer(now, self._period(probed)),
            )
        except Exception:
            # A bug here must not silence the pod's probes for ever, nor pass for a healthy model.
            _log.exception("bug in the prober, please report it", pod=probed.target.pod_name)
            return Outcome(ProbeVerdict.FAILED, "the probe itself failed; see the operator's log")

    def _ended(self, probed: PodProbe, task: asyncio.Task[Outcome]) -> None:
        now, started = _now(), probed.started if probed.started is not None else _now()
        self._shares.release(probed.key.namespace, waited=probed.at_work is None)
        if probed.at_work is not None:
            probed.at_work.cancel()
        self._flying.discard(probed)
        probed.started = probed.attempt = probed.at_work = None
        if not task.cancelled():
            self._progress.ended(now)
            metrics.PROBE_CPU.inc(self._meter.ended())
            metrics.PROBE_SECONDS.observe(now - started)
        if probed.gone or self._closed:
            pass
        elif task.cancelled():  # turned to another question, or by somebody else: it has proved nothing
            self._plan(probed, now)
        else:
            self._judge(probed, task.result(), started, now)
        self._dispatch()

    def _judge(self, probed: PodProbe, outcome: Outcome, started: float, now: float) -> None:
        metrics.PROBES.labels(outcome.verdict.value if outcome.verdict else "Asked").inc()
        was_first, probed.first = probed.first, False
        probed.judged = now
        if outcome.verdict is ProbeVerdict.SERVING:
            probed.embeds = outcome.embeds
        if outcome.inferred:
            probed.proved = started
        changed = probed.judge(outcome)
        was_stale, probed.stale = probed.stale, False
        probed.period = period = self._period(probed)
        if outcome.verdict is ProbeVerdict.SERVING:
            due = schedule.after_success(started, now, period, outcome.success_age, first=was_first)
        else:
            due = schedule.after_failure(started, now, period)
        self._plan(probed, due)
        if changed:
            verdict = probed.result.verdict.value if probed.result else ""
            _log.info("verdict", model=str(probed.key), pod=probed.target.pod_name,
                      verdict=verdict, message=outcome.message)  # fmt: skip
        if changed or was_stale:
            self._enqueue(probed.key)

    def _start_over(self, probed: PodProbe, now: float) -> None:
        """Ask at once, with what is now the question."""
        if probed.attempt is not None:
            probed.attempt.cancel()  # planned anew when it has ended
        elif probed.due > now:
            self._plan(probed, now)

    # All pods

    def _survey(self) -> None:
        """Set the periods, find verdicts that have become stale, publish both."""
        if self._survey_timer is not None:
            self._survey_timer.cancel()
        self._survey_timer = asyncio.get_running_loop().call_later(_SURVEY_SECONDS, self._survey)
        self._surveyed = max(len(self._pods), 1)
        demands: dict[str, schedule.Demand] = defaultdict(schedule.Demand)
        for probed in self._every():
            demand, rate = demands[probed.key.namespace], 1 / probed.target.period_seconds
            if probed.urgent:
                demand.urgent += rate
            else:
                demand.routine += rate
        self._paces = schedule.paces(demands, cpu_seconds_a_probe=self._meter.cpu_seconds_a_probe)
        self._check_ages(_now())
        report.publish(list(self._every()), self._paces)
        self._dispatch()

    def _check_ages(self, now: float) -> None:
        for probed in self._every():
            period, deadline = self._period(probed), triton.deadline_seconds(probed.target)
            if probed.started is None and probed.due > max(probed.judged + period, now):
                self._plan(probed, max(probed.judged + period * schedule.jitter(), now))  # it was stretched
            old = now - probed.judged > schedule.stale_after(max(period, probed.period), deadline)
            if old and probed.result is not None and not probed.stale:
                probed.stale = True
                _log.warning("no probe has ended in time", model=str(probed.key), pod=probed.target.pod_name)
                self._enqueue(probed.key)

    def _every(self) -> Iterator[PodProbe]:
        return (probed for pods in self._pods.values() for probed in pods.values())

    def _period(self, probed: PodProbe) -> float:
        """The effective period."""
        pace = self._paces.get(probed.key.namespace) or schedule.Pace()
        return probed.target.period_seconds * (pace.urgent if probed.urgent else pace.routine)


def _drop(probed: PodProbe) -> None:
    probed.gone = True
    if probed.attempt is not None:
        probed.attempt.cancel()


def _now() -> float:
    """The event loop's clock, which is the monotonic one."""
    return asyncio.get_running_loop().time()
