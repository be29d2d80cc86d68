"""What a model is configured with, before a GPU is touched."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from vllm_triton.configuration import (
    check_engine_arguments,
    check_group,
    choose_devices,
    read_engine_arguments,
    read_settings,
)
from vllm_triton.errors import ModelInvalid

FIELDS = {"model": str, "max_model_len": int | None, "enable_lora": bool, "dtype": Literal["auto", "float16"]}


def settings(
    kind: str = "MODEL",
    device: str = "0",
    decoupled: bool = True,
    instance: str = "m_0",
    count: int = 1,
    **parameters: str,
) -> Any:
    config = {
        "instance_group": [{"name": "m_0", "kind": f"KIND_{kind}", "count": count}],
        "model_transaction_policy": {"decoupled": decoupled},
        "parameters": {name: {"string_value": value} for name, value in parameters.items()},
    }
    return read_settings(
        {
            "model_config": json.dumps(config),
            "model_name": "m",
            "model_version": "1",
            "model_instance_kind": kind,
            "model_instance_name": instance,
            "model_instance_device_id": device,
        },
        Path("/nowhere"),
    )


def test_parameters_are_read_whatever_their_case() -> None:
    found = settings(REPORT_CUSTOM_METRICS="True", ENABLE_VLLM_HEALTH_CHECK="false", DRAIN_SECONDS="3")
    assert found.report_metrics
    assert not found.check_health
    assert found.drain_seconds == 3


def test_the_drain_time_comes_from_the_environment_where_the_model_does_not_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRITON_VLLM_EXIT_TIMEOUT_SECONDS", "120")
    assert settings().drain_seconds == 120
    assert settings(DRAIN_SECONDS="4").drain_seconds == 4


def test_a_model_that_is_not_decoupled_is_refused() -> None:
    with pytest.raises(AssertionError, match="must be configured to use decoupled model transaction policy"):
        settings(decoupled=False)


@pytest.mark.parametrize("value", ["a", "0,-1", "1,1", "0,,1"])
def test_wrong_device_lists(value: str) -> None:
    with pytest.raises(ValueError, match="GPU_DEVICE_IDS"):
        settings(GPU_DEVICE_IDS=value)


def test_device_lists_are_for_kind_model() -> None:
    with pytest.raises(ValueError, match="KIND_MODEL"):
        settings(kind="GPU", GPU_DEVICE_IDS="0")


def test_devices() -> None:
    assert choose_devices(settings(), {}) is None
    assert choose_devices(settings(kind="GPU", device="2"), {}) == "2"
    assert choose_devices(settings(GPU_DEVICE_IDS="2, 3"), {"tensor_parallel_size": 2}) == "2,3"
    with pytest.raises(ValueError, match="please specify KIND_MODEL"):
        choose_devices(settings(kind="GPU"), {"tensor_parallel_size": 2})
    with pytest.raises(ValueError, match="names 1 devices"):
        choose_devices(settings(GPU_DEVICE_IDS="2"), {"pipeline_parallel_size": 2})


def test_a_lone_instance_has_the_engine_to_itself() -> None:
    found = settings()
    assert (found.group, found.instance, found.instances) == ("m_0", 0, 1)


def test_instances_of_a_group_share_an_engine() -> None:
    places = [settings(instance=f"m_0_{number}", count=3) for number in range(3)]
    assert [place.group for place in places] == ["m_0"] * 3
    assert [place.instance for place in places] == [0, 1, 2]
    assert [place.instances for place in places] == [3, 3, 3]


def test_instances_of_kind_gpu_have_an_engine_each() -> None:
    found = [settings(kind="GPU", instance=f"m_0_{number}", count=2) for number in range(2)]
    assert len({place.group for place in found}) == 2
    assert [place.instances for place in found] == [1, 1]


def test_a_shared_engine_is_one() -> None:
    check_group(settings(), {"data_parallel_size": 2})
    check_group(settings(instance="m_0_1", count=2), {"tensor_parallel_size": 2})
    with pytest.raises(ModelInvalid, match="the 2 instances of m_0 would share one engine"):
        check_group(settings(instance="m_0_1", count=2), {"data_parallel_size": 2})


def test_engine_arguments_are_coerced_as_their_types_say() -> None:
    checked = check_engine_arguments({"enable_lora": "false", "max_model_len": "512"}, FIELDS, "0.32.0")
    assert checked == {"enable_lora": False, "max_model_len": 512}


def test_all_problems_of_engine_arguments_at_once() -> None:
    with pytest.raises(ModelInvalid) as failure:
        check_engine_arguments({"modle": "x", "max_model_len": "much", "dtype": "float5"}, FIELDS, "0.32.0")
    text = str(failure.value)
    assert text.startswith("model.json does not fit vLLM 0.32.0: ")
    assert "'modle' (did you mean 'model'?)" in text
    assert "'max_model_len'" in text
    assert "'dtype'" in text


def test_a_missing_or_broken_model_json(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"'model.json' containing vllm engine args must be provided"):
        read_engine_arguments(tmp_path)
    (tmp_path / "model.json").write_text("[1]")
    with pytest.raises(ModelInvalid, match="JSON object"):
        read_engine_arguments(tmp_path)
