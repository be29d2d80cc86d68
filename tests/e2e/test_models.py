"""The life of models on a real node: applied, served, scaled, rolled, refused, deleted.

The tests share two models, since each pod takes over a minute to load. They run in the order of this file;
each one first waits for what it needs.
"""

import json
from typing import Any

import pytest

from demo.conditions import condition, has, wait_for
from demo.kubectl import CommandFailed, Kubectl, Recording
from e2e.load import Clients
from e2e.models import LOADED_WITHIN, TAUGHT, Served

#: What a roll of two replicas may take on two cores: each new pod loads while the old ones answer.
ROLLED_WITHIN = 1200.0

pytestmark = pytest.mark.timeout(1500)


def statuses(recording: Recording, kind: str) -> list[str]:
    """The statuses that a condition had one after the other; `absent` where it was not there."""
    found: list[str] = []
    for version in recording.versions:
        status = condition(version, kind).get("status", "absent")
        if not found or found[-1] != status:
            found.append(status)
    return found


def test_namespaces_enforce_the_restricted_standard(kubectl: Kubectl, tiny: Served) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "no", "namespace": tiny.namespace}}
    spec = {"containers": [{"name": "c", "image": "x", "securityContext": {"privileged": True}}]}
    with pytest.raises(CommandFailed, match="violates PodSecurity"):
        kubectl.apply({**pod, "spec": spec})


def test_an_applied_model_becomes_ready_and_streams_text(tiny: Served) -> None:
    model = tiny.wait(Ready="True", Available="True", Reconciling=None, Stalled=None)
    status = model["status"]
    assert condition(model, "Ready")["reason"] == "Serving"
    assert (status["replicas"], status["readyReplicas"], status["updatedReplicas"]) == (1, 1, 1)
    assert status["endpoints"]["grpc"].endswith(":8001")
    assert status["runtime"]["vllm"], "the backend's versions are in the status"
    for taught in TAUGHT["prompts"]:
        tiny.stream(taught)
        tiny.generate(taught)


def test_kubectl_get_shows_it(kubectl: Kubectl, tiny: Served) -> None:
    tiny.wait(Ready="True")
    header, *rows = kubectl.run("get", "vllm", "--namespace", tiny.namespace).splitlines()
    assert header.split() == ["NAME", "READY", "REASON", "MODEL", "REPLICAS", "GPUS", "AGE"]
    (row,) = [row for row in rows if row.startswith(f"{tiny.name} ")]
    assert row.split()[1:3] == ["True", "Serving"]


def test_a_model_on_a_claim_serves_beside_it(claimed: Served) -> None:
    claimed.wait(Ready="True")
    claimed.stream()


def test_a_bad_generation_leaves_the_good_one_serving_scaled_and_repaired(claimed: Served) -> None:
    claimed.wait(Ready="True")
    before, config = claimed.pod_ids(), claimed.config_maps_in_use()

    claimed.patch(engineArgs={"max_model_lem": 256})
    claimed.wait(60, Ready="InvalidEngineArgs", Available="True", Stalled="True", Reconciling=None)
    assert "max_model_len" in claimed.message("Ready"), "the nearest valid name is given"
    claimed.stream()

    claimed.scale(2)
    claimed.wait_for_pods(2)
    assert claimed.config_maps_in_use() == config, "the new pod is of the good revision"
    claimed.scale(1)
    claimed.wait_for_pods(1, timeout=120)

    service = claimed.kubectl.get("service", claimed.name, claimed.namespace)
    assert service is not None
    claimed.kubectl.delete("service", claimed.name, claimed.namespace)

    def repaired() -> bool:
        now = claimed.kubectl.get("service", claimed.name, claimed.namespace)
        return now is not None and now["metadata"]["uid"] != service["metadata"]["uid"]

    wait_for("the deleted Service to be back", repaired, timeout=30)
    wait_for("the new Service to have the pod", lambda: endpoints(claimed), timeout=30)
    claimed.stream()
    assert claimed.pod_ids() == before, "the good pod was not restarted"

    claimed.patch(engineArgs={"max_model_lem": None})
    claimed.wait(60, Ready="True", Available="True", Stalled=None, Reconciling=None)
    assert claimed.pod_ids() == before


def endpoints(model: Served) -> list[Any]:
    slices = model.kubectl.list("endpointslices", model.namespace, f"kubernetes.io/service-name={model.name}")
    return [
        each for piece in slices for each in piece.get("endpoints") or [] if each["conditions"].get("ready")
    ]


def test_a_deleted_model_leaves_nothing_within_a_minute(claimed: Served) -> None:
    uid = claimed.get()["metadata"]["uid"]
    claimed.kubectl.delete("vllm", claimed.name, claimed.namespace)
    wait_for(
        "nothing of the model to be left", lambda: not remains(claimed, uid), timeout=60,
        describe=lambda: f"Left: {remains(claimed, uid)}",
    )  # fmt: skip


