"""The administrator's settings for commands that run without the operator: a file, or the environment."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic.alias_generators import to_snake

from vllm_operator import settings as operator_settings
from vllm_operator.settings import ENV_PREFIX, Settings, SettingsInvalid


def load(file: str | None, vllm_version: str | None = None) -> Settings:
    """Settings from `file` over those of the environment; SettingsInvalid with one line otherwise.

    The file is a mapping of settings, as `permittedEngineArgs: [tokenizer]`, as
    `permitted_engine_args: tokenizer` or with the operator's own VLLM_OPERATOR_* names.
    `vllm_version` says which vLLM every image runs.
    """
    values = _read(file) if file else {}
    if vllm_version:
        values["vllm_versions"] = (f"*={vllm_version}",)
    if not values:
        return operator_settings.load()
    try:
        return Settings(**(operator_settings.environment() | values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        raise SettingsInvalid(f"{file or '--vllm-version'}: {name}: {first['msg']}") from None


def versions(settings: Settings) -> dict[str, str]:
    """The administrator's pairs of image and vLLM version as a mapping."""
    pairs = (pair.rpartition("=") for pair in settings.vllm_versions)
    return {image: version for image, _, version in pairs}


def _read(file: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        text = " ".join(str(error).split())
        raise SettingsInvalid(f"{file}: cannot be read as settings: {text}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsInvalid(f"{file}: must be a mapping of settings")
    values = {_field(str(name)): value for name, value in content.items()}
    unknown = sorted(set(values) - set(Settings.model_fields))
    if unknown:
        raise SettingsInvalid(f"{file}: '{unknown[0]}' is not a setting of the operator")
    return values


def _field(name: str) -> str:
    return name.removeprefix(ENV_PREFIX).lower() if name.startswith(ENV_PREFIX) else to_snake(name)
