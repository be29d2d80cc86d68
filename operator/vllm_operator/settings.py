"""The administrator's settings: read from the environment once, checked, then frozen."""

import os
import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

ENV_PREFIX = "VLLM_OPERATOR_"


def _split(value: Any) -> Any:
    """A comma list as the chart writes it; a sequence is taken as it is."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


#: What stands for a GPU where the administrator says nothing else: names or globs.
GPU_RESOURCES = (
    "nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-*", "amd.com/gpu", "gpu.intel.com/i915",
    "gpu.intel.com/xe", "habana.ai/gaudi", "google.com/tpu", "aws.amazon.com/neuron*",
)  # fmt: skip


def _gpu_resources(value: Any) -> Any:
    """A comma list; an empty one is no wish for models without any GPU, it is the default."""
    return _split(value) or GPU_RESOURCES


CommaList = Annotated[tuple[str, ...], BeforeValidator(_split)]


class SettingsInvalid(Exception):
    """The environment does not describe a working operator; the text is one line."""


class Settings(BaseModel):
    """What the administrator decides for every VLLMModel. Tenants can change none of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    namespaces: CommaList = ()
    """Namespaces to serve; empty means all of them."""

    runtime_image: str = "localhost/triton-cpu:dev"
    runtime_upgrade: Literal["OnSpecChange", "Automatic"] = "OnSpecChange"
    allowed_images: CommaList = ()
    permitted_engine_args: CommaList = ()
    allowed_env: CommaList = ()
    allowed_gpu_resources: Annotated[tuple[str, ...], BeforeValidator(_gpu_resources)] = GPU_RESOURCES
    allowed_priority_classes: CommaList = ()
    allowed_runtime_classes: CommaList = ()
    allowed_claims: CommaList = ()
    """Names or globs of claims, empty for all; so are the two below."""
    allowed_secrets: CommaList = ()
    allowed_model_images: CommaList = ()
    allow_pickled_weights: bool = False
    hub_endpoint: str = ""
    vllm_versions: CommaList = ()
    """`<image glob>=<vLLM version>` pairs for images whose tag does not tell."""

    workers: int = Field(default=4, ge=1, le=64)
    resync_seconds: float = Field(default=3600, ge=1, le=86_400)
    request_timeout_seconds: float = Field(default=10, ge=1, le=60)
    revision_history_limit: int = Field(default=2, ge=0, le=100)
    probe_concurrency: int = Field(default=16, ge=1, le=256)

    lease_name: str = "vllm-operator"
    lease_namespace: str = ""
    """Empty: the namespace of the operator's own pod, or of the current context."""
    lease_duration_seconds: float = Field(default=15, gt=0)
    lease_renew_deadline_seconds: float = Field(default=10, gt=0)
    lease_retry_period_seconds: float = Field(default=2, gt=0)

    http_port: int = Field(default=8080, ge=0, le=65_535)
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    pod_name: str = ""

    @field_validator("vllm_versions")
    @classmethod
    def _versions_are_pairs(cls, pairs: tuple[str, ...]) -> tuple[str, ...]:
        for pair in pairs:
            if not re.fullmatch(r"[^=\s]+=\d+\.\d+(\.\d+)?\S*", pair):
                raise ValueError(f"'{pair}' must be <image glob>=<version>, like registry/triton:*=0.32.0")
        return pairs

    @field_validator("runtime_image")
    @classmethod
    def _image_is_one_word(cls, image: str) -> str:
        if not image or any(c.isspace() for c in image):
            raise ValueError("must be an image reference")
        return image

    @model_validator(mode="after")
    def _lease_times_are_ordered(self) -> Self:
        """A holder must give up (renew deadline) before another may take over (duration)."""
        if not (
            self.lease_retry_period_seconds < self.lease_renew_deadline_seconds < self.lease_duration_seconds
        ):
            raise ValueError("lease times must satisfy retry period < renew deadline < duration")
        return self


def environment() -> dict[str, Any]:
    """The values that the environment gives, by the names of the settings; not checked."""
    names = {name: name[len(ENV_PREFIX) :].lower() for name in os.environ if name.startswith(ENV_PREFIX)}
    return {setting: os.environ[name] for name, setting in names.items()}


def load() -> Settings:
    """Read the environment; raises SettingsInvalid with one line that names each wrong variable."""
    try:
        return Settings(**environment())
    except ValidationError as error:
        problems = "; ".join(
            f"{ENV_PREFIX}{str(e['loc'][0]).upper() if e['loc'] else '*'}: {e['msg']}" for e in error.errors()
        )
        raise SettingsInvalid(f"invalid settings: {problems}") from None
