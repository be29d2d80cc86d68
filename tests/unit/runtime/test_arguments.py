"""tritonserver's command line and environment."""

from pathlib import Path

import pytest

from triton_runtime.arguments import command, environment
from triton_runtime.configuration import Configuration, ConfigurationError


def configured(**env: str) -> Configuration:
    return Configuration.from_environment({"TRITON_SERVER_VERSION": "2.51.0", **env})


def test_admin_endpoints_need_the_key_of_this_run() -> None:
    flags = command(configured(), "k3y")
    wanted = "model-repository,shared-memory,trace,logging:x-triton-vllm-admin=k3y"
    assert f"--http-restricted-api={wanted}" in flags
    assert f"--grpc-restricted-protocol={wanted}" in flags


def test_no_other_front_door() -> None:
    assert {"--allow-sagemaker=false", "--allow-vertex-ai=false", "--model-control-mode=none"} <= set(
        command(configured(), "k")
    )


def test_exit_timeout_leaves_the_backend_time_for_its_own_end() -> None:
    assert "--exit-timeout-secs=72" in command(configured(TRITON_VLLM_EXIT_TIMEOUT_SECONDS="60"), "k")


@pytest.mark.parametrize(
    ("version", "has"),
    [("2.51.0", False), ("2.68.0", False), ("2.69.0", True), ("2.73.0dev", True), ("", False)],
)
def test_flags_of_newer_releases(version: str, has: bool, tmp_path: Path) -> None:
    configuration = configured(TRITON_SERVER_VERSION=version, TRITON_VLLM_SERVER_ROOT=str(tmp_path))
    assert ("--allow-client-shm=false" in command(configuration, "k")) is has


def test_version_file_where_the_image_sets_no_variable(tmp_path: Path) -> None:
    (tmp_path / "TRITON_VERSION").write_text("2.71.0\n")
    configuration = Configuration.from_environment({"TRITON_VLLM_SERVER_ROOT": str(tmp_path)})
    assert configuration.triton_release == (2, 71)


def test_log_level_reaches_both() -> None:
    configuration = configured(TRITON_VLLM_LOG_LEVEL="warning")
    assert "--log-info=false" in command(configuration, "k")
    assert environment(configuration, {}, "/tmp/s")["VLLM_LOGGING_LEVEL"] == "WARNING"
    assert environment(configuration, {"VLLM_LOGGING_LEVEL": "DEBUG"}, "/s")["VLLM_LOGGING_LEVEL"] == "DEBUG"


def test_the_backend_learns_where_to_say_that_it_is_dead() -> None:
    assert environment(configured(), {"A": "b"}, "/tmp/s")["TRITON_VLLM_ENGINE_STATE_FILE"] == "/tmp/s"


@pytest.mark.parametrize(
    "env",
    [
        {"TRITON_VLLM_EXIT_TIMEOUT_SECONDS": "soon"},
        {"TRITON_VLLM_DRAIN_DELAY_SECONDS": "-1"},
        {"TRITON_VLLM_DRAIN_DELAY_SECONDS": "inf"},
        {"TRITON_VLLM_HTTP_PORT": "70000"},
        {"TRITON_VLLM_LOG_LEVEL": "INFO"},
    ],
)
def test_bad_values_are_named(env: dict[str, str]) -> None:
    ((name, value),) = env.items()
    with pytest.raises(ConfigurationError, match=f"{name}.*{value}"):
        configured(**env)


@pytest.mark.parametrize(("drain_delay", "milliseconds"), [("10", 6000), ("30", 18000), ("0", 2000)])
def test_kept_connections_are_renewed_within_the_drain_delay(drain_delay: str, milliseconds: int) -> None:
    flags = command(configured(TRITON_VLLM_DRAIN_DELAY_SECONDS=drain_delay), "k")
    assert f"--grpc-max-connection-age={milliseconds}" in flags


def test_a_hung_engine_can_write_its_stacks() -> None:
    assert environment(configured(), {}, "/tmp/s")["PYTHONFAULTHANDLER"] == "1"


@pytest.mark.parametrize(
    ("env", "seconds"),
    [
        ({}, 300),
        ({"VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "900"}, 900),
        ({"VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "60"}, 300),
        ({"VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "soon"}, 300),
        ({"TRITON_VLLM_HANG_END_SECONDS": "20"}, 20),
    ],
)
def test_a_hang_is_ended_after_vllm_would_end_a_step(env: dict[str, str], seconds: float) -> None:
    assert configured(**env).hang_end == seconds
