"""How the front ends of one engine keep in touch: real sockets, both sides in this process."""

import json
import queue
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vllm_triton import frontends
from vllm_triton.errors import ModelInvalid
from vllm_triton.frontends import Follower, Leader, open_seat

Open = Callable[..., Any]
SECONDS = 10


@pytest.fixture
def seat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    monkeypatch.setenv("TRITON_VLLM_ENGINE_STATE_FILE", str(tmp_path / "state"))
    name, opened = uuid.uuid4().hex, []

    def take(index: int, count: int = 2) -> Any:
        opened.append(open_seat(name, "1", "m_0", index, count))
        return opened[-1]

    yield take
    for front_end in opened:
        front_end.close()


def state(tmp_path: Path) -> Any:
    return json.loads((tmp_path / "state").read_text())


class Calls:
    """Called from other threads; `next` waits for a call and returns its arguments."""

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[Any, ...]] = queue.Queue()

    def __call__(self, *arguments: Any) -> None:
        self._queue.put(arguments)

    def next(self) -> tuple[Any, ...]:
        return self._queue.get(timeout=SECONDS)


def ignore(*_: Any) -> None:
    pass


def loaded(seat: Open) -> tuple[Leader, Follower]:
    leader, follower = seat(0), seat(1)
    leader.engine_is_up()
    follower.wait_for_engine()
    return leader, follower


def test_a_lone_front_end_needs_no_directory_and_reports_by_itself(seat: Open, tmp_path: Path) -> None:
    alone = seat(0, 1)
    assert alone.seat.directory == ""
    alone.report_drained()
    assert state(tmp_path) == {"state": "drained"}
    alone.report_death("gone")
    assert state(tmp_path) == {"state": "dead", "cause": "gone"}


def test_the_others_learn_where_the_engine_is_and_wait_for_it(seat: Open) -> None:
    leader, follower = seat(0), seat(1)
    assert follower.seat.directory == leader.seat.directory
    assert follower.seat.input_address(1) != follower.seat.input_address(0)
    up = Calls()
    threading.Thread(target=lambda: up(follower.wait_for_engine()), daemon=True).start()
    leader.publishing = True
    leader.engine_is_up()
    up.next()
    assert follower.publishing


def test_one_that_comes_late_is_told_the_same(seat: Open) -> None:
    leader = seat(0)
    leader.engine_is_up()
    seat(1).wait_for_engine()
    assert Path(leader.seat.directory).is_dir()


def test_why_the_leader_failed_is_why_the_others_fail(seat: Open) -> None:
    leader, follower = seat(0), seat(1)
    leader.failed("no such model")
    with pytest.raises(ModelInvalid, match="no such model"):
        follower.wait_for_engine()
    assert not Path(leader.seat.directory).exists()


def test_an_engine_that_died_before_a_follower_came_fails_it(seat: Open) -> None:
    leader = seat(0)
    leader.engine_is_up()
    leader.engine_died("exit code -9")
    with pytest.raises(ModelInvalid, match="exit code -9"):
        seat(1).wait_for_engine()


def test_a_death_is_told_to_who_watches(seat: Open) -> None:
    leader, follower = loaded(seat)
    lost = Calls()
    follower.watch(lost, ignore)
    leader.engine_died("exit code -9")
    assert lost.next() == ("exit code -9",)


def test_a_death_is_told_to_who_watches_later() -> None:
    outcome, lost = frontends._Outcome(), Calls()
    outcome.lose("exit code -9")
    outcome.watch(lost)
    assert lost.next() == ("exit code -9",)


def test_a_front_end_that_lost_the_engine_alone_tells_the_leader(seat: Open) -> None:
    leader, follower = loaded(seat)
    lost = Calls()
    leader.watch(lost, ignore)
    follower.engine_died("engine stopped answering")
    assert lost.next() == ("engine stopped answering",)


