"""A prober that stands still shows; pods at fault, and nothing to do, do not look like one."""

from vllm_operator.probe.progress import Progress


def owed(
    progress: Progress, now: float, ends: tuple[float, ...] = (), dues: tuple[float, ...] = ()
) -> object:
    return progress.owed_since(now, under_way=ends, waiting=dues)


def test_nothing_to_do_owes_nothing() -> None:
    progress = Progress()
    assert owed(progress, 1000) is None
    assert owed(progress, 1000, dues=(1001,)) is None


def test_attempts_under_way_may_take_their_time_and_others_wait_for_them() -> None:
    assert owed(Progress(), 50, ends=(60, 70), dues=(1,)) is None


def test_what_is_due_and_not_begun_is_owed_since_then() -> None:
    assert owed(Progress(), 50, dues=(40, 30)) == 30


def test_after_a_long_rest_only_what_is_due_now_counts() -> None:
    progress = Progress()
    progress.ended(10)
    assert owed(progress, 3600, dues=(3599,)) == 3599


def test_an_attempt_that_ends_is_progress_and_one_that_is_cut_and_begun_anew_is_not() -> None:
    progress = Progress()
    assert owed(progress, 50, ends=(40,)) == 40
    assert owed(progress, 60, ends=(70,)) == 40
    progress.ended(61)
    assert owed(progress, 62, ends=(70,)) is None


def test_pods_that_go_away_owe_nothing() -> None:
    progress = Progress()
    assert owed(progress, 50, ends=(40,)) == 40
    assert owed(progress, 51) is None
    assert owed(progress, 60, ends=(70,)) is None