def remains(model: Served, uid: str) -> list[str]:
    """Every object in the namespace that bears the model's label, name or ownership."""
    listed = model.kubectl.run("api-resources", "--namespaced", "--verbs=list", "--output=name").split()
    # Events outlive what they tell of, by design of Kubernetes.
    kinds = ",".join(kind for kind in listed if not kind.startswith("events"))
    found = []
    for each in model.kubectl.list(kinds, model.namespace):
        meta = each["metadata"]
        owned = any(owner["uid"] == uid for owner in meta.get("ownerReferences", []))
        labelled = meta.get("labels", {}).get("triton-vllm.dev/model") == model.name
        if meta["uid"] == uid or owned or labelled:
            found.append(f"{each['kind']}/{meta['name']}")
    return found


def test_scaled_to_two_both_answer(tiny: Served) -> None:
    tiny.wait(Ready="True")
    first = tiny.pod_ids()
    tiny.scale(2)
    model = tiny.wait(LOADED_WITHIN, Ready="True", Available="True", Reconciling=None)
    assert model["status"]["readyReplicas"] == 2
    assert first.items() <= tiny.pod_ids().items(), "the first pod was not restarted"
    assert len(endpoints(tiny)) == 2


def test_an_engine_argument_is_rolled_without_a_failed_request(tiny: Served) -> None:
    if len(tiny.pods()) != 2:
        tiny.scale(2)
    tiny.wait(Ready="True")
    before, revision = tiny.pod_ids(), tiny.get()["status"]["currentRevision"]
    with Clients(tiny) as clients, Recording(tiny.kubectl, "vllm", tiny.name, tiny.namespace) as recording:
        wait_for("every client to be answered once", lambda: len(clients.answered) == 3, timeout=90)
        tiny.patch(engineArgs={"max_model_len": 640})
        tiny.wait(60, Reconciling="True")
        tiny.wait(ROLLED_WITHIN, Ready="True", Reconciling=None)
        # The last old pod may still be ending: clients go on until it is gone.
        tiny.wait_for_pods(2, timeout=120)
        assert clients.failures == [], f"answered: {clients.answered}"
        so_far = dict(clients.answered)
        wait_for(
            "every client to be answered after the roll",
            lambda: all(clients.answered[kind] > count for kind, count in so_far.items()),
            timeout=90,
        )
    assert clients.failures == [], f"answered: {clients.answered}"
    assert not before.keys() & tiny.pod_ids().keys(), "both pods are new"
    assert tiny.get()["status"]["currentRevision"] != revision
    print(f"requests answered during the roll: {json.dumps(clients.answered)}")

    assert statuses(recording, "Available") == ["True"]
    assert statuses(recording, "Reconciling") == ["absent", "True", "absent"]
    assert statuses(recording, "Stalled") == ["absent"]
    # Loading: the last new pod is up, the last old one is gone, and no inference was answered yet.
    reasons = {"Serving", "RollingOut", "LoadingModel"}
    if any(tiny.pod_ids().values()):
        # The machine stalled and Triton gave a new pod's stub up (docs/backend.md, "Known limits"): its
        # container was started again, which is what the status has to say meanwhile.
        reasons |= {"StubTimeout"}
        assert statuses(recording, "Ready")[:2] == ["True", "Unknown"]
        assert statuses(recording, "Ready")[-1] == "True"
    else:
        assert statuses(recording, "Ready") == ["True", "Unknown", "True"]
    for version in recording.versions:
        ready = condition(version, "Ready")
        assert (ready["status"] == "True") == (not condition(version, "Reconciling"))
        assert ready["reason"] in reasons, ready
        assert ready["message"] or ready["reason"] == "Serving"


def test_scaled_back_to_one_nothing_restarts(tiny: Served) -> None:
    before = tiny.pod_ids()
    tiny.scale(1)
    tiny.wait_for_pods(1, timeout=120)
    tiny.wait(60, Ready="True", Available="True", Reconciling=None)
    assert tiny.pod_ids().items() <= before.items()
    tiny.stream()


def test_without_a_spare_gpu_the_roll_waits_and_the_old_pod_serves(tiny: Served, gpus: Any) -> None:
    tiny.wait(Ready="True")
    old = tiny.pod_ids()
    gpus(1)
    tiny.patch(engineArgs={"max_model_len": 768})
    model = tiny.wait(90, Ready="WaitingForGPU", Available="True", Reconciling="True", Stalled=None)
    assert condition(model, "Ready")["status"] == "Unknown"
    assert "Recreate" in tiny.message("Ready"), "the way out is named"
    (waiting,) = [pod for pod in tiny.pods() if pod["metadata"]["uid"] not in old]
    assert waiting["status"]["phase"] == "Pending"
    tiny.stream()
    assert old.items() <= tiny.pod_ids().items()


def test_scaled_to_zero_it_is_ready_and_serves_nothing(tiny: Served) -> None:
    tiny.scale(0)
    model = tiny.wait(120, Ready="ScaledToZero", Available="False", Reconciling=None, Stalled=None)
    assert has(model, Ready="True")
    tiny.wait_for_pods(0, timeout=120)


def test_scaled_back_from_zero_it_serves_the_newest_revision(tiny: Served, gpus: Any) -> None:
    gpus(1)
    tiny.scale(1)
    model = tiny.wait(LOADED_WITHIN, Ready="True", Available="True", Reconciling=None)
    assert model["status"]["currentRevision"] == model["status"]["updateRevision"]
    tiny.stream()
