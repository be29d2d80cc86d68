"""The arithmetic of periods: tables."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import pytest

from vllm_operator.probe import schedule
from vllm_operator.probe.schedule import Demand, FirstProbes, Pace, paces

COST = 0.005
#: What the budget is worth in probes a second.
RATE = schedule.BUDGET_CPU_PER_SECOND / COST


@dataclass(frozen=True)
class Times:
    period_seconds: float
    failure_threshold: int = 3


def cpu_a_minute(demands: dict[str, Demand], found: dict[str, Pace]) -> float:
    rates = (
        demand.urgent / found[namespace].urgent + demand.routine / found[namespace].routine
        for namespace, demand in demands.items()
    )
    return sum(rates) * COST * 60 / 0.8  # at worst every probe is as early as may be


@pytest.mark.parametrize("pods", [1, 10, 250])
def test_a_few_pods_keep_the_periods_of_their_specs(pods: int) -> None:
    assert paces({"ns": Demand(routine=pods / 15)}, cpu_seconds_a_probe=COST) == {"ns": Pace()}


@pytest.mark.parametrize(
    "demands",
    [
        {"ns": Demand(routine=5000 / 15)},
        {"ns": Demand(urgent=5000 / 15)},
        {"ns": Demand(urgent=2500 / 5, routine=2500 / 15)},
        {f"ns-{n}": Demand(routine=100 / 15) for n in range(50)},
        {"big": Demand(urgent=4000 / 5, routine=900 / 5), "small": Demand(routine=1 / 15)},
    ],
)
def test_all_probing_stays_within_its_budget(demands: dict[str, Demand]) -> None:
    assert cpu_a_minute(demands, paces(demands, cpu_seconds_a_probe=COST)) <= 8


def test_a_tenant_with_thousands_of_pods_stretches_its_own_periods() -> None:
    demands = {"big": Demand(routine=4000 / 5), "small": Demand(urgent=1 / 5, routine=20 / 5)}
    found = paces(demands, cpu_seconds_a_probe=COST)
    assert found["small"] == Pace()
    assert found["big"].routine > 30


def test_new_and_suspect_pods_keep_their_period_while_the_others_stretch() -> None:
    (pace,) = paces({"ns": Demand(urgent=100 / 15, routine=4900 / 15)}, cpu_seconds_a_probe=COST).values()
    assert pace.urgent == 1
    assert pace.routine > 10


def test_a_cheaper_probe_stretches_less() -> None:
    demands = {"ns": Demand(routine=2000 / 15)}
    dear = paces(demands, cpu_seconds_a_probe=0.005)["ns"].routine
    cheap = paces(demands, cpu_seconds_a_probe=0.0025)["ns"].routine
    assert dear == pytest.approx(2 * cheap)


@pytest.mark.parametrize(
    ("period", "deadline", "threshold", "routine", "expected"),
    [
        (15, 15, 3, 15, 60),
        (5, 5, 3, 5, 20),
        (10, 5, 1, 10, 15),
        (5, 20, 3, 5, 65),  # a deadline above the period: one attempt after the other
        (15, 15, 3, 160, 205),  # stretched: only the first period is
    ],
)
def test_time_to_detect(period: int, deadline: int, threshold: int, routine: int, expected: int) -> None:
    target = Times(period, threshold)
    found = schedule.seconds_to_detect(target, deadline=deadline, routine=routine, urgent=period)
    assert found == expected


@pytest.mark.parametrize(("period", "deadline"), [(5, 5), (15, 15), (15, 5), (5, 20), (160, 15)])
def test_a_probe_that_takes_its_whole_deadline_leaves_no_stale_verdict(period: int, deadline: int) -> None:
    latest_start = schedule.after_success(0, 0, period, 0)
    assert latest_start + deadline + 1 <= schedule.stale_after(period, deadline)


def test_the_next_probe_is_due_one_period_after_the_success_that_the_backend_reported() -> None:
    assert 4 <= schedule.after_success(0, 1, 10, 4.0) <= 5
    assert 8 <= schedule.after_success(0, 1, 10, 0) <= 9
    assert schedule.after_success(0, 9.9, 10, 4.0) == 10.4


def test_a_period_that_passed_meanwhile_is_skipped() -> None:
    assert 8 <= schedule.after_failure(0, 1, 10) <= 9
    assert schedule.after_failure(0, 35, 10) == 35.25, "as soon as the pod has let the last one go"


def test_the_first_probes_of_thousands_of_pods_cost_a_minutes_budget_at_once_and_then_the_budget() -> None:
    firsts = FirstProbes()
    at_once = 0
    while firsts.ready_at(100) <= 100:
        firsts.start(100, cpu_seconds_a_probe=COST)
        at_once += 1
    assert at_once == pytest.approx(60 * RATE, rel=0.01)
    now = firsts.ready_at(100)
    for _ in range(1000):
        firsts.start(now, cpu_seconds_a_probe=COST)
        now = firsts.ready_at(now)
    assert now - 100 == pytest.approx(1000 / RATE, rel=0.01)
    assert firsts.ready_at(10_000) == 10_000


def rows(document: str, header: str) -> list[list[float]]:
    """The numbers of the table under a heading row that begins like `header`."""
    lines = (Path(__file__).parents[3] / "docs" / document).read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(header))
    table = itertools.takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    return [[float(cell.split()[0]) for cell in line.strip("|").split("|")] for line in table]


def test_the_documented_times_for_many_pods_are_those_of_this_code() -> None:
    found = rows("operations.md", "| pods | effective period")
    assert len(found) >= 5
    for pods, period, detection, stale in found:
        pace = paces({"ns": Demand(routine=pods / 15)}, cpu_seconds_a_probe=0.004)["ns"].routine
        longest = schedule.seconds_to_detect(Times(15, 3), deadline=15, routine=15 * pace, urgent=15)
        assert (period, detection) == (round(15 * pace), round(longest))
        assert stale == round(schedule.stale_after(15 * pace, 15))


def test_the_documented_times_to_detect_are_those_of_this_code() -> None:
    found = rows("conditions.md", "| `periodSeconds` | `timeoutSeconds`")
    assert len(found) >= 4
    for period, timeout, threshold, hang, error in found:
        target = Times(period, int(threshold))
        assert hang == schedule.seconds_to_detect(target, deadline=timeout, routine=period, urgent=period)
        assert error == schedule.seconds_to_detect(target, deadline=0, routine=period, urgent=period)
