"""Each reason that the state of pods and children tells, from its real words to the message a user reads."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from unit.builders import ClusterBuilder, PodBuilder, a_cluster, a_model
from unit.status.test_cases import MODEL, condition, rolling, said, serving, status_of
from vllm_operator.api.conditions import Reason
from vllm_operator.observed.state import BackendInfo, ProbeVerdict
from vllm_operator.status.reference import SIGNS
from vllm_operator.status.remedies import ADVICE, SPEC_CURABLE, message


def words(reason: str, detail: str, **more: Any) -> str:
    """The termination message of the container's entry point."""
    return json.dumps({"reason": reason, "detail": detail, "excerpt": "Traceback", "exitCode": 1, **more})


PVC = '0/1 nodes are available: persistentvolumeclaim "weights" not found. preemption: 0/1 nodes are avail'
UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"
PULL = 'failed to pull and unpack image "x/y:1": failed to resolve reference "x/y:1": x/y:1: not found'
TAINT = (
    "0/3 nodes are available: 3 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0"
)

PODS: list[tuple[str, Callable[[PodBuilder], PodBuilder], Reason, str]] = [
    (
        "no GPU",
        lambda p: p.unschedulable("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."),
        Reason.UNSCHEDULABLE,
        "0/1 nodes are available: 1 Insufficient nvidia.com/gpu",
    ),
    (
        "taint",
        lambda p: p.unschedulable(TAINT),
        Reason.UNSCHEDULABLE,
        "0/3 nodes are available: 3 node(s) had untolerated taint(s)",
    ),
    (
        "claim missing",
        lambda p: p.unschedulable(PVC),
        Reason.PERSISTENT_VOLUME_CLAIM_NOT_FOUND,
        'persistentvolumeclaim "weights" not found',
    ),
    (
        "claim unbound",
        lambda p: p.unschedulable(UNBOUND),
        Reason.PERSISTENT_VOLUME_CLAIM_NOT_BOUND,
        "unbound",
    ),
    (
        "claim lost",
        lambda p: p.unschedulable(
            '0/1 nodes are available: persistentvolumeclaim "w" bound to non-existent persistentvolume "pv"'
        ),
        Reason.PERSISTENT_VOLUME_CLAIM_NOT_BOUND,
        "non-existent",
    ),
    ("image", lambda p: p.waiting("ErrImagePull", PULL), Reason.IMAGE_PULL_FAILED, PULL),
    (
        "image, back-off",
        lambda p: p.waiting("ImagePullBackOff", f'Back-off pulling image "x/y:1": ErrImagePull: {PULL}'),
        Reason.IMAGE_PULL_FAILED,
        PULL,
    ),
    (
        "image name",
        lambda p: p.waiting("InvalidImageName", 'couldn\'t parse image name "X"'),
        Reason.IMAGE_PULL_FAILED,
        "X",
    ),
    (
        "secret",
        lambda p: p.waiting("CreateContainerConfigError", 'secret "hub" not found'),
        Reason.SECRET_NOT_FOUND,
        'secret "hub" not found',
    ),
    (
        "secret key",
        lambda p: p.waiting("CreateContainerConfigError", "couldn't find key token in Secret default/hub"),
        Reason.SECRET_NOT_FOUND,
        "couldn't find key token",
    ),
    (
        "config map",
        lambda p: p.waiting("CreateContainerConfigError", 'configmap "x" not found'),
        Reason.CONFIG_REFERENCE_MISSING,
        'configmap "x" not found',
    ),
    (
        "not creatable",
        lambda p: p.waiting("CreateContainerError", "failed to mkdir"),
        Reason.CONTAINER_CRASHED,
        "mkdir",
    ),
    (
        "out of memory",
        lambda p: p.crashed(exitCode=137, reason="OOMKilled"),
        Reason.HOST_OUT_OF_MEMORY,
        "exit code 137",
    ),
    ("probe killed", lambda p: p.crashed(exitCode=143), Reason.PROBE_KILLED, "exit code 143"),
    ("silent crash", lambda p: p.crashed(exitCode=139), Reason.CONTAINER_CRASHED, "exit code 139"),
    (
        "other container",
        lambda p: p.crashed(message="exec: python3: not found"),
        Reason.CONTAINER_CRASHED,
        "not found",
    ),
    (
        "classified",
        lambda p: p.crashed(message=words("KVCacheTooSmall", "8192 tokens need 4 GiB, 2 GiB are left")),
        Reason.KV_CACHE_TOO_SMALL,
        "8192 tokens need 4 GiB, 2 GiB are left",
    ),
    ("unknown word", lambda p: p.crashed(message=words("Mystery", "x")), Reason.CONTAINER_CRASHED, "Mystery"),
    (
        "restarted",
        lambda p: replace(
            p.loading(),
            container={
                **p.loading().container,
                "restartCount": 1,  # type: ignore[dict-item]
                "lastState": {
                    "terminated": {"exitCode": 1, "message": words("GPUOutOfMemory", "tried 2 GiB")}
                },
            },
        ),
        Reason.GPU_OUT_OF_MEMORY,
        "tried 2 GiB",
    ),
    (
        "evicted, disk",
        lambda p: p.failed("Evicted", "The node was low on resource: ephemeral-storage."),
        Reason.DISK_FULL,
        "ephemeral-storage",
    ),
    (
        "refused by the node",
        lambda p: p.failed("UnexpectedAdmissionError", "Allocate failed: no healthy nvidia.com/gpu"),
        Reason.UNSCHEDULABLE,
        "no healthy nvidia.com/gpu",
    ),
    (
        "evicted, memory",
        lambda p: p.failed("Evicted", "The node was low on resource: memory."),
        Reason.HOST_OUT_OF_MEMORY,
        "memory",
    ),
]


