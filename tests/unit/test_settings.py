"""Settings from the environment: comma lists, bounds, and one line for whatever is wrong."""

import ast
import subprocess
import sys

import pytest

from vllm_operator.settings import Settings, SettingsInvalid, load


def test_defaults_are_valid() -> None:
    assert load() == Settings()


def test_validate_starts_without_a_library_for_settings() -> None:
    """Such a library took a fifth of what `validate` of one file takes."""
    probe = "import sys, vllm_operator.files.admin, vllm_operator.files.findings; print(sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout
    loaded = set(ast.literal_eval(shown))
    assert not loaded & {"pydantic_settings", "kopf", "kubernetes", "aiohttp", "asyncio", "tritonclient"}


def test_comma_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_OPERATOR_NAMESPACES", "team-a, team-b,")
    monkeypatch.setenv("VLLM_OPERATOR_VLLM_VERSIONS", "registry/triton:*=0.32.0")
    settings = load()
    assert settings.namespaces == ("team-a", "team-b")
    assert settings.vllm_versions == ("registry/triton:*=0.32.0",)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("WORKERS", "0", "greater than or equal to 1"),
        ("WORKERS", "many", "valid integer"),
        ("RUNTIME_UPGRADE", "Sometimes", "'OnSpecChange' or 'Automatic'"),
        ("RUNTIME_IMAGE", "", "image reference"),
        ("VLLM_VERSIONS", "0.32.0", "must be <image glob>=<version>"),
        ("LOG_FORMAT", "xml", "'json' or 'console'"),
        ("LEASE_RENEW_DEADLINE_SECONDS", "20", "retry period < renew deadline < duration"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"VLLM_OPERATOR_{name}", value)
    with pytest.raises(SettingsInvalid) as caught:
        load()
    text = str(caught.value)
    assert says in text
    assert "VLLM_OPERATOR_" in text
    assert "\n" not in text
