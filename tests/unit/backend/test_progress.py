"""Whether the engine gets on: stories of ranks, as the judge of hangs hears of them."""

from triton_runtime.front_ends import FrontEnd
from triton_runtime.hang import Hang, Verdict
from vllm_triton.progress import Progress

SECONDS = 1000


def verdicts(
    silent: dict[int, range], busy: dict[int, range], answers: bool = False
) -> list[tuple[int, Verdict]]:
    """Ranks send something each second while they are busy, but in their silent time."""
    hang, progress, told = Hang(no_progress=60, end=300), Progress(), []
    for second in range(SECONDS):
        has = {rank for rank, times in busy.items() if second in times}
        for rank in has:
            if second not in silent.get(rank, ()):
                progress.sent(rank, has)
        if answers and second % 61 == 60:
            progress.all_answered(has)
        beat = FrontEnd(
            pid=7,
            beats=second,
            messages=progress.rounds,
            in_flight=len(has),
            proven=True,
            loading_adapter=False,
            open=True,
        )
        told.append((second, hang.look(float(second), [beat])))
    return told


ALWAYS = range(SECONDS)


def found(told: list[tuple[int, Verdict]]) -> list[int]:
    return [second for second, verdict in told if verdict.hung]


def test_one_rank_counts_each_message() -> None:
    progress = Progress()
    for _ in range(5):
        progress.sent(0, set())
    assert progress.rounds == 5


def test_ranks_that_all_send_get_on() -> None:
    assert found(verdicts({}, {0: ALWAYS, 1: ALWAYS, 2: range(100, 300)})) == []


def test_a_rank_that_hangs_while_others_serve_is_found_and_ended() -> None:
    told = verdicts({1: range(100, SECONDS)}, {0: ALWAYS, 1: ALWAYS})
    assert 160 < found(told)[0] <= 175
    assert 400 <= next(second for second, verdict in told if verdict.overdue) <= 405


def test_one_that_hung_while_it_had_nothing_is_found_by_its_first_request() -> None:
    silent = {1: range(100, SECONDS)}
    assert 360 < found(verdicts(silent, {0: range(310, SECONDS), 1: range(300, SECONDS)}))[0] <= 385
    assert 360 < found(verdicts(silent, {0: ALWAYS, 1: range(300, SECONDS)}))[0] <= 375


def test_a_third_one_that_comes_and_goes_hides_nothing() -> None:
    busy = {0: ALWAYS, 1: ALWAYS, 2: range(0, SECONDS, 2)}
    assert 160 < found(verdicts({1: range(100, SECONDS)}, busy))[0] <= 175


def test_one_that_has_nothing_is_not_missed() -> None:
    assert found(verdicts({}, {0: ALWAYS, 1: range(100)})) == []


def test_a_rank_that_waits_for_a_kv_cache_answers() -> None:
    assert found(verdicts({1: range(100, SECONDS)}, {0: ALWAYS, 1: ALWAYS}, answers=True)) == []


def test_long_steps_of_several_ranks_do_not_add_up() -> None:
    """Each is silent for less than a minute, one after the other."""
    silent = {1: range(100, 150), 2: range(140, 190), 3: range(180, 230)}
    busy = {0: ALWAYS, 1: ALWAYS, 2: range(140, SECONDS), 3: range(180, SECONDS)}
    assert found(verdicts(silent, busy)) == []