def with_pod(change: Callable[[PodBuilder], PodBuilder]) -> ClusterBuilder:
    cluster = a_cluster(MODEL).applied(MODEL.accepted())
    return cluster.with_pods(change(cluster.pod("opt-x")))


@pytest.mark.parametrize(("name", "change", "reason", "excerpt"), PODS, ids=[row[0] for row in PODS])
def test_pod_cause(
    name: str, change: Callable[[PodBuilder], PodBuilder], reason: Reason, excerpt: str
) -> None:
    status = status_of(MODEL, with_pod(change))
    ready = condition(status, "Ready")
    assert ready is not None
    assert said(status)["Ready"] == f"False/{reason}"
    assert said(status)["Available"] == f"False/{reason}"
    assert said(status)["PodsReady"] == f"False/{reason}"
    assert "Stalled" not in said(status)
    assert excerpt in ready["message"]
    assert f"{ADVICE[reason].what} on pod opt-x: " in ready["message"]
    assert ready["message"].endswith(f". Remedy: {ADVICE[reason].remedy}. See docs/reasons.md#{reason}")


def test_a_crash_before_the_pod_was_ready_is_no_cause_afterwards() -> None:
    last = {"terminated": {"exitCode": 1, "message": words("GPUMemoryBusy", "x")}}
    pod = with_pod(lambda pod: pod.lost().with_container(restartCount=1, lastState=last))
    assert said(status_of(MODEL, pod))["Ready"] == "False/ProbeFailed"


def test_pull_and_back_off_say_the_same() -> None:
    first, second = PODS[5][1], PODS[6][1]
    assert status_of(MODEL, with_pod(first)) == status_of(MODEL, with_pod(second))


def test_the_entry_point_may_know_a_better_remedy() -> None:
    text = words("KVCacheTooSmall", "too long", remedy="set `max_model_len` to 2048")
    ready = condition(status_of(MODEL, with_pod(lambda pod: pod.crashed(message=text))), "Ready")
    assert ready is not None
    assert "Remedy: set `max_model_len` to 2048. See" in ready["message"]


