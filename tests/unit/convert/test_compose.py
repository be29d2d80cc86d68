"""docker-compose: nothing that a service says is lost without a word."""

import pytest

from unit.convert.readers import from_yaml

SERVICE = "services: {m: {image: vllm/vllm-openai, command: [org/m, --dtype=half], "


def service(more: str) -> tuple[dict[str, object], list[str]]:
    made, left = from_yaml(SERVICE + more + "}}")
    return made, [message for message in left if not message.startswith("`image`")]


@pytest.mark.parametrize(
    "environment",
    [
        "[VLLM_LOGGING_LEVEL]",
        "{VLLM_LOGGING_LEVEL: null}",
        "['VLLM_LOGGING_LEVEL=${LEVEL}']",
        "{VLLM_LOGGING_LEVEL: '${LEVEL:-INFO}'}",
        "{VLLM_LOGGING_LEVEL: $LEVEL}",
    ],
)
def test_a_variable_that_compose_fills_in_is_named(environment: str) -> None:
    made, left = service(f"environment: {environment}")
    assert "runtime" not in made
    assert left == ["variable `VLLM_LOGGING_LEVEL`: compose fills in its value; write it out"]


@pytest.mark.parametrize(
    ("environment", "value"),
    [("[A=]", ""), ("{A: 0}", "0"), ("['A=x=y']", "x=y"), ("{A: 'a$$b'}", "a$b"), ("{A: ''}", "")],
)
def test_a_variable_with_a_value_is_taken(environment: str, value: str) -> None:
    made, left = service(f"environment: {environment}")
    assert made["runtime"] == {"env": [{"name": "A", "value": value}]}
    assert left == []


@pytest.mark.parametrize("environment", ["[HF_TOKEN]", "['HF_TOKEN=${HF_TOKEN}']", "{HF_TOKEN: hf_secret}"])
def test_the_token_belongs_into_a_secret(environment: str) -> None:
    _, (left,) = service(f"environment: {environment}")
    assert "tokenSecretKeyRef" in left
    assert "hf_secret" not in left


def devices(entry: str) -> str:
    return f"deploy: {{resources: {{reservations: {{devices: [{{driver: nvidia{entry}}}]}}}}}}"


@pytest.mark.parametrize(
    ("more", "count"),
    [
        (devices(", count: 2"), 2),
        (devices(", count: '2'"), 2),
        (devices(", device_ids: ['0', '3', '5']"), 3),
        ("gpus: [{driver: nvidia, count: 4}]", 4),
    ],
)
def test_a_number_of_gpus_is_taken(more: str, count: int) -> None:
    made, left = service(more)
    assert made["gpus"] == {"count": count}
    assert left == []


@pytest.mark.parametrize("more", [devices(", count: all"), devices(""), "gpus: all", "gpus: [{count: all}]"])
def test_all_gpus_are_named(more: str) -> None:
    made, (left,) = service(more)
    assert "gpus" not in made
    assert "say how many in `spec.gpus.count`" in left


@pytest.mark.parametrize(
    "key", ["env_file", "volumes", "network_mode", "privileged", "user", "mem_limit", "configs", "x-anything"]
)
def test_no_other_key_is_dropped_silently(key: str) -> None:
    assert [message.split("`")[1] for message in service(f"{key}: a")[1]] == [key]


def test_replicas() -> None:
    assert service("deploy: {replicas: 3}")[0]["replicas"] == 3
