"""The order of an end, without a process and without waiting."""

import pytest

from triton_runtime.drain import (
    DEAD_ENGINE_SECONDS,
    DRAINED_SECONDS,
    KILL_MARGIN_SECONDS,
    TRITON_MARGIN_SECONDS,
    Action,
    Drain,
    Stage,
)


@pytest.fixture
def drain() -> Drain:
    return Drain(delay=10, exit_timeout=60)


def test_first_endpoints_then_requests_then_kill(drain: Drain) -> None:
    assert drain.requested(100, loading=False) is Action.NOTHING
    assert drain.tick(109.9) is Action.NOTHING
    assert drain.tick(110) is Action.TERMINATE
    assert drain.tick(110 + 60 + KILL_MARGIN_SECONDS - 0.1) is Action.NOTHING
    assert drain.tick(110 + 60 + KILL_MARGIN_SECONDS) is Action.KILL
    assert drain.tick(1e9) is Action.NOTHING


def test_the_whole_fits_into_the_grace_period() -> None:
    assert TRITON_MARGIN_SECONDS < KILL_MARGIN_SECONDS < 15


def test_without_delay_the_server_is_told_at_once() -> None:
    assert Drain(delay=0, exit_timeout=60).requested(0, loading=False) is Action.TERMINATE


def test_each_further_request_skips_a_wait(drain: Drain) -> None:
    assert drain.requested(0, loading=False) is Action.NOTHING
    assert drain.requested(1, loading=False) is Action.TERMINATE
    assert drain.requested(2, loading=False) is Action.KILL
    assert drain.stage is Stage.KILLED


def test_loading_is_killed(drain: Drain) -> None:
    assert drain.requested(0, loading=True) is Action.KILL


def test_dead_engine_needs_no_delay(drain: Drain) -> None:
    assert drain.engine_died(0) is Action.TERMINATE
    assert drain.tick(DEAD_ENGINE_SECONDS) is Action.KILL


def test_engine_that_dies_while_draining_shortens_it(drain: Drain) -> None:
    drain.requested(0, loading=False)
    assert drain.engine_died(1) is Action.TERMINATE
    later = Drain(delay=0, exit_timeout=60)
    later.requested(0, loading=False)
    assert later.engine_died(1) is Action.NOTHING
    assert later.tick(1 + DEAD_ENGINE_SECONDS) is Action.KILL


def test_drained_leaves_only_idle_connections(drain: Drain) -> None:
    assert drain.drained(0) is Action.NOTHING
    assert drain.tick(1e6) is Action.NOTHING, "nobody has asked for an end"
    drain.requested(0, loading=False)
    drain.tick(10)
    drain.drained(11)
    assert drain.tick(11 + DRAINED_SECONDS) is Action.KILL


def test_wait_ends_at_the_deadline(drain: Drain) -> None:
    assert drain.wait(0, 0.5) == 0.5
    drain.requested(0, loading=False)
    assert drain.wait(9.8, 0.5) == pytest.approx(0.2)
    assert drain.wait(11, 0.5) == 0