@pytest.mark.parametrize("reason", sorted(SPEC_CURABLE))
def test_five_crashes_that_only_the_spec_can_cure_stall(reason: Reason) -> None:
    for restarts, stalled in ((3, False), (5, True)):
        pod = with_pod(lambda pod, n=restarts: pod.crashed(n, message=words(reason, "x")))  # type: ignore[misc]
        found = said(status_of(MODEL, pod))
        assert ("Stalled" in found) is stalled
        assert ("Reconciling" in found) is not stalled


@pytest.mark.parametrize(("second", "stalled"), [("no draft model", True), ("another sentence", False)])
def test_what_only_looks_like_a_refusal_needs_a_second_pod(second: str, stalled: bool) -> None:
    """The entry point knows neither text: it judges by the place in vLLM's source."""

    def crashed(text: str) -> Callable[[PodBuilder], PodBuilder]:
        told = words("InvalidEngineArgs", text, inferred=True)
        return lambda pod: pod.crashed(5, message=told)

    one = with_pod(crashed("no draft model"))
    assert "Stalled" not in said(status_of(MODEL, one))
    two = one.with_pods(crashed(second)(one.pod("opt-y")))
    assert ("Stalled" in said(status_of(MODEL, two))) is stalled


def test_what_may_heal_never_stalls() -> None:
    for reason in set(Reason) - SPEC_CURABLE:
        pod = with_pod(lambda pod, r=reason: pod.crashed(50, message=words(r, "x")))  # type: ignore[misc]
        assert "Stalled" not in said(status_of(MODEL, pod)), reason


def test_quota_is_quoted_without_the_generated_name() -> None:
    messages = set()
    for name in ("opt-1-aaaaa", "opt-1-bbbbb"):
        failure = {
            "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
            "message": f'pods "{name}" is forbidden: exceeded quota: gpus, requested: 1, used: 2, limited: 2',
        }  # fmt: skip
        cluster = a_cluster(MODEL).applied(MODEL.accepted(), conditions=[failure])
        ready = condition(status_of(MODEL, cluster), "Ready")
        assert ready is not None
        assert ready["reason"] == "AdmissionRejected"
        messages.add(ready["message"])
    assert len(messages) == 1
    assert "exceeded quota: gpus, requested: 1, used: 2, limited: 2" in messages.pop()


@pytest.mark.parametrize("verdict", [v for v in ProbeVerdict if v is not ProbeVerdict.SERVING])
def test_probe_verdicts(verdict: ProbeVerdict) -> None:
    status = status_of(MODEL, serving().probed("a", verdict, "words of the probe"))
    expected = "Unknown" if verdict is ProbeVerdict.UNREACHABLE else "False"
    assert said(status)["Ready"] == said(status)["Available"] == f"{expected}/{verdict}"
    assert said(status)["PodsReady"] == "True/Serving"
    assert said(status)["ModelServing"] == f"{expected}/{verdict}"
    assert status["failingPods"] == [{"name": "a", "reason": verdict, "message": "words of the probe"}]


def test_a_pod_that_loses_readiness_fails_and_one_that_starts_does_not() -> None:
    cluster = a_cluster(MODEL).applied(MODEL.accepted())
    lost = status_of(MODEL, cluster.with_pods(cluster.pod("a").lost()))
    assert said(lost)["Ready"] == "False/ProbeFailed"
    starting = cluster.pod("a").loading().with_container(started=True)
    assert said(status_of(MODEL, cluster.with_pods(starting)))["Ready"] == "Unknown/LoadingModel"


def test_a_ready_pod_counts_only_after_an_inference() -> None:
    cluster = a_cluster(MODEL).applied(MODEL.accepted())
    cluster = cluster.with_pods(cluster.pod("a").ready())
    assert said(status_of(MODEL, cluster))["Ready"] == "Unknown/LoadingModel"
    assert said(status_of(MODEL, cluster.probed("a")))["Ready"] == "True/Serving"


