"""What probes come to, one outcome at a time."""

from dataclasses import replace

import pytest

from unit.probe.targets import ERRS, GOOD, HANGS, KEY, TARGET
from vllm_operator.observed.state import BackendInfo, ProbeVerdict
from vllm_operator.probe.outcome import Outcome
from vllm_operator.probe.pod import PodProbe

HUNG = Outcome(ProbeVerdict.HUNG, "the engine hangs", BackendInfo(vllm="0.32.0"), certain=True)
ASKED = Outcome(None, "", BackendInfo(vllm="0.32.0"))
NO_ANSWER = Outcome(None, "")


def probed(**target: object) -> PodProbe:
    return PodProbe(KEY, replace(TARGET, **target), due=0, judged=0)  # type: ignore[arg-type]


def verdict(pod: PodProbe) -> ProbeVerdict | None:
    return pod.result.verdict if pod.result else None


def test_one_success_is_enough_and_is_told_once() -> None:
    pod = probed()
    assert pod.judge(GOOD)
    assert not pod.judge(GOOD)


@pytest.mark.parametrize("start", [None, GOOD])
def test_it_takes_the_threshold_of_failures_in_a_row(start: Outcome | None) -> None:
    pod = probed()
    if start:
        pod.judge(start)
    assert [pod.judge(HANGS), pod.judge(HANGS)] == [False, False]
    assert pod.judge(HANGS)
    assert verdict(pod) is ProbeVerdict.TIMEOUT


def test_a_success_in_between_starts_the_count_anew() -> None:
    pod = probed()
    for outcome in (GOOD, HANGS, HANGS, GOOD, HANGS, HANGS):
        pod.judge(outcome)
    assert verdict(pod) is ProbeVerdict.SERVING
    assert pod.judge(HANGS)


def test_failing_it_is_renamed_only_when_it_has_settled_on_another_kind() -> None:
    pod = probed()
    for _ in range(3):
        pod.judge(HANGS)
    assert [pod.judge(ERRS), pod.judge(HANGS), pod.judge(ERRS), pod.judge(ERRS)] == [False] * 4
    assert pod.judge(ERRS)
    assert verdict(pod) is ProbeVerdict.FAILED


def test_versions_learnt_later_are_told_and_kept_through_a_failure() -> None:
    pod = probed()
    pod.judge(GOOD)
    assert pod.result is not None
    since = pod.result.at
    info = BackendInfo("2.51.0", "0.32.0", ("abc",))
    assert pod.judge(replace(GOOD, backend=info))
    assert pod.result.at == since
    for _ in range(3):
        pod.judge(HANGS)
    assert pod.result.backend == info


def test_what_a_pod_is_certain_of_is_believed_at_once_and_one_success_ends_it() -> None:
    pod = probed()
    pod.judge(GOOD)
    assert pod.judge(HUNG)
    assert verdict(pod) is ProbeVerdict.HUNG
    assert not pod.judge(HANGS), "one failure of another kind does not rename it"
    assert pod.judge(GOOD)
    assert verdict(pod) is ProbeVerdict.SERVING


def test_a_new_pod_settles_with_its_first_success_and_a_suspect_one_with_as_many_as_make_a_verdict() -> None:
    pod = probed()
    assert pod.urgent
    pod.judge(GOOD)
    assert not pod.urgent
    pod.judge(HANGS)
    urgent = []
    for _ in range(3):
        urgent.append(pod.urgent)
        pod.judge(GOOD)
    assert urgent == [True] * 3
    assert not pod.urgent


def test_a_pod_turned_away_is_hung_only_if_it_says_so_and_until_it_says_otherwise() -> None:
    pod = probed(ask_only=True)
    assert not pod.judge(ASKED)
    assert pod.result is None
    assert pod.judge(HUNG)
    assert not pod.judge(NO_ANSWER), "silence takes nothing back"
    assert verdict(pod) is ProbeVerdict.HUNG
    assert pod.judge(ASKED)
    assert pod.result is None


def test_a_pod_turned_away_and_back_has_to_prove_itself_anew() -> None:
    pod = probed()
    pod.judge(GOOD)
    assert pod.turn(replace(TARGET, ask_only=True))
    assert pod.result is None
    pod.judge(HUNG)
    assert pod.turn(TARGET)
    assert verdict(pod) is ProbeVerdict.HUNG, "being ready again is no answer"
    assert pod.urgent


def test_a_failure_is_remembered_while_the_pod_is_turned_away() -> None:
    pod = probed()
    for _ in range(3):
        pod.judge(HANGS)
    pod.turn(replace(TARGET, ask_only=True))
    assert verdict(pod) is ProbeVerdict.TIMEOUT


@pytest.mark.parametrize(
    ("target", "proved", "now", "expected"),
    [
        ({}, None, 0.0, False),
        ({"kind": "embed"}, None, 0.0, True),
        ({"kind": "embed"}, 0.0, 1e6, False),
        ({"kind": "generate", "expect_contains": "Paris"}, None, 0.0, True),
        ({"kind": "generate", "expect_contains": "Paris"}, 0.0, 39.0, False),
        ({"kind": "generate", "expect_contains": "Paris"}, 0.0, 40.0, True),
    ],
)
def test_others_requests_stand_in_only_for_what_they_prove(
    target: dict[str, object], proved: float | None, now: float, expected: bool
) -> None:
    pod = probed(**target)
    pod.proved = proved
    assert pod.must_infer(now, period=10) is expected


def test_another_question_has_to_be_answered_anew_another_period_has_not() -> None:
    pod = probed(kind="generate", expect_contains="Paris")
    pod.proved = 1.0
    assert not pod.turn(replace(pod.target, period_seconds=20))
    assert pod.proved == 1.0
    pod.judge(GOOD)
    assert not pod.urgent
    assert pod.turn(replace(pod.target, expect_contains="Rome"))
    assert pod.proved is None
    assert pod.urgent


def test_a_stale_verdict_says_so() -> None:
    pod = probed()
    assert pod.standing() is None
    pod.judge(GOOD)
    fresh = pod.standing()
    assert fresh is not None
    assert not fresh.stale
    pod.stale = True
    assert pod.standing() == replace(fresh, stale=True)
