"""Probes every ready pod for ever and keeps the standing verdicts; only a changed verdict is told."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from vllm_operator.observed.state import BackendInfo, ProbeResult, ProbeVerdict
from vllm_operator.observed.store import Key
from vllm_operator.observed.target import ProbeTarget
from vllm_operator.probe import triton
from vllm_operator.telemetry import logs, metrics

_log = logs.get("probe")

_LEAST_PAUSE_SECONDS = 0.5
#: They wait more than they work.
_SUSPECT_SLOTS = 4


class Ask(Protocol):
    """One probe of one pod."""

    def __call__(self, target: ProbeTarget, *, embed: bool, suspect: bool) -> Awaitable[triton.Outcome]:
        """`embed`: an earlier probe found that this model embeds. `suspect`: the last probe failed."""


@dataclass(slots=True)
class PodProbe:
    """One pod: its standing verdict, and the failures since its last success."""

    key: Key
    target: ProbeTarget
    result: ProbeResult | None = None
    failures: list[ProbeVerdict] = field(default_factory=list)
    embeds: bool = False
    task: asyncio.Task[None] | None = None

    def judge(self, outcome: triton.Outcome) -> bool:
        """Apply the hysteresis; True when the standing verdict, or what the backend says of itself, changed.

        One success is enough to be serving. To fail takes as many failures in a row as the threshold; which
        failure it is then called follows the latest.
        """
        before = self.result
        if outcome.verdict is ProbeVerdict.SERVING:
            self.failures.clear()
        else:
            self.failures.append(outcome.verdict)
            del self.failures[: -self.target.failure_threshold]
            if len(self.failures) < self.target.failure_threshold:
                return False
            if before and before.verdict is not ProbeVerdict.SERVING and len(set(self.failures)) > 1:
                return False  # failing either way: rename it only when it has settled on another kind
        backend = outcome.backend or (before.backend if before else BackendInfo())
        if before and (before.verdict, before.backend) == (outcome.verdict, backend):
            return False
        unchanged = before is not None and before.verdict is outcome.verdict
        self.result = ProbeResult(
            pod_uid=self.target.pod_uid,
            verdict=outcome.verdict,
            message=outcome.message,
            at=before.at if before and unchanged else datetime.now(UTC),
            backend=backend,
        )
        return True

    def due_after_success(self, started: float, outcome: triton.Outcome) -> float:
        """One period after the last proven success, whoever's request that was."""
        return started + self.target.period_seconds * _jitter() - outcome.success_age

    def due_without_success(self, started: float) -> float:
        """So soon that the threshold of deadlines is over within period x threshold of the last success.

        Where the deadline is as long as the period, the next probe is sent while the last one still waits.
        """
        target = self.target
        more = max(target.failure_threshold - 1, 1)
        interval = target.period_seconds - triton.deadline_seconds(target) / more
        return started + max(interval, _LEAST_PAUSE_SECONDS) * _jitter()


@dataclass(slots=True)
class _Attempt:
    """A probe on its way."""

    task: asyncio.Task[triton.Outcome]
    started: float