def test_one_of_two_that_hangs_takes_ready_and_leaves_available() -> None:
    model = MODEL.with_replicas(2)
    cluster = serving()
    cluster = cluster.with_pods(cluster.pod("b").ready()).probed("b", ProbeVerdict.TIMEOUT, "no answer")
    found = said(status_of(model, cluster))
    assert found["Ready"] == "False/ProbeTimeout"
    assert found["Available"] == "True/Serving"


def test_a_crashing_new_revision_is_named_while_the_old_one_serves() -> None:
    cluster = rolling()
    cluster = cluster.with_pods(cluster.pod("new").crashed(message=words("GPUOutOfMemory", "tried 2 GiB")))
    found = said(status_of(MODEL, cluster))
    assert found["Ready"] == "False/GPUOutOfMemory"
    assert found["Available"] == "True/Serving"
    assert found["Reconciling"] == "True/GPUOutOfMemory"


def test_a_rollout_is_done_when_the_old_pods_are_gone() -> None:
    cluster = rolling()
    cluster = cluster.with_pods(cluster.pod("new").ready()).probed("new")
    status = status_of(MODEL, cluster)
    assert said(status)["Ready"] == "Unknown/RollingOut"
    ending = replace(cluster, pods=(cluster.pods[0].terminating(), cluster.pods[1]))
    status = status_of(MODEL, ending)
    assert said(status)["Ready"] == "True/Serving"
    assert status["currentRevision"] == status["updateRevision"] == MODEL.accepted().name("opt")


def test_kubectl_rollout_restart_is_a_roll_of_the_same_revision() -> None:
    cluster = serving().applied(MODEL.accepted())
    status = status_of(MODEL, cluster)
    assert said(status)["Ready"] == "Unknown/RollingOut"
    assert said(status)["Available"] == "True/Serving"
    new = cluster.with_pods(cluster.pod("b").ready()).probed("b")
    assert said(status_of(MODEL, replace(new, pods=new.pods[1:])))["Ready"] == "True/Serving"


def test_the_failing_pods_are_at_most_ten() -> None:
    cluster = a_cluster(MODEL).applied(MODEL.accepted())
    cluster = cluster.with_pods(*(cluster.pod(f"p{n:02}").crashed(exitCode=3) for n in range(30)))
    failing = status_of(MODEL.with_replicas(30), cluster)["failingPods"]
    assert [pod["name"] for pod in failing] == [f"p{n:02}" for n in range(10)]


def test_what_the_backend_reports() -> None:
    model = MODEL.with_replicas(2)
    cluster = a_cluster(model).applied(model.accepted())
    cluster = cluster.with_pods(cluster.pod("a").ready(), cluster.pod("b").ready())
    cluster = cluster.probed("a", backend=BackendInfo("2.60.0", "0.32.0", ("c" * 40,)))
    cluster = cluster.probed("b", backend=BackendInfo("2.60.0", "0.32.0", ("d" * 40,)))
    status = status_of(model, cluster)
    assert status["runtime"] == {"image": model.accepted().image, "triton": "2.60.0", "vllm": "0.32.0"}
    assert status["modelRevisions"] == ["c" * 40, "d" * 40]
    kept = status_of(model.with_status(status), replace(cluster, probes={}))
    assert kept["runtime"] == status["runtime"]
    assert kept["modelRevisions"] == status["modelRevisions"]


def test_every_reason_has_its_words() -> None:
    assert set(ADVICE) == set(Reason)
    for reason in Reason:
        text = message(reason, pod="p", excerpt="x")
        assert f"{ADVICE[reason].what} on pod p: x." in text
        assert "\n" not in text


def test_a_pod_of_another_namespaced_world_is_no_trouble() -> None:
    cluster = a_cluster(a_model()).applied(a_model().accepted()).with_pods(PodBuilder("stray", "other"))
    assert said(status_of(a_model(), cluster))["Ready"] == "Unknown/RollingOut"


def test_every_reason_is_documented() -> None:
    assert set(SIGNS) == set(Reason)
