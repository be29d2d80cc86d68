"""Wrong specs, their correction, and specs that were accepted before."""

import json

from faults.scenario import scenario
from faults.scene import PROBE, Scene
from operatorkit.kubelet import crashing
from operatorkit.waiting import stays, wait_for

_TOO_LONG = {"reason": "MaxModelLenExceedsModel", "detail": "ValueError: 100000 is too long", "exitCode": 1}


@scenario(bound=60, quick=True)
def a_wrong_first_spec_on_one_gpu(scene: Scene) -> None:
    """The first revision crashes and holds the only GPU; its correction needs that GPU."""
    node = scene.node(gpus=1)
    scene.operator()
    crash = crashing(json.dumps(_TOO_LONG))

    def status(pod: dict[str, object]) -> dict[str, object]:
        return (crash if wrong & _hashes(pod) else scene.healthy)(pod)

    def _hashes(pod: dict[str, object]) -> set[str]:
        metadata = pod["metadata"]
        assert isinstance(metadata, dict)
        return {str(metadata["labels"].get("pod-template-hash"))}

    wrong: set[str] = set()
    node.behave(scene.namespace, "llama", crash)
    scene.models.create(
        "llama",
        probe=PROBE,
        gpus={"count": 1},
        scheduling=node.scheduling,
        engineArgs={"max_model_len": 100_000},
    )
    scene.down("llama", because="its only pod crashes")
    scene.reported("llama", "Ready", "False", "MaxModelLenExceedsModel", "ContainerCrashed")
    wrong |= {hash_ for pod in scene.models.pods("llama") for hash_ in _hashes(pod)}
    node.behave(scene.namespace, "llama", status)
    scene.open("llama", because="the correction serves")
    scene.models.edit("llama", engineArgs={"max_model_len": 512})
    scene.reported("llama", "Ready", "True", "Serving")

    def as_the_spec_says() -> bool:
        (deployment,) = scene.models.children("llama")["deployments"]
        rolling = deployment["spec"]["strategy"].get("rollingUpdate", {})
        return rolling.get("maxUnavailable") in (0, "0%") and rolling.get("maxSurge") in (1, "1")

    wait_for("the strategy is the spec's again", as_the_spec_says, 20)


@scenario(bound=60)
def a_serving_model_is_not_drained_for_a_roll(scene: Scene) -> None:
    """One GPU, a serving model, and a new revision: the old pod serves on, the status says what to do."""
    node = scene.node(gpus=1)
    scene.operator()
    scene.serve("llama", gpus={"count": 1}, scheduling=node.scheduling, engineArgs={"max_model_len": 64})
    scene.serves("llama")
    scene.models.edit("llama", engineArgs={"max_model_len": 128})
    scene.reported("llama", "Ready", "Unknown", "WaitingForGPU", "WaitingForOldPods", says="Recreate")
    stays(
        "it serves on",
        lambda: scene.models.condition("llama", "Available").get("status", "True") == "True",
        15,
    )


@scenario(bound=30)
def a_bad_edit_of_a_serving_model(scene: Scene) -> None:
    """An edit that vLLM would refuse: nothing changes, the status says so, the old revision serves."""
    scene.operator()
    scene.serve("llama")
    before = scene.models.children("llama")["deployments"][0]["metadata"]["generation"]
    scene.serves("llama")
    scene.models.edit("llama", engineArgs={"no_such_argument": 1})
    scene.reported("llama", "Stalled", "True", "InvalidEngineArgs")
    assert scene.models.children("llama")["deployments"][0]["metadata"]["generation"] == before
    scene.models.edit("llama", engineArgs={"no_such_argument": None})
    scene.reported("llama", "Ready", "True", "Serving")


@scenario(bound=30)
def an_accepted_spec_stays_accepted(scene: Scene) -> None:
    """The image turns out to have an older vLLM, which does not know an argument of the running spec."""
    first = scene.operator()
    scene.serve("llama", engineArgs={"max_num_queued_reqs": 100})
    assert first.terminate() == 0
    scene.operator(POD_NAME="second", VLLM_VERSIONS="registry.example/triton-vllm:*=0.26.0")
    scene.serves("llama")
    scene.models.edit("llama", replicas=2)
    wait_for(
        "it is scaled",
        lambda: scene.models.children("llama")["deployments"][0]["spec"]["replicas"] == 2,
        30,
    )
    scene.reported("llama", "Ready", "True", "Serving")
    assert not scene.models.condition("llama", "Stalled"), scene.models.condition("llama", "Stalled")


@scenario(bound=30)
def stricter_rules_after_a_restart(scene: Scene) -> None:
    """The administrator's list of images no longer has the one that runs."""
    first = scene.operator()
    scene.serve("llama")
    assert first.terminate() == 0
    scene.serves("llama")
    scene.operator(POD_NAME="second", ALLOWED_IMAGES="registry.example/other:*")
    scene.models.edit("llama", replicas=2)
    wait_for(
        "it is scaled",
        lambda: scene.models.children("llama")["deployments"][0]["spec"]["replicas"] == 2,
        30,
    )
    scene.reported("llama", "Ready", "True", "Serving")
    stays("not stalled", lambda: not scene.models.condition("llama", "Stalled"), 8)


@scenario(bound=30)
def scaled_to_zero_and_back(scene: Scene) -> None:
    """A model is scaled to zero, and to two again."""
    scene.operator()
    scene.serve("llama")
    scene.open("llama", because="scaled to zero")
    scene.models.edit("llama", replicas=0)
    scene.reported("llama", "Ready", "True", "ScaledToZero")
    wait_for("no pod is left", lambda: not scene.models.pods("llama"))
    scene.reported("llama", "Available", "False")
    scene.open("llama", because="scaled to two")
    scene.models.edit("llama", replicas=2)
    scene.reported("llama", "Ready", "True", "Serving")


@scenario(bound=30)
def paused_and_changed(scene: Scene) -> None:
    """A serving model is paused, its Deployment scaled down by hand, and unpaused."""
    scene.operator()
    scene.serve("llama")
    scene.serves("llama")
    scene.models.edit("llama", paused=True)
    scene.reported("llama", "Ready", "True", "Paused")
    scene.open("llama", because="paused without a pod")
    scene.api.merge("deployments", scene.namespace, "llama", {"spec": {"replicas": 0}})
    wait_for("no pod is left", lambda: not scene.models.pods("llama"))
    scene.reported("llama", "Available", "False")
    scene.models.edit("llama", paused=False)
    scene.open("llama", because="unpaused")
    scene.reported("llama", "Ready", "True", "Serving")
