"""Only what the status lists is used: every way to put another revision in its place, and every crash."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import pytest

from unit.builders import NOW, SETTINGS, ModelBuilder, a_model
from vllm_operator.desired.anchor import MAX_LISTED, PREVIOUS_ANNOTATION, listing, sha256
from vllm_operator.desired.decision import Decision, as_it_is, decide
from vllm_operator.desired.revision import SETTINGS_ANNOTATION, Revision
from vllm_operator.observed.state import ObservedState
from vllm_operator.settings import Settings
from vllm_operator.status.compute import StatusInputs, compute

Object = dict[str, Any]
NEXT = SETTINGS.model_copy(update={"runtime_image": "registry.example.com/triton:2"})


@dataclass
class Cluster:
    """What is stored of one model.

    `crash` leaves the status unwritten; `unanswered`, too, and the operator goes on and knows what it wrote.
    """

    model: ModelBuilder
    stored: tuple[Object, ...] = ()
    unlisted: Sequence[Mapping[str, str]] = ()

    def reconcile(
        self, settings: Settings = SETTINGS, *, crash: bool = False, unanswered: bool = False
    ) -> Decision:
        decision = decide(self.model.object(), self.stored, settings, self.unlisted)
        wanted = decision.controller_revision
        if wanted is not None:
            others = (obj for obj in self.stored if obj["metadata"]["name"] != wanted["metadata"]["name"])
            self.stored = (*others, deepcopy(dict(wanted)))
        listed = listing(self.stored, decision.trusted, wanted)
        self.unlisted = listed if unanswered else ()
        if not crash and not unanswered:
            status: dict[str, Any] = {"revisions": listed}
            if wanted:
                status["updateRevision"] = wanted["metadata"]["name"]
            self.model = self.model.with_status(status)
        return decision

    def names(self) -> list[str]:
        return [entry["name"] for entry in self.model.status["revisions"]]


def image(decision: Decision) -> str:
    assert decision.revision is not None
    return str(decision.revision.pod_template["spec"]["containers"][0]["image"])


def forged(genuine: Object, number: int, **more: Any) -> Object:
    """The genuine revision with the forger's image, under a name that its hash makes right."""
    obj = deepcopy(genuine)
    obj["data"]["pod_template"]["spec"]["containers"][0]["image"] = "evil.example.com/miner:1"
    obj["data"] |= more
    obj["metadata"]["name"] = Revision.from_object(obj).name("opt")
    obj["revision"] = number
    return obj


def nameless(obj: Object) -> Object:
    kept = ("namespace", "labels", "ownerReferences")
    metadata = {"name": "opt-stranger", **{key: obj["metadata"][key] for key in kept}}
    return {**obj, "metadata": metadata, "revision": 9}


def deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def converged() -> Cluster:
    cluster = Cluster(a_model())
    cluster.reconcile()
    return cluster


def test_what_is_written_is_listed_and_used_again() -> None:
    cluster = converged()
    (entry,) = cluster.model.status["revisions"]
    assert entry == {"name": cluster.stored[0]["metadata"]["name"], "sha256": sha256(cluster.stored[0])}
    assert len(entry["sha256"]) == 64
    # A newer operator with another default image: kept, which only a trusted revision is.
    decision = cluster.reconcile(NEXT)
    assert image(decision) == SETTINGS.runtime_image
    assert decision.warnings == ()


