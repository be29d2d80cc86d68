"""The model repository: what Triton is told of the model."""

import json
from typing import Any

import pytest

from unit.builders import SETTINGS, ModelBuilder, a_model


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
    revision = model.accepted(SETTINGS.model_copy(update={"allow_pickled_weights": pickled}))
    value: str | None = json.loads(revision.repository["model.json"]).get("load_format")
    return value


@pytest.mark.parametrize(
    ("given", "closed", "opened"),
    [
        ({}, "safetensors", None),
        ({"load_format": "auto"}, "safetensors", "auto"),
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
