"""Which pods are probed, and which are only asked how they are."""

from dataclasses import replace

import pytest

from unit.builders import PodBuilder, a_cluster, a_model
from vllm_operator.reconcile.targets import probe_targets

ADDRESS = {"podIP": "10.0.0.7"}
REVISION = a_model().accepted()
CLUSTER = a_cluster(a_model()).applied(REVISION)


def a_pod() -> PodBuilder:
    return replace(CLUSTER.pod("opt-1"), more=ADDRESS)


@pytest.mark.parametrize(
    ("pod", "ask_only"),
    [
        (a_pod().ready(), False),
        (a_pod().lost(), True),
        (a_pod().loading(), None),
        (a_pod().crashed(), None),
        (a_pod().ready().terminating(), None),
        (a_pod().lost().terminating(), None),
        (replace(a_pod().ready(), more={}), None),
        (replace(a_pod().lost(), phase="Failed"), None),
    ],
)
def test_ready_pods_are_probed_and_those_that_lost_it_are_asked(
    pod: PodBuilder, ask_only: bool | None
) -> None:
    targets = probe_targets(CLUSTER.with_pods(pod).observed(), REVISION)
    assert [target.ask_only for target in targets] == ([] if ask_only is None else [ask_only])


def test_without_a_revision_nobody_knows_how_to_ask() -> None:
    assert probe_targets(CLUSTER.with_pods(a_pod().ready()).observed(), None) == ()
