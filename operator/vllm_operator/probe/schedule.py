"""When a pod is probed next, and how far periods stretch so that all probing stays within its share of CPU.

Pure: times are seconds on the caller's clock, rates are probes a second.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

#: What all probing together may take at rest: 8 CPU seconds a minute.
BUDGET_CPU_PER_SECOND: Final = 8 / 60
#: Under traffic, an answer that must contain a text is checked every so many effective periods.
CONTENT_PERIODS: Final = 4
LEAST_PAUSE_SECONDS: Final = 0.5
#: For the pod to notice that an inference is no longer wanted, before it gets the next one.
_PAUSE_AFTER_FAILURE_SECONDS: Final = 0.25
#: Early rather than late: a period is a promise, and the status still has to follow the verdict.
_JITTER: Final = (0.8, 0.9)
#: Some room: to catch up with what has become late, and for the main thread's part, which is not measured
#: (0.5 ms a probe beside the 4 ms that are).
_PLANNED: Final = 0.85 * sum(_JITTER) / len(_JITTER)
#: After the first success: so that pods found together are not probed together for ever.
_FIRST_JITTER: Final = (0.1, 0.9)
#: The part of a namespace's share that new and suspect pods may take before their periods stretch, too.
_URGENT_PART: Final = 0.5
#: So many seconds of the budget may be spent at once on pods never probed, as after a change of the leader.
_BURST_SECONDS: Final = 60.0


class Times(Protocol):
    """The part of a probe's settings that is about time."""

    @property
    def period_seconds(self) -> float: ...  # noqa: D102
    @property
    def failure_threshold(self) -> int: ...  # noqa: D102


@dataclass(slots=True)
class Demand:
    """Probes a second that a namespace's pods ask for at the periods of their specs.

    `urgent` are those of new and suspect pods, `routine` those of all others.
    """

    urgent: float = 0.0
    routine: float = 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """By which factors a namespace's periods are stretched, each at least 1."""

    urgent: float = 1.0
    routine: float = 1.0


def paces(demands: Mapping[str, Demand], *, cpu_seconds_a_probe: float) -> dict[str, Pace]:
    """Divide the budget among the namespaces, max-min fair, and each namespace's share among its pods.

    Who asks for less than an equal share gets it in full; the others divide what is left. So a tenant with
    thousands of pods stretches its own periods first.
    """
    left = BUDGET_CPU_PER_SECOND / cpu_seconds_a_probe * _PLANNED
    found: dict[str, Pace] = {}
    by_size = sorted(demands.items(), key=lambda item: item[1].urgent + item[1].routine)
    for position, (namespace, demand) in enumerate(by_size):
        share = left / (len(by_size) - position)
        left -= min(share, demand.urgent + demand.routine)
        found[namespace] = _pace(demand, share)
    return found


def _pace(demand: Demand, share: float) -> Pace:
    if demand.urgent + demand.routine <= share:
        return Pace()
    if not demand.routine:
        return Pace(urgent=demand.urgent / share)
    urgent = min(demand.urgent, share * _URGENT_PART)
    return Pace(
        urgent=max(demand.urgent / urgent, 1.0) if urgent else 1.0,
        routine=max(demand.routine / (share - urgent), 1.0),
    )


def after_success(
    started: float, ended: float, period: float, success_age: float, *, first: bool = False
) -> float:
    """When the next probe is due: one period after the last proven success, whoever's request that was.

    After the `first` probe of a pod it is due anywhere in the period.
    """
    part = random.uniform(*_FIRST_JITTER) if first else jitter()  # noqa: S311 - no secret
    return max(started - success_age + period * part, ended + LEAST_PAUSE_SECONDS)


def after_failure(started: float, ended: float, period: float) -> float:
    """When the next probe is due: a period that passed while the last one waited is skipped."""
    return max(started + max(period * jitter(), LEAST_PAUSE_SECONDS), ended + _PAUSE_AFTER_FAILURE_SECONDS)


def seconds_to_detect(target: Times, *, deadline: float, routine: float, urgent: float) -> float:
    """Longest time from a fault to the verdict. `routine` and `urgent`: the effective periods, `deadline`: of
    one probe.

    The first probe that fails begins within one period of the last success; then the period is the urgent
    one, or the deadline where that is longer, since a pod has one probe at a time.
    """
    return routine + (target.failure_threshold - 1) * max(urgent, deadline) + deadline


def stale_after(period: float, deadline: float) -> float:
    """How long a verdict stands without another probe: two effective periods.

    Where a probe may take longer than the period, its deadline is the period that counts.
    """
    return 2 * max(period, deadline) + 2 * LEAST_PAUSE_SECONDS


def jitter() -> float:
    """Spreads the probes of pods that became ready together."""
    return random.uniform(*_JITTER)  # noqa: S311 - no secret


class FirstProbes:
    """Paces first probes: a new leader finds thousands of pods due at once.

    A burst worth a minute's budget starts at once, the others follow at the rate of the budget.
    """

    def __init__(self) -> None:
        self._paid_until = float("-inf")

    def ready_at(self, now: float) -> float:
        """When the next first probe may start."""
        return max(now, self._paid_until - _BURST_SECONDS)

    def start(self, now: float, *, cpu_seconds_a_probe: float) -> None:
        """Account for one that starts now."""
        self._paid_until = max(self._paid_until, now) + cpu_seconds_a_probe / BUDGET_CPU_PER_SECOND
