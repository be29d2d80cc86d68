"""The measured cost of a probe."""

import pytest

from vllm_operator.probe.meter import Meter


def test_the_mean_follows_what_is_measured_and_every_second_counts_once() -> None:
    clock = 7.0
    meter = Meter(lambda: clock)
    total = 0.0
    for number in range(1000):
        clock += 0.006 if number % 2 else 0.0  # two that overlap: one reading holds the work of both
        total += meter.ended()
    assert total == pytest.approx(3.0)
    assert meter.cpu_seconds_a_probe == pytest.approx(0.003, rel=0.1)


def test_a_clock_that_stands_or_goes_back_gives_a_cost_to_divide_by() -> None:
    readings = iter(range(10_000, 0, -1))
    meter = Meter(lambda: next(readings))
    assert {meter.ended() for _ in range(2000)} == {0.0}
    assert meter.cpu_seconds_a_probe > 0
