"""Pruning: what nothing refers to goes, what anything refers to stays."""

from dataclasses import replace
from typing import Any

from unit.builders import a_cluster, a_model
from vllm_operator.desired.state import build, to_prune
from vllm_operator.observed.state import ObservedState

MODEL = a_model()
REVISIONS = [MODEL.with_engine_args(seed=seed).accepted() for seed in range(6)]


def names(objects: Any) -> list[str]:
    return sorted(f"{obj['kind']}/{obj['metadata']['name']}" for obj in objects)


def everything() -> ObservedState:
    identity = MODEL.identity()
    return replace(
        ObservedState(),
        config_maps=tuple(build(identity, revision, replicas=1).config_map for revision in REVISIONS),
        controller_revisions=tuple(
            revision.to_object(identity, number) for number, revision in enumerate(REVISIONS, start=1)
        ),
    )


def test_only_the_current_config_map_and_the_history_stay() -> None:
    gone = to_prune(MODEL.identity(), REVISIONS[5], everything(), history_limit=2)
    assert names(gone) == sorted(
        [f"ConfigMap/{revision.name('opt')}" for revision in REVISIONS[:5]]
        + [f"ControllerRevision/{revision.name('opt')}" for revision in REVISIONS[:3]]
    )


def test_what_a_replica_set_refers_to_stays_however_old() -> None:
    cluster = a_cluster(MODEL).applied(REVISIONS[0]).applied(REVISIONS[5])
    observed = replace(everything(), replica_sets=cluster.observed().replica_sets)
    gone = names(to_prune(MODEL.identity(), REVISIONS[5], observed, history_limit=0))
    assert f"ConfigMap/{REVISIONS[0].name('opt')}" not in gone
    assert f"ControllerRevision/{REVISIONS[0].name('opt')}" not in gone
    assert f"ConfigMap/{REVISIONS[1].name('opt')}" in gone


def test_what_the_deployment_refers_to_stays_until_it_is_applied_anew() -> None:
    deployment = build(MODEL.identity(), REVISIONS[2], replicas=1).deployment
    observed = replace(everything(), deployment=deployment)
    gone = names(to_prune(MODEL.identity(), REVISIONS[5], observed, history_limit=0))
    assert f"ConfigMap/{REVISIONS[2].name('opt')}" not in gone


def test_what_is_not_owned_is_left_alone() -> None:
    observed = everything()
    foreign = {**observed.config_maps[0], "metadata": {"name": "opt-0123456789", "namespace": "default"}}
    gone = to_prune(
        MODEL.identity(), REVISIONS[5], replace(observed, config_maps=(foreign,)), history_limit=2
    )
    assert names(gone) == names(observed.controller_revisions[:3])