FORGERIES: Mapping[str, Callable[[Object], Sequence[Object]]] = {
    "a newer one": lambda genuine: [genuine, forged(genuine, 9)],
    "a newer one that says its image is the genuine one": lambda genuine: [
        genuine,
        forged(genuine, 9, image=SETTINGS.runtime_image),
    ],
    "one in the place of the genuine": lambda genuine: [
        {**forged(genuine, 1), "metadata": genuine["metadata"]}
    ],
    "one in its place, with a higher number": lambda genuine: [
        {**forged(genuine, 9), "metadata": genuine["metadata"]}
    ],
    "nothing but nonsense": lambda genuine: [{**genuine, "data": ["nonsense"]}],
    "something without data": lambda genuine: [genuine, nameless({**genuine, "data": None})],
    "something without annotations": lambda genuine: [genuine, nameless(genuine)],
    "something very deep": lambda genuine: [genuine, nameless({**genuine, "data": deep(5000)})],
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_revision_is_not_used_and_is_told(forgery: str) -> None:
    cluster = converged()
    cluster.stored = tuple(FORGERIES[forgery](cluster.stored[0]))
    decision = cluster.reconcile()
    assert image(decision) == SETTINGS.runtime_image
    (warning,) = decision.warnings
    assert "is not used" in warning
    names = [str(obj["metadata"]["name"]) for obj in FORGERIES[forgery](converged().stored[0])]
    assert names[-1] in warning


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_revision_is_not_used_either_while_the_spec_is_refused(forgery: str) -> None:
    cluster = converged()
    cluster.model = cluster.model.with_runtime(image="nginx")
    cluster.stored = tuple(FORGERIES[forgery](cluster.stored[0]))
    decision = cluster.reconcile()
    assert decision.problems
    assert decision.warnings
    assert decision.revision is None or image(decision) == SETTINGS.runtime_image


#: What a version that keeps lists writes into the status where none of what is stored is its own.
NOTHING_LISTED: Mapping[str, dict[str, Any]] = {
    "no list": {"servingPods": []},
    "pods, and no list": {"servingPods": ["uid-of-a"]},
    "an empty list": {"revisions": []},
    "both": {"servingPods": [], "revisions": []},
}


@pytest.mark.parametrize("status", NOTHING_LISTED)
@pytest.mark.parametrize("in_place", [False, True])
def test_where_nothing_is_listed_nothing_is_vouched_for(status: str, in_place: bool) -> None:
    """The status still names the revision that it had before somebody replaced it."""
    (genuine,) = converged().stored
    evil = forged(genuine, 1, image=SETTINGS.runtime_image)
    evil["data"]["pod_template"]["spec"]["containers"][0]["image"] = SETTINGS.runtime_image
    evil["data"]["pod_template"]["spec"]["containers"][0]["command"] = ["mine"]
    evil["metadata"]["name"] = Revision.from_object(evil).name("opt")
    if in_place:
        evil["metadata"] = genuine["metadata"]
    named = {"updateRevision": evil["metadata"]["name"], "currentRevision": evil["metadata"]["name"]}
    ran = {"runtime": {"image": SETTINGS.runtime_image}}
    for model in (a_model(), a_model().paused()):
        found = model.with_status(NOTHING_LISTED[status] | named | ran).object()
        for decide_by in (decide, as_it_is):
            decision = decide_by(found, [evil], SETTINGS)
            assert decision.trusted.revision is None
            assert decision.trusted.strangers
            assert listing([evil], decision.trusted, None) == []


def test_each_status_tells_that_its_version_keeps_lists() -> None:
    inputs = StatusInputs(a_model().identity(), (), None, ObservedState())
    assert "servingPods" in compute(inputs, NOW)


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_revision_that_an_older_operators_status_does_not_name_is_not_used(forgery: str) -> None:
    (genuine,) = converged().stored
    status = {"updateRevision": genuine["metadata"]["name"], "runtime": {"image": SETTINGS.runtime_image}}
    model = a_model().with_status(status)
    decision = decide(model.object(), FORGERIES[forgery](genuine), SETTINGS)
    assert image(decision) == SETTINGS.runtime_image
    assert len(decision.warnings) == 1


def test_forged_settings_are_not_used() -> None:
    cluster = converged()
    annotations = cluster.stored[0]["metadata"]["annotations"]
    annotations[SETTINGS_ANNOTATION] = annotations[SETTINGS_ANNOTATION].replace(
        '"period_seconds": 15', '"period_seconds": 0'
    )
    cluster.model = cluster.model.with_runtime(image="nginx")
    decision = cluster.reconcile()
    assert decision.revision is None
    assert "is not used" in decision.warnings[0]


def test_a_crash_after_the_first_revision_is_no_forgery() -> None:
    cluster = Cluster(a_model())
    first = cluster.reconcile(crash=True)
    second = cluster.reconcile()
    assert second.controller_revision == first.controller_revision
    assert second.warnings == ()
    assert len(cluster.names()) == 1


def test_a_crash_in_a_roll_makes_the_same_revision_again() -> None:
    cluster = converged()
    cluster.model = cluster.model.with_engine_args(seed=1)
    first = cluster.reconcile(crash=True)
    second = cluster.reconcile()
    assert second.controller_revision == first.controller_revision
    assert second.warnings == ()
    assert len(cluster.names()) == 2


def test_a_crash_in_a_change_of_settings_keeps_the_pods_even_through_an_upgrade() -> None:
    cluster = converged()
    before = cluster.stored[0]
    cluster.model = cluster.model.with_probe(periodSeconds=60)
    cluster.reconcile(crash=True)
    assert cluster.stored[0]["metadata"]["annotations"][PREVIOUS_ANNOTATION]
    decision = cluster.reconcile(NEXT, crash=True)
    decision = cluster.reconcile(NEXT)
    assert decision.revision is not None
    assert decision.revision.probe.period_seconds == 60
    assert cluster.stored[0]["data"] == before["data"]
    assert decision.warnings == ()
    # Listed: the old settings are needed no more.
    cluster.reconcile(NEXT)
    assert PREVIOUS_ANNOTATION not in cluster.stored[0]["metadata"]["annotations"]
    assert cluster.reconcile(NEXT).warnings == ()


def test_an_older_operators_status_vouches_by_name() -> None:
    cluster = converged()
    (genuine,) = cluster.stored
    cluster.stored = (genuine, forged(genuine, 9))
    status = {
        "updateRevision": genuine["metadata"]["name"],
        "runtime": {"image": SETTINGS.runtime_image},
    }
    cluster.model = cluster.model.with_status(status)
    decision = cluster.reconcile(NEXT)
    assert image(decision) == SETTINGS.runtime_image
    assert "is not used" in decision.warnings[0]
    assert cluster.names() == [genuine["metadata"]["name"]]


def test_an_older_operators_history_is_no_forgery() -> None:
    cluster = converged()
    cluster.model = cluster.model.with_engine_args(seed=1)
    cluster.reconcile()
    status = {**cluster.model.status, "runtime": {"image": SETTINGS.runtime_image}}
    del status["revisions"]
    cluster.model = cluster.model.with_status(status)
    assert cluster.reconcile(NEXT).warnings == ()
    assert len(cluster.names()) == 1


@pytest.mark.parametrize("ran", ["another", SETTINGS.runtime_image])
def test_an_older_operators_status_vouches_for_no_image_that_it_does_not_name(ran: str) -> None:
    (genuine,) = converged().stored
    evil = forged(genuine, 9)
    status = {"updateRevision": evil["metadata"]["name"], "runtime": {"image": ran}}
    decision = decide(a_model().with_status(status).object(), [genuine, evil], SETTINGS)
    assert image(decision) == SETTINGS.runtime_image
    assert any(evil["metadata"]["name"] in warning for warning in decision.warnings)


def test_what_a_paused_model_runs_is_vouched_for_where_its_next_revision_was_never_made() -> None:
    (genuine,) = converged().stored
    status = {
        "updateRevision": "opt-never-made",
        "currentRevision": genuine["metadata"]["name"],
        "runtime": {"image": SETTINGS.runtime_image},
    }
    decision = decide(a_model().with_status(status).object(), [genuine], NEXT)
    assert image(decision) == SETTINGS.runtime_image


def test_a_lost_status_means_accepting_the_spec_anew() -> None:
    cluster = converged()
    cluster.model = cluster.model.with_status({})
    decision = cluster.reconcile()
    assert decision.warnings == ()
    assert len(cluster.names()) == 1


def test_a_revision_of_another_model_is_none_of_ours() -> None:
    (genuine,) = converged().stored
    theirs = forged(genuine, 9)
    theirs["metadata"]["ownerReferences"][0]["uid"] = "another"
    assert decide(a_model().object(), [theirs], SETTINGS).warnings == ()


def test_a_revision_that_this_version_cannot_read_is_kept_listed_and_an_older_one_used() -> None:
    cluster = converged()
    (first,) = cluster.stored
    future = {**first, "revision": 2, "data": {"from": "the future"}}
    future["metadata"] = {**first["metadata"], "name": "opt-future"}
    listed = [*cluster.model.status["revisions"], {"name": "opt-future", "sha256": sha256(future)}]
    cluster.model = cluster.model.with_status({"revisions": listed})
    cluster.stored = (first, future)
    decision = cluster.reconcile(NEXT)
    assert image(decision) == SETTINGS.runtime_image
    assert decision.warnings == ()
    assert set(cluster.names()) == {"opt-future", first["metadata"]["name"]}


def test_the_hash_does_not_depend_on_the_form_of_numbers_or_the_order_of_keys() -> None:
    (stored,) = converged().stored
    again = {**stored, "data": {**dict(reversed(stored["data"].items())), "gpus_per_replica": 1.0}}
    assert sha256(again) == sha256(stored)


def test_no_more_is_listed_than_the_status_takes() -> None:
    model = a_model()
    decision = decide(model.object(), [], SETTINGS)
    assert decision.controller_revision is not None
    many = [
        {**decision.controller_revision, "metadata": {"name": f"opt-{n}"}, "revision": n}
        for n in range(MAX_LISTED + 5)
    ]
    known = replace(decision.trusted, hashes={f"opt-{n}": "0" * 64 for n in range(MAX_LISTED + 5)})
    names = [entry["name"] for entry in listing(many, known, None)]
    assert len(names) == MAX_LISTED
    assert names[0] == f"opt-{MAX_LISTED + 4}"


def test_strangers_push_nothing_of_ours_out_of_the_list() -> None:
    cluster = converged()
    (genuine,) = cluster.stored
    strangers = [
        {**forged(genuine, 100 + n), "metadata": {**genuine["metadata"], "name": f"opt-{n}"}}
        for n in range(MAX_LISTED)
    ]
    cluster.stored = (genuine, *strangers)
    for _ in range(2):
        decision = cluster.reconcile(NEXT)
        assert cluster.names() == [genuine["metadata"]["name"]]
        assert image(decision) == SETTINGS.runtime_image


@pytest.mark.parametrize("times", [1, 3])
def test_edits_while_no_status_is_taken_accuse_nobody(times: int) -> None:
    cluster = converged()
    for seed in range(times):
        cluster.model = cluster.model.with_engine_args(seed=seed)
        assert cluster.reconcile(unanswered=True).warnings == ()
    cluster.model = cluster.model.with_engine_args(seed=99)
    assert cluster.reconcile().warnings == ()
    assert len(cluster.names()) == times + 2, "all of them were the operator's"
    assert sorted(obj["revision"] for obj in cluster.stored) == list(range(1, times + 3))


@pytest.mark.parametrize("times", [1, 3])
def test_edits_between_crashes_accuse_nobody(times: int) -> None:
    cluster = converged()
    for seed in range(times):
        cluster.model = cluster.model.with_engine_args(seed=seed)
        assert cluster.reconcile(crash=True).warnings == ()
    cluster.model = cluster.model.with_engine_args(seed=99)
    for _ in range(3):
        assert cluster.reconcile().warnings == ()
    assert len(cluster.names()) == 2


def test_what_a_forger_puts_in_place_of_an_unlisted_revision_is_not_used() -> None:
    cluster = converged()
    cluster.model = cluster.model.with_engine_args(seed=1)
    decision = cluster.reconcile(unanswered=True)
    assert decision.controller_revision is not None
    (genuine,) = (
        obj for obj in cluster.stored if obj["metadata"] == decision.controller_revision["metadata"]
    )
    evil = {**forged(genuine, 2), "metadata": genuine["metadata"]}
    cluster.stored = tuple(evil if obj is genuine else obj for obj in cluster.stored)
    decision = cluster.reconcile()
    assert image(decision) == SETTINGS.runtime_image
    assert len(decision.warnings) == 1


@pytest.mark.parametrize("number", [2**31 - 1, 2**31, 2**63 - 1])
def test_a_strangers_number_leaves_room_for_the_next_revision(number: int) -> None:
    cluster = converged()
    cluster.stored = (*cluster.stored, forged(cluster.stored[0], number))
    for seed in range(3):
        cluster.model = cluster.model.with_engine_args(seed=seed)
        decision = cluster.reconcile()
        assert decision.controller_revision is not None
        assert decision.controller_revision["revision"] <= 2**31 + seed
        assert decision.controller_revision["revision"] > decision.trusted.number