def test_the_death_is_reported_when_all_have_answered(seat: Open, tmp_path: Path) -> None:
    leader, follower = loaded(seat)
    reporting = threading.Thread(target=leader.report_death, args=("gone",), daemon=True)
    reporting.start()
    assert not (tmp_path / "state").exists()
    follower.report_death("gone")
    reporting.join(frontends._ANSWER_SECONDS - 1)
    assert state(tmp_path) == {"state": "dead", "cause": "gone"}


def test_drained_is_reported_when_all_are(seat: Open, tmp_path: Path) -> None:
    leader, follower = loaded(seat)
    told = Calls()
    leader.subscribe("after", told)
    leader.report_drained()
    assert not (tmp_path / "state").exists()
    follower.report_drained()
    follower.tell("after", 1)
    told.next()
    assert state(tmp_path) == {"state": "drained"}


def test_what_front_ends_tell_carries_their_number(seat: Open) -> None:
    leader, follower = loaded(seat)
    told = Calls()
    leader.subscribe("subject", told)
    leader.tell("subject", "mine")
    follower.tell("subject", {"theirs": [1]})
    assert told.next() == (0, "mine")
    assert told.next() == (1, {"theirs": [1]})


def test_the_end_of_one_is_noticed_by_the_other(seat: Open) -> None:
    leader, follower = loaded(seat)
    lost = Calls()
    leader.watch(lost, ignore)
    follower._connection.close()
    assert lost.next() == ("the model's instance 1 ended",)


def test_the_end_of_the_leader_is_noticed(seat: Open) -> None:
    leader, follower = loaded(seat)
    lost = Calls()
    follower.watch(lost, ignore)
    leader._others[1].close()
    assert lost.next() == ("the model's first instance ended",)


def test_who_leaves_in_order_is_not_missed(seat: Open) -> None:
    leader, follower = loaded(seat)
    lost = Calls()
    leader.watch(lost, ignore)
    follower.close()
    with leader._progress:
        assert leader._progress.wait_for(lambda: leader._answered == {1}, SECONDS)
    assert lost._queue.empty()


def test_a_follower_that_does_not_load_is_no_death_of_the_engine(seat: Open) -> None:
    leader, follower = loaded(seat)
    lost = Calls()
    leader.watch(lost, ignore)
    follower.failed("its own reason")
    with leader._progress:
        assert leader._progress.wait_for(lambda: leader._answered == {1}, SECONDS)
    assert lost._queue.empty()


def test_the_others_end_their_requests_when_the_engine_is_stopped(seat: Open) -> None:
    leader, follower = loaded(seat)
    lost, ending = Calls(), Calls()
    follower.watch(lost, ending)
    leader.stopping()
    ending.next()
    leader._others[1].close()
    assert lost._queue.empty()


def test_the_name_is_free_for_the_next_load_and_taken_before(seat: Open) -> None:
    first = seat(0)
    with pytest.raises(ModelInvalid, match="cannot be waited for"):
        seat(0)
    seat(1)
    second = _eventually_leads(seat)
    assert second.seat.directory != first.seat.directory
    assert seat(1).seat.directory == second.seat.directory


def _eventually_leads(seat: Open) -> Leader:
    """The first leader gives the name back on a thread of its own."""
    for _ in range(1000):
        try:
            leader: Leader = seat(0)
        except ModelInvalid:
            threading.Event().wait(0.01)
        else:
            return leader
    raise AssertionError("the name stayed taken")


def test_nobody_to_join_is_an_error(seat: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontends, "_JOIN_SECONDS", 0.1)
    with pytest.raises(ModelInvalid, match="could not be reached within"):
        seat(1)


def test_strangers_are_turned_away(seat: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontends, "_JOIN_SECONDS", 0.1)
    monkeypatch.setattr(frontends, "_is_sibling", lambda connected: False)
    seat(0)
    with pytest.raises(ModelInvalid, match="could not be reached"):
        seat(1)
