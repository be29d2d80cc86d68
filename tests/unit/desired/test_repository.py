"""The model repository: what Triton is told of the model."""

import json
from typing import Any

import pytest

from unit.builders import SETTINGS, ModelBuilder, a_model
from vllm_operator.desired.repository import engine_args


def config(**runtime: Any) -> str:
    text: str = a_model().with_runtime(**runtime).built().config_map["data"]["config.pbtxt"]
    return text


@pytest.mark.parametrize(
    ("runtime", "instances"),
    [({}, 1), ({"frontEnds": 1}, 1), ({"frontEnds": 4}, 4)],
    ids=["absent", "one", "four"],
)
def test_front_ends_are_instances_of_one_group(runtime: dict[str, Any], instances: int) -> None:
    # To the byte: another text for the same model would roll its pods.
    assert config(**runtime) == (
        'name: "opt"\n'
        "instance_group {\n"
        f"  count: {instances}\n"
        "  kind: KIND_MODEL\n"
        "}\n"
        'backend: "vllm"\n'
        "model_transaction_policy {\n"
        "  decoupled: true\n"
        "}\n"
    )


def load_format(model: ModelBuilder, *, pickled: bool = False) -> str | None:
    value: str | None = engine_args(model.parsed().spec, pickled_weights=pickled).get("load_format")
    return value


@pytest.mark.parametrize(
    ("given", "closed", "opened"),
    [
        ({}, "safetensors", None),
        ({"load_format": None}, "safetensors", None),
        ({"load_format": "auto"}, "safetensors", "auto"),
        ({"load_format": "HF"}, "safetensors", "HF"),
        ({"load_format": "mistral"}, "mistral", "mistral"),
        ({"load_format": "safetensors"}, "safetensors", "safetensors"),
        ({"load_format": "dummy"}, "dummy", "dummy"),
    ],
)
@pytest.mark.parametrize(
    "source",
    [
        {"huggingFace": {"repository": "a/b"}},
        {"persistentVolumeClaim": {"claimName": "weights"}},
        {"image": {"reference": "registry.example.com/weights:1"}},
    ],
    ids=["hub", "claim", "image"],
)
def test_pickled_weights_are_loaded_only_where_the_administrator_lets_them(
    source: dict[str, Any], given: dict[str, Any], closed: str, opened: str | None
) -> None:
    model = a_model().with_source(**source).with_engine_args(**given)
    assert load_format(model) == closed
    assert load_format(model, pickled=True) == opened


@pytest.mark.parametrize("allowed", [False, True])
def test_the_administrator_decides_for_new_revisions(allowed: bool) -> None:
    revision = a_model().accepted(SETTINGS.model_copy(update={"allow_pickled_weights": allowed}))
    assert ("safetensors" in json.loads(revision.repository["model.json"]).values()) is not allowed
