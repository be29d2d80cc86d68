"""A restarted operator keeps what was known until it has probed, and not longer than one probe."""

from dataclasses import replace
from datetime import timedelta

from unit.builders import NOW
from unit.status.test_cases import SERVED_BEFORE, said, serving
from vllm_operator.observed.state import ProbeVerdict
from vllm_operator.status.compute import StatusInputs, compute

UNPROBED = replace(serving(), probes={})


def inputs(since_seconds: int, cluster=UNPROBED, model=SERVED_BEFORE) -> StatusInputs:  # type: ignore[no-untyped-def]
    leading_since = NOW - timedelta(seconds=since_seconds)
    return StatusInputs(
        model.identity(), (), model.accepted(), cluster.observed(), leading_since=leading_since
    )


def test_nothing_is_written_after_a_restart() -> None:
    assert compute(inputs(5), NOW) == SERVED_BEFORE.status


def test_standing_lapses_after_one_probe() -> None:
    assert said(compute(inputs(31), NOW))["Ready"] == "Unknown/LoadingModel"


def test_a_verdict_ends_the_grace() -> None:
    hung = serving().probed("a", ProbeVerdict.TIMEOUT, "no answer")
    assert said(compute(inputs(5, hung), NOW))["Ready"] == "False/ProbeTimeout"


def test_a_pod_that_became_ready_meanwhile_has_no_standing() -> None:
    late = replace(UNPROBED, pods=(UNPROBED.pod("a").ready(since=NOW - timedelta(seconds=1)),))
    assert said(compute(inputs(5, late), NOW))["Ready"] == "Unknown/LoadingModel"


def test_a_pod_that_was_failing_has_no_standing() -> None:
    model = SERVED_BEFORE.with_status({**SERVED_BEFORE.status, "failingPods": [{"name": "a"}]})
    assert said(compute(inputs(5, model=model), NOW))["Available"] == "False/LoadingModel"
