"""The two tables of the API: what each condition says in each case, and what kstatus makes of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from unit.builders import NOW, SETTINGS, ClusterBuilder, ModelBuilder, a_cluster, a_model, stamp
from vllm_operator.api.conditions import Problem, Reason
from vllm_operator.api.crd import _INITIAL_STATUS
from vllm_operator.observed.state import ProbeVerdict
from vllm_operator.status.compute import StatusInputs, compute

NO_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are available: 1 No"


def status_of(model: ModelBuilder, cluster: ClusterBuilder, **more: Any) -> dict[str, Any]:
    revision = more.pop("revision", None) or model.accepted()
    inputs = StatusInputs(
        identity=model.identity(),
        problems=more.pop("problems", ()),
        revision=revision,
        observed=cluster.observed(),
        **more,
    )
    return compute(inputs, NOW)


def condition(status: dict[str, Any], kind: str) -> dict[str, Any] | None:
    return next((found for found in status["conditions"] if found["type"] == kind), None)


def said(status: dict[str, Any]) -> dict[str, str]:
    return {found["type"]: f"{found['status']}/{found['reason']}" for found in status["conditions"]}


def kstatus(status: dict[str, Any], generation: int) -> str:
    """The rules of kstatus for an object of an unknown kind."""
    if status.get("observedGeneration", generation) != generation:
        return "InProgress"
    conditions = {found["type"]: found["status"] for found in status.get("conditions", ())}
    if conditions.get("Reconciling") == "True":
        return "InProgress"
    if conditions.get("Stalled") == "True":
        return "Failed"
    return "InProgress" if conditions.get("Ready") in ("False", "Unknown") else "Current"


MODEL = a_model()
OLD = MODEL.with_engine_args(max_model_len=128)


def serving() -> ClusterBuilder:
    cluster = a_cluster(MODEL).applied(MODEL.accepted())
    return cluster.with_pods(cluster.pod("a").ready()).probed("a")


def rolling() -> ClusterBuilder:
    cluster = a_cluster(OLD).applied(OLD.accepted())
    cluster = cluster.with_pods(cluster.pod("old").ready()).probed("old")
    return replace(cluster, model=MODEL).applied(MODEL.accepted())


SERVED_BEFORE = MODEL.with_status(status_of(MODEL, serving()))
ROLLED_BEFORE = MODEL.with_status({"currentRevision": OLD.accepted().name("opt")})


@dataclass(frozen=True)
class Case:
    name: str
    model: ModelBuilder
    cluster: Callable[[], ClusterBuilder]
    ready: str
    available: str
    reconciling: bool = False
    stalled: bool = False
    kstatus: str = "InProgress"
    problems: tuple[Problem, ...] = ()


def new_loading() -> ClusterBuilder:
    cluster = a_cluster(MODEL).applied(MODEL.accepted())
    return cluster.with_pods(cluster.pod("a").loading())


def rolling_loading() -> ClusterBuilder:
    cluster = rolling()
    return cluster.with_pods(cluster.pod("new").loading())


def rolling_without_gpu() -> ClusterBuilder:
    cluster = rolling()
    return cluster.with_pods(cluster.pod("new").unschedulable(NO_GPU))


def zero() -> ClusterBuilder:
    return a_cluster(MODEL.with_replicas(0)).applied(MODEL.with_replicas(0).accepted())


BAD = Problem(
    Reason.INVALID_ENGINE_ARGS, "spec.engineArgs.tensor_paralel_size: unknown; use `tensor_parallel_size`"
)
CASES = [
    Case(
        "just created", MODEL, lambda: a_cluster(MODEL), "Unknown/Pending", "False/Pending", reconciling=True
    ),
    Case(
        "new object, loading",
        MODEL,
        new_loading,
        "Unknown/LoadingModel",
        "False/LoadingModel",
        reconciling=True,
    ),
    Case(
        "rolling, old serves",
        ROLLED_BEFORE,
        rolling_loading,
        "Unknown/RollingOut",
        "True/Serving",
        reconciling=True,
    ),
    Case(
        "rolling, no spare GPU",
        ROLLED_BEFORE,
        rolling_without_gpu,
        "Unknown/WaitingForGPU",
        "True/Serving",
        reconciling=True,
    ),
    Case(
        "bad new generation, old serves",
        SERVED_BEFORE.at_generation(2),
        serving,
        "False/InvalidEngineArgs",
        "True/Serving",
        stalled=True,
        kstatus="Failed",
        problems=(BAD,),
    ),
    Case(
        "hangs later",
        SERVED_BEFORE,
        lambda: serving().probed("a", ProbeVerdict.TIMEOUT, "no answer in 15 s"),
        "False/ProbeTimeout",
        "False/ProbeTimeout",
    ),
    Case(
        "zero replicas",
        MODEL.with_replicas(0),
        zero,
        "True/ScaledToZero",
        "False/ScaledToZero",
        kstatus="Current",
    ),
    Case("serving", SERVED_BEFORE, serving, "True/Serving", "True/Serving", kstatus="Current"),
    Case(
        "one more replica asked for",
        SERVED_BEFORE.with_replicas(2),
        serving,
        "Unknown/Pending",
        "True/Serving",
    ),
    Case(
        "name taken",
        MODEL,
        lambda: a_cluster(MODEL),
        "False/NameConflict",
        "False/NameConflict",
        reconciling=True,
        problems=(Problem(Reason.NAME_CONFLICT, "Service 'opt' belongs to someone else", stalled=False),),
    ),
    Case(
        "paused before it began", MODEL.paused(), lambda: a_cluster(MODEL), "Unknown/Paused", "False/Paused"
    ),
    Case(
        "paused while serving",
        SERVED_BEFORE.paused(),
        serving,
        "True/Paused",
        "True/Serving",
        kstatus="Current",
    ),
    Case(
        "unreachable",
        SERVED_BEFORE,
        lambda: serving().probed("a", ProbeVerdict.UNREACHABLE, "connect: timed out"),
        "Unknown/ProbeUnreachable",
        "Unknown/ProbeUnreachable",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conditions_and_kstatus(case: Case) -> None:
    status = status_of(case.model, case.cluster(), problems=case.problems)
    found = said(status)
    assert found["Ready"] == case.ready
    assert found["Available"] == case.available
    assert ("Reconciling" in found) is case.reconciling
    assert ("Stalled" in found) is case.stalled
    assert kstatus(status, case.model.generation) == case.kstatus
    assert status["observedGeneration"] == case.model.generation
    assert all(found["observedGeneration"] == case.model.generation for found in status["conditions"])
    assert all(found["reason"] and found["message"] for found in status["conditions"])


def test_the_status_of_a_new_object_is_in_progress() -> None:
    assert kstatus(dict(_INITIAL_STATUS), 1) == "InProgress"


def test_a_status_computed_from_itself_is_the_same_later() -> None:
    for case in CASES:
        first = status_of(case.model, case.cluster(), problems=case.problems)
        model = case.model.with_status(first)
        inputs = StatusInputs(model.identity(), case.problems, model.accepted(), case.cluster().observed())
        assert compute(inputs, NOW + timedelta(hours=3)) == first, case.name


def test_transition_times_move_only_with_the_status() -> None:
    loading = status_of(MODEL, new_loading())
    later = StatusInputs(MODEL.with_status(loading).identity(), (), MODEL.accepted(), serving().observed())
    served = compute(later, NOW + timedelta(minutes=7))
    ready, rendered = condition(served, "Ready"), condition(served, "RepositoryReady")
    assert ready is not None
    assert ready["lastTransitionTime"] == stamp(NOW + timedelta(minutes=7))
    assert rendered is not None
    assert rendered["lastTransitionTime"] == stamp(NOW)


def test_without_a_spare_gpu_the_message_names_recreate_and_quotes_the_scheduler() -> None:
    ready = condition(status_of(ROLLED_BEFORE, rolling_without_gpu()), "Ready")
    assert ready is not None
    assert ready["message"] == (
        "The new revision waits for a GPU while the old one serves on pod new: "
        "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. "
        "Remedy: free a GPU, or set `spec.rollout.type` to 'Recreate' to end the old pods first. "
        "See docs/reasons.md#WaitingForGPU"
    )


def test_all_problems_are_in_one_message() -> None:
    other = Problem(Reason.INVALID_SPEC, "spec.runtime.env[0].name: 'LD_PRELOAD' is not on the list")
    ready = condition(status_of(MODEL, serving(), problems=(BAD, other)), "Ready")
    assert ready is not None
    assert BAD.message in ready["message"]
    assert other.message in ready["message"]


def test_counts_and_columns() -> None:
    model = SERVED_BEFORE.with_replicas(3)
    status = status_of(model, serving())
    assert status["replicaSummary"] == "1/3"
    assert (status["replicas"], status["readyReplicas"], status["updatedReplicas"]) == (1, 1, 1)
    assert status["gpusPerReplica"] == 1
    assert status["model"] == "facebook/opt-125m"
    assert status["selector"] == "triton-vllm.dev/model=opt"
    assert status["endpoints"]["grpc"] == "opt.default.svc:8001"
    assert status["runtime"] == {"image": SETTINGS.runtime_image}
