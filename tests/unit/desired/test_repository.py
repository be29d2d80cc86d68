"""The model repository: what Triton is told of the model."""

from typing import Any

import pytest

from unit.builders import a_model


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
