"""The effect table: every field of the spec is in it, and each does what it says."""

from collections.abc import Iterator
from typing import Any

import pytest

from unit.builders import SETTINGS, ModelBuilder, a_model
from vllm_operator.api.crd import schema
from vllm_operator.desired.effects import EFFECTS, Restart, changes, effect_of
from vllm_operator.desired.revision import accept
from vllm_operator.desired.state import build

PERMISSIVE = SETTINGS.model_copy(
    update={
        "allowed_images": ("other.example.com/",),
        "allowed_priority_classes": ("high",),
        "allowed_runtime_classes": ("nvidia",),
        "permitted_engine_args": ("trust_remote_code",),
    }
)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BASE = a_model().with_spec(
    source={"huggingFace": {"repository": "facebook/opt-125m", "revision": COMMIT}}, gpus={"count": 8}
)
CLAIM = {"persistentVolumeClaim": {"claimName": "weights"}}
IMAGE = {"image": {"reference": "registry.example.com/weights:1"}}
TERM = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
PODS = {"labelSelector": {"matchLabels": {"a": "b"}}, "topologyKey": "zone"}

#: For every field at least one change: the model before, the model after.
CHANGES: dict[str, tuple[ModelBuilder, ModelBuilder]] = {
    "source.huggingFace.repository": (
        BASE,
        BASE.with_source(huggingFace={"repository": "a/b", "revision": COMMIT}),
    ),
    "source.huggingFace.revision": (BASE, BASE.with_source(huggingFace={"repository": "facebook/opt-125m"})),
    "source.huggingFace.tokenSecretKeyRef": (
        BASE,
        BASE.with_source(
            huggingFace={
                "repository": "facebook/opt-125m",
                "revision": COMMIT,
                "tokenSecretKeyRef": {"name": "hub", "key": "token"},
            }
        ),
    ),
    "source.persistentVolumeClaim": (BASE, BASE.with_source(**CLAIM)),
    "source.persistentVolumeClaim.path": (
        BASE.with_source(**CLAIM),
        BASE.with_source(persistentVolumeClaim={"claimName": "weights", "path": "a/b"}),
    ),
    "source.image": (BASE, BASE.with_source(**IMAGE)),
    "source.image.pullPolicy": (
        BASE.with_source(**IMAGE),
        BASE.with_source(image={"reference": "registry.example.com/weights:1", "pullPolicy": "Always"}),
    ),
    "source.image.path": (
        BASE.with_source(**IMAGE),
        BASE.with_source(image={"reference": "registry.example.com/weights:1", "path": "a"}),
    ),
    "servedName": (BASE, BASE.with_spec(servedName="other")),
    "engineArgs": (BASE, BASE.with_engine_args(enforce_eager=True)),
    "engineArgs.tensor_parallel_size": (BASE, BASE.with_engine_args(tensor_parallel_size=2)),
    "engineArgs.pipeline_parallel_size": (BASE, BASE.with_engine_args(pipeline_parallel_size=2)),
    "engineArgs.data_parallel_size": (BASE, BASE.with_engine_args(data_parallel_size=2)),
    "engineArgs.prefill_context_parallel_size": (
        BASE,
        BASE.with_engine_args(prefill_context_parallel_size=2),
    ),
    "engineArgs.max_model_len": (BASE, BASE.with_engine_args(max_model_len=64)),
    "engineArgs.enable_lora": (BASE, BASE.with_engine_args(enable_lora=True)),
    "engineArgs.max_lora_rank": (
        BASE.with_engine_args(enable_lora=True),
        BASE.with_engine_args(enable_lora=True, max_lora_rank=32),
    ),
    "engineArgs.distributed_executor_backend": (
        BASE,
        BASE.with_engine_args(distributed_executor_backend="mp"),
    ),
    "engineArgs.runner": (BASE, BASE.with_engine_args(runner="generate")),
    "engineArgs.trust_remote_code": (BASE, BASE.with_engine_args(trust_remote_code=True)),
    "adapters": (BASE, BASE.with_spec(adapters=[{"name": "x", "source": CLAIM}])),
    "replicas": (BASE, BASE.with_replicas(3)),
    "gpus.count": (BASE, BASE.with_gpus(4)),
    "gpus.resourceName": (BASE, BASE.with_gpus(8, resourceName="amd.com/gpu")),
    **{
        f"resources.{kind}.{name}": (BASE, BASE.with_spec(resources={kind: {name: "4Gi"}}))
        for kind in ("requests", "limits")
        for name in ("cpu", "memory", "ephemeral-storage")
    },
    "sharedMemory.sizeLimit": (BASE, BASE.with_spec(sharedMemory={"sizeLimit": "4Gi"})),
    "cache.emptyDir.sizeLimit": (BASE, BASE.with_spec(cache={"emptyDir": {"sizeLimit": "4Gi"}})),
    "cache.persistentVolumeClaim": (BASE, BASE.with_spec(cache=CLAIM)),
    "runtime.image": (BASE, BASE.with_runtime(image="other.example.com/triton:2")),
    "runtime.imagePullSecrets": (BASE, BASE.with_runtime(imagePullSecrets=[{"name": "pull"}])),
    "runtime.env": (BASE, BASE.with_runtime(env=[{"name": "NCCL_DEBUG", "value": "INFO"}])),
    "runtime.logLevel": (BASE, BASE.with_runtime(logLevel="debug")),
    "runtime.startupTimeoutSeconds": (BASE, BASE.with_runtime(startupTimeoutSeconds=3600)),
    "runtime.drainSeconds": (BASE, BASE.with_runtime(drainSeconds=60)),
    "runtime.frontEnds": (BASE, BASE.with_runtime(frontEnds=4)),
    "probe.generate": (
        BASE,
        BASE.with_probe(generate={"prompt": "x", "maxTokens": 2, "expectContains": "y"}),
    ),
    "probe.embed": (BASE, BASE.with_probe(embed={"input": "x"})),
    "probe.periodSeconds": (BASE, BASE.with_probe(periodSeconds=30)),
    "probe.timeoutSeconds": (BASE, BASE.with_probe(timeoutSeconds=30)),
    "probe.failureThreshold": (BASE, BASE.with_probe(failureThreshold=5)),
    "scheduling.nodeSelector": (BASE, BASE.with_spec(scheduling={"nodeSelector": {"a": "b"}})),
    "scheduling.tolerations": (BASE, BASE.with_spec(scheduling={"tolerations": [{"operator": "Exists"}]})),
    "scheduling.affinity.nodeAffinity": (
        BASE,
        BASE.with_spec(
            scheduling={
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [TERM]}
                    }
                }
            }
        ),
    ),
    **{
        f"scheduling.affinity.{kind}": (
            BASE,
            BASE.with_spec(
                scheduling={"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [PODS]}}}
            ),
        )
        for kind in ("podAffinity", "podAntiAffinity")
    },
    "scheduling.topologySpreadConstraints": (
        BASE,
        BASE.with_spec(
            scheduling={
                "topologySpreadConstraints": [
                    {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
                ]
            }
        ),
    ),
    "scheduling.priorityClassName": (BASE, BASE.with_spec(scheduling={"priorityClassName": "high"})),
    "scheduling.runtimeClassName": (BASE, BASE.with_spec(scheduling={"runtimeClassName": "nvidia"})),
    "rollout.type": (BASE, BASE.with_spec(rollout={"type": "Recreate"})),
    "rollout.rollingUpdate": (BASE, BASE.with_spec(rollout={"rollingUpdate": {"maxSurge": 2}})),
    "paused": (BASE, BASE.paused()),
}


def leaves(node: dict[str, Any], path: str) -> Iterator[str]:
    properties = node.get("properties")
    if properties:
        for name, child in properties.items():
            yield from leaves(child, f"{path}.{name}" if path else name)
    else:
        yield path


LEAVES = sorted(leaves(schema()["properties"]["spec"], ""))


@pytest.mark.parametrize("path", LEAVES)
def test_every_field_has_an_effect_and_a_change_that_shows_it(path: str) -> None:
    effect_of(path)
    assert any(path == changed or path.startswith(f"{changed}.") for changed in CHANGES), path


def test_no_effect_is_of_a_field_that_does_not_exist() -> None:
    for entry in EFFECTS:
        assert any(path == entry or path.startswith(f"{entry}.") for path in LEAVES), entry


@pytest.mark.parametrize("path", sorted(CHANGES))
def test_a_change_does_what_the_table_says(path: str) -> None:
    before, after = CHANGES[path]
    found = changes(before.parsed().spec, after.parsed().spec)
    assert found, "the change changes nothing"
    first = before.accepted(PERMISSIVE)
    second = accept(after.parsed(), PERMISSIVE, current=first)
    old, new = (
        build(model.identity(), revision, replicas=model.parsed().spec.replicas)
        for model, revision in ((before, first), (after, second))
    )
    rolls = old.deployment["spec"]["template"] != new.deployment["spec"]["template"]
    assert rolls is (effect_of(path).restart is not Restart.NONE)
    assert rolls is (first.hash != second.hash)
    if path == "replicas":
        assert old.deployment["spec"]["replicas"] != new.deployment["spec"]["replicas"]
    elif path.startswith("probe"):
        assert first.probe != second.probe
    elif path.startswith("rollout"):
        assert old.deployment["spec"]["strategy"] != new.deployment["spec"]["strategy"]