class Prober:
    """One task per pod; `enqueue` is called with the model of a pod whose verdict changed."""

    def __init__(self, *, enqueue: Callable[[Key], None], concurrency: int, ask: Ask = triton.probe) -> None:
        self._enqueue = enqueue
        self._ask = ask
        self._slots = asyncio.Semaphore(concurrency)
        self._suspect_slots = asyncio.Semaphore(_SUSPECT_SLOTS * concurrency)
        """Pods that hang keep slots for whole deadlines; they must not keep those of the others."""
        self._pods: dict[Key, dict[str, PodProbe]] = {}
        self._attempt_ended = time.monotonic()

    def last_attempt_ended(self) -> float | None:
        """Progress: monotonic time since when an attempt is owed and none has ended; None while none is owed.

        An attempt that ends is progress whatever it found: pods at fault are no fault of the prober.
        """
        targets = [probed.target for pods in self._pods.values() for probed in pods.values()]
        now = time.monotonic()
        if not targets:
            self._attempt_ended = now  # the first one is owed from when there is something to ask
            return None
        owed = self._attempt_ended + min(target.period_seconds + target.timeout_seconds for target in targets)
        return owed if owed < now else None

    def watch(self, key: Key, targets: Sequence[ProbeTarget]) -> None:
        """Probe exactly these pods of the model from now on."""
        pods = self._pods.setdefault(key, {})
        wanted = {target.pod_uid: target for target in targets}
        for uid in pods.keys() - wanted.keys():
            _stop(pods.pop(uid))
        for uid, target in wanted.items():
            if uid in pods:
                pods[uid].target = target
            else:
                probed = pods[uid] = PodProbe(key, target)
                probed.task = asyncio.create_task(
                    self._probe_for_ever(probed), name=f"probe {target.pod_name}"
                )
        if not pods:
            del self._pods[key]

    def results(self, key: Key) -> Mapping[str, ProbeResult]:
        """The standing verdicts by pod UID; a pod without one has not been judged yet."""
        pods = self._pods.get(key, {})
        return {uid: probed.result for uid, probed in pods.items() if probed.result is not None}

    async def close(self) -> None:
        """End all probes."""
        tasks = [probed.task for pods in self._pods.values() for probed in pods.values() if probed.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pods.clear()

    async def _probe_for_ever(self, probed: PodProbe) -> None:
        attempts: list[_Attempt] = []
        due = time.monotonic()
        try:
            while True:
                if time.monotonic() >= due:
                    attempts.append(await self._start(probed, suspect=bool(attempts or probed.failures)))
                    due = probed.due_without_success(attempts[-1].started)
                await _first_of(attempts, max(due - time.monotonic(), 0))
                for attempt in [attempt for attempt in attempts if attempt.task.done()]:
                    attempts.remove(attempt)
                    outcome = attempt.task.result()
                    self._judge(probed, outcome)
                    if outcome.verdict is ProbeVerdict.SERVING:
                        earliest = time.monotonic() + _LEAST_PAUSE_SECONDS
                        due = max(probed.due_after_success(attempt.started, outcome), earliest)
        finally:
            for attempt in attempts:
                attempt.task.cancel()

    async def _start(self, probed: PodProbe, *, suspect: bool) -> _Attempt:
        slots = self._suspect_slots if suspect else self._slots
        await slots.acquire()
        started = time.monotonic()
        name = f"attempt {probed.target.pod_name}"
        task = asyncio.create_task(self._ask_once(probed, suspect=suspect), name=name)
        task.add_done_callback(lambda _: slots.release())
        return _Attempt(task, started)

    def _judge(self, probed: PodProbe, outcome: triton.Outcome) -> None:
        metrics.PROBES.labels(outcome.verdict.value).inc()
        probed.embeds = outcome.embeds
        if probed.judge(outcome):
            _log.info("verdict", model=str(probed.key), pod=probed.target.pod_name,
                      verdict=outcome.verdict.value, message=outcome.message)  # fmt: skip
            self._enqueue(probed.key)

    async def _ask_once(self, probed: PodProbe, *, suspect: bool) -> triton.Outcome:
        started = time.monotonic()
        try:
            return await self._ask(probed.target, embed=probed.embeds, suspect=suspect)
        except Exception:
            # A bug here must not silence the pod's probes for ever, nor pass for a healthy model.
            _log.exception("bug in the prober, please report it", pod=probed.target.pod_name)
            return triton.Outcome(ProbeVerdict.FAILED, "the probe itself failed; see the operator's log")
        finally:
            self._attempt_ended = time.monotonic()
            metrics.PROBE_SECONDS.observe(time.monotonic() - started)


async def _first_of(attempts: Sequence[_Attempt], seconds: float) -> None:
    """Return when one of the attempts has ended, at the latest after some seconds."""
    if attempts:
        tasks = [attempt.task for attempt in attempts]
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    else:
        await asyncio.sleep(seconds)


def _jitter() -> float:
    """Early rather than late: a period is a promise, and the status still has to follow the verdict."""
    return random.uniform(0.85, 0.95)  # noqa: S311 - spreads load


def _stop(probed: PodProbe) -> None:
    if probed.task is not None:
        probed.task.cancel()
