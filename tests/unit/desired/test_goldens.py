"""The manifests of a few models in full, as files to read; `UPDATE_GOLDENS=1` writes them anew."""

import os
from copy import deepcopy
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from unit.builders import ModelBuilder, a_model

GOLDENS = Path(__file__).parent / "goldens"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

MODELS: dict[str, ModelBuilder] = {
    "smallest": a_model(),
    "two-gpus-from-the-hub": a_model()
    .named("llama")
    .with_spec(
        source={
            "huggingFace": {
                "repository": "meta-llama/Llama-3.1-8B",
                "revision": COMMIT,
                "tokenSecretKeyRef": {"name": "hub", "key": "token"},
            }
        },
        servedName="Llama-3.1",
        engineArgs={"tensor_parallel_size": 2, "max_model_len": 8192, "gpu_memory_utilization": 0.9},
        replicas=2,
        resources={"requests": {"cpu": 4, "memory": "24Gi"}, "limits": {"memory": "48Gi"}},
        sharedMemory={"sizeLimit": "8Gi"},
        cache={"persistentVolumeClaim": {"claimName": "hub-cache"}},
        rollout={"type": "Recreate"},
    ),
    "cpu-from-an-image-with-adapters": a_model()
    .named("tiny")
    .with_spec(
        source={"image": {"reference": "registry.example.com/tiny:1", "path": "model"}},
        adapters=[
            {"name": "sql", "source": {"persistentVolumeClaim": {"claimName": "adapters", "path": "sql"}}},
            {"name": "chat", "source": {"image": {"reference": "registry.example.com/chat-lora:3"}}},
            {"name": "hub", "source": {"huggingFace": {"repository": "org/lora"}}},
        ],
        gpus={"count": 0},
        resources={"limits": {"memory": "1536Mi"}},
        runtime={
            "env": [{"name": "VLLM_CPU_KVCACHE_SPACE", "value": "1"}],
            "imagePullSecrets": [{"name": "registry"}],
            "startupTimeoutSeconds": 600,
            "drainSeconds": 5,
        },
        scheduling={
            "nodeSelector": {"pool": "cpu"},
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
            ],
        },
    ),
}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_golden(name: str) -> None:
    model = MODELS[name]
    objects = [*model.built().objects, model.accepted().to_object(model.identity(), 1)]
    text = yaml.safe_dump_all(deepcopy(objects), sort_keys=True, width=110)
    file = GOLDENS / f"{name}.yaml"
    if os.environ.get("UPDATE_GOLDENS"):
        file.write_text(text)
    assert file.exists(), "no such golden: run with UPDATE_GOLDENS=1 and read what it wrote"
    assert list(yaml.safe_load_all(file.read_text())) == list(yaml.safe_load_all(text))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_goldens_are_valid_kubernetes_objects(name: str) -> None:
    for obj in yaml.safe_load_all((GOLDENS / f"{name}.yaml").read_text()):
        kubernetes_validate.validate(obj, "1.35", strict=True)


def test_there_is_no_golden_without_a_model() -> None:
    assert {file.stem for file in GOLDENS.glob("*.yaml")} == set(MODELS)
