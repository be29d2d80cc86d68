"""What counts as a hang: a table of stories, told second by second, without a process and without waiting."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from triton_runtime.front_ends import FrontEnd, read
from triton_runtime.hang import Hang, Verdict

NO_PROGRESS, END = 60.0, 300.0
LEADER = FrontEnd(
    pid=7, beats=0, messages=0, in_flight=0, proven=True, loading_adapter=False, open=True
)  # fmt: skip
FOLLOWER = replace(LEADER, pid=8)

#: What one front end says at a second of the story.
Story = Callable[[int], FrontEnd]


def serving(second: int) -> FrontEnd:
    """Beats every second, and the engine sends something every second."""
    return replace(LEADER, beats=second, messages=second, in_flight=3)


def silent_from(start: int, until: int = 10**6, **also: object) -> Story:
    """The front end beats; the engine sends nothing and answers nothing between two seconds."""

    def tell(second: int) -> FrontEnd:
        messages = second if second < start else start if second < until else second
        return replace(serving(second), messages=messages, **also)  # type: ignore[arg-type]

    return tell


def answering_from(start: int) -> Story:
    """Nothing is sent from then on; each question after a minute of silence is answered in a second."""

    def tell(second: int) -> FrontEnd:
        asked = max(0, second - start) // 61
        return replace(serving(second), messages=second if second < start else start + asked)

    return tell


def stopped_at(second: int) -> Story:
    """The front end itself stops beating."""
    return lambda now: serving(min(now, second))


def idle(second: int) -> FrontEnd:
    return replace(LEADER, beats=second, messages=5)


def told(*stories: Story, seconds: int = 1200) -> Iterator[tuple[int, Verdict]]:
    hang = Hang(no_progress=NO_PROGRESS, end=END)
    for second in range(seconds):
        yield second, hang.look(1000.0 + second, [story(second) for story in stories])


def as_follower(story: Story) -> Story:
    return lambda second: replace(story(second), pid=FOLLOWER.pid)


@pytest.mark.parametrize(
    "stories",
    [
        pytest.param([serving], id="serves"),
        pytest.param([idle], id="nothing to do for twenty minutes"),
        pytest.param([answering_from(10)], id="256 requests wait for a KV cache; the busy loop answers"),
        pytest.param([silent_from(10, 69)], id="a step of 59 s"),
        pytest.param([silent_from(10, 660, proven=False)], id="before the first request has been served"),
        pytest.param([silent_from(10, 360, loading_adapter=True)], id="an adapter is being loaded"),
        pytest.param(
            [silent_from(10, 360), as_follower(silent_from(10, 360, loading_adapter=True))],
            id="an adapter is being loaded for another front end",
        ),
        pytest.param([serving, as_follower(idle)], id="a follower has nothing to do"),
    ],
)
def test_no_hang(stories: list[Story]) -> None:
    assert [verdict for _, verdict in told(*stories) if verdict != Verdict()] == []


@pytest.mark.parametrize(
    ("stories", "words"),
    [
        ([silent_from(100)], "with requests in flight: 3"),
        ([stopped_at(100)], "process 7 has given no sign of life for 70 s"),
        ([idle, as_follower(stopped_at(100))], "process 8 has given no sign of life for 70 s"),
        ([idle, as_follower(silent_from(100, proven=False))], "nothing has come from the engine for 70 s"),
        # Stopped while it loaded an adapter: who does not beat cannot excuse itself.
        ([lambda now: replace(stopped_at(100)(now), loading_adapter=True)], "no sign of life"),
    ],
    ids=["engine", "stub", "follower", "engine of which only another front end had something", "in add_lora"],
)
def test_a_hang_is_seen_within_90_seconds_and_ended_after_300(stories: list[Story], words: str) -> None:
    verdicts = dict(told(*stories))
    first = next(second for second, verdict in verdicts.items() if verdict.hung)
    assert NO_PROGRESS < first - 100 <= 90 - 15, "the kubelet takes three failures, 5 s apart, to believe it"
    assert words in str(verdicts[first].hung)
    assert all(verdicts[second].hung for second in range(first, 1200))
    overdue = [second for second, verdict in verdicts.items() if verdict.overdue]
    assert END <= overdue[0] - 100 <= END + 2
    assert verdicts[1199].overdue


@pytest.mark.parametrize(
    ("excuse", "excused"), [({"loading_adapter": True}, END), ({"proven": False}, 2 * END)], ids=str
)
def test_no_excuse_holds_for_ever(excuse: dict[str, object], excused: float) -> None:
    """The engine hangs in the load of an adapter, or in the first request after the warm-up."""
    verdicts = dict(told(silent_from(100, **excuse), seconds=1500))
    first = next(second for second, verdict in verdicts.items() if verdict.hung)
    assert excused + NO_PROGRESS < first - 100 <= excused + 90
    overdue = next(second for second, verdict in verdicts.items() if verdict.overdue)
    assert excused + END - 1 <= overdue - 100 <= excused + END + 1


def test_a_hang_that_meets_an_adapter_later_is_found_all_the_same() -> None:
    """The load is asked for within the silence, and never ends."""

    def tell(second: int) -> FrontEnd:
        return replace(silent_from(100)(second), loading_adapter=second >= 150)

    overdue = [second for second, verdict in told(tell) if verdict.overdue]
    assert 149 + 2 * END <= overdue[0] <= 151 + 2 * END


def test_one_load_after_the_other_is_excused_while_each_ends() -> None:
    """Each end of a load is an answer of the engine."""

    def tell(second: int) -> FrontEnd:
        return replace(serving(second), messages=second // 200, loading_adapter=second % 200 != 0)

    assert [verdict for _, verdict in told(tell, seconds=3000) if verdict != Verdict()] == []


def test_an_excuse_counts_from_the_first_request_on() -> None:
    hang = Hang(no_progress=NO_PROGRESS, end=END)
    for second in range(4000):
        one = replace(LEADER, beats=second, messages=5, in_flight=int(second >= 3400), proven=False)
        assert hang.look(float(second), [one]) == Verdict()


def test_who_is_silent_is_told_apart_from_whose_engine_is() -> None:
    *_, (_, engine) = told(silent_from(100), seconds=200)
    *_, (_, stub) = told(serving, as_follower(stopped_at(100)), seconds=200)
    assert (engine.silent, stub.silent) == (frozenset(), frozenset({FOLLOWER.pid}))


@pytest.mark.parametrize("length", [90, 180, 290])
def test_a_long_step_turns_clients_away_for_as_long_as_it_lasts_and_ends_nothing(length: int) -> None:
    verdicts = dict(told(silent_from(100, 100 + length)))
    assert not any(verdict.overdue for verdict in verdicts.values())
    assert [second for second, verdict in verdicts.items() if verdict.hung and second >= 100 + length] == []


def test_the_clock_starts_with_the_first_request_in_flight() -> None:
    """An idle engine sends nothing for hours: its first request since then has all its time."""
    hang = Hang(no_progress=NO_PROGRESS, end=END)
    for second in range(4000):
        busy = second >= 3940
        one = replace(LEADER, beats=second, messages=5, in_flight=int(busy))
        assert hang.look(float(second), [one]) == Verdict()


def test_the_clock_starts_when_the_first_request_has_been_served() -> None:
    hang = Hang(no_progress=NO_PROGRESS, end=END)
    for second in range(655):
        one = replace(LEADER, beats=second, messages=5, in_flight=1, proven=second >= 590)
        assert hang.look(float(second), [one]) == Verdict()


def test_time_in_which_nothing_could_run_does_not_count() -> None:
    """A container that was frozen, or a machine that slept for an hour."""
    hang = Hang(no_progress=NO_PROGRESS, end=END)
    assert hang.look(0.0, [serving(1)]) == Verdict()
    assert hang.look(3600.0, [serving(1)]) == Verdict()
    assert hang.look(3601.0, [serving(2)]) == Verdict()


def test_a_front_end_that_has_left_is_not_missed() -> None:
    hang = Hang(no_progress=NO_PROGRESS, end=END)
    hang.look(0.0, [serving(1)])
    for second in range(600):
        assert hang.look(float(second), []) == Verdict()


BEAT = (
    '{"beats": 4, "messages": 9, "in_flight": 2, "proven": true, "loading_adapter": false, "open": true}   '
)


def test_front_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / "front-end-7.json").write_text(BEAT)
    (tmp_path / "engine-state.json").write_text("{}")
    (tmp_path / "front-end-x.json").write_text(BEAT)
    one = FrontEnd(7, 4, 9, 2, proven=True, loading_adapter=False, open=True)
    assert read(tmp_path) == [one]
    for torn in ("", BEAT[:30], "[]", '{"beats": null}'):
        (tmp_path / "front-end-7.json").write_text(torn)
        assert read(tmp_path) == []
        assert read(tmp_path, [one]) == [one], "half a beat is not the end of one that beats"
    (tmp_path / "front-end-7.json").unlink()
    assert read(tmp_path, [one]) == []
