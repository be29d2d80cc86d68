"""Reads what the model is configured with and names every problem before a GPU is touched."""

from __future__ import annotations

import difflib
import json
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .errors import ModelInvalid

_NOT_DECOUPLED = "vLLM Triton backend must be configured to use decoupled model transaction policy"
_TRUE = frozenset({"true", "1", "yes", "on"})


@dataclass(frozen=True, slots=True)
class Settings:
    """What Triton's model configuration and the environment say."""

    name: str
    version: str
    directory: Path
    kind: str
    device_id: int
    gpu_device_ids: tuple[int, ...]
    report_metrics: bool
    check_health: bool
    drain_seconds: float
    sender_threads: int
    group: str
    instance: int
    instances: int


def read_settings(args: Mapping[str, str], directory: Path) -> Settings:
    """Read the arguments of `initialize`."""
    config = json.loads(args["model_config"])
    if not config.get("model_transaction_policy", {}).get("decoupled", False):
        raise AssertionError(_NOT_DECOUPLED)
    parameters = {name: value.get("string_value", "") for name, value in config.get("parameters", {}).items()}
    kind = args.get("model_instance_kind", "MODEL")
    group, instance, instances = _place_in_group(config, args["model_instance_name"], kind)
    return Settings(
        name=args["model_name"],
        version=args["model_version"],
        directory=directory,
        kind=kind.removeprefix("KIND_"),
        device_id=int(args.get("model_instance_device_id", "0") or 0),
        gpu_device_ids=_gpu_device_ids(parameters.get("GPU_DEVICE_IDS"), kind),
        report_metrics=_is_true(parameters.get("REPORT_CUSTOM_METRICS", "")),
        check_health=_is_true(parameters.get("ENABLE_VLLM_HEALTH_CHECK", "")),
        drain_seconds=_seconds(parameters, "DRAIN_SECONDS", "TRITON_VLLM_EXIT_TIMEOUT_SECONDS", 10.0),
        sender_threads=int(parameters.get("SENDER_THREADS", "") or _default_senders()),
        group=group,
        instance=instance,
        instances=instances,
    )


def _place_in_group(config: Mapping[str, Any], name: str, kind: str) -> tuple[str, int, int]:
    """Return the instance group's name, this instance's number in it, and how many share an engine.

    Triton calls the instances of a group NAME_0, NAME_1, ...; those of other kinds have an engine each.
    """
    group, _, number = name.rpartition("_")
    count = next((int(entry["count"]) for entry in config["instance_group"] if entry["name"] == group), 1)
    if kind.removeprefix("KIND_") != "MODEL" or count == 1:
        return name, 0, 1
    return group, int(number), count


def _default_senders() -> int:
    # More than three wait for the interpreter's lock more than they send (measured, docs/backend.md).
    cores = os.cpu_count() or 1
    return 1 if cores < 4 else 2 if cores < 8 else 3


def _is_true(value: str) -> bool:
    return value.strip().lower() in _TRUE


def _seconds(parameters: Mapping[str, str], name: str, variable: str, default: float) -> float:
    raw = parameters.get(name) or os.environ.get(variable) or ""
    if not raw:
        return default
    try:
        seconds = float(raw)
    except ValueError:
        raise ModelInvalid(f"{name} must be a number of seconds, not {raw!r}.") from None
    return max(0.0, seconds)


def _gpu_device_ids(raw: str | None, kind: str) -> tuple[int, ...]:
    if raw is None or not raw.strip():
        return ()
    if kind.removeprefix("KIND_") != "MODEL":
        raise ModelInvalid("GPU_DEVICE_IDS needs an instance group of kind KIND_MODEL.")
    ids = []
    for part in raw.split(","):
        try:
            number = int(part)
        except ValueError:
            raise ModelInvalid(f"GPU_DEVICE_IDS: {part.strip()!r} is not an integer.") from None
        if number < 0:
            raise ModelInvalid(f"GPU_DEVICE_IDS: {number} is negative.")
        if number in ids:
            raise ModelInvalid(f"GPU_DEVICE_IDS: {number} is given twice.")
        ids.append(number)
    return tuple(ids)


def read_engine_arguments(directory: Path) -> dict[str, Any]:
    """Read model.json."""
    path = directory / "model.json"
    if not path.is_file():
        raise AssertionError(f"'model.json' containing vllm engine args must be provided in '{directory}'")
    try:
        arguments = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelInvalid(f"{path} is not valid JSON: {error}.") from None
    if not isinstance(arguments, dict):
        raise ModelInvalid(f"{path} must hold a JSON object of engine arguments.")
    return arguments


def check_engine_arguments(
    arguments: Mapping[str, Any], fields: Mapping[str, Any], version: str
) -> dict[str, Any]:
    """Check names and plain types against the running vLLM; return the arguments with plain types coerced.

    All problems are named at once. Values with richer types are left to vLLM's own configuration classes.
    """
    from pydantic import TypeAdapter, ValidationError

    problems: list[str] = []
    checked: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1, cutoff=0.6)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            problems.append(f"AsyncEngineArgs.__init__() got an unexpected keyword argument '{name}'{hint}")
            continue
        checked[name] = value
        if _is_plain(fields[name]):
            try:
                checked[name] = TypeAdapter(fields[name]).validate_python(value)
            except ValidationError as error:
                problems.append(f"'{name}': {error.errors(include_url=False)[0]['msg']}, got {value!r}")
    if problems:
        raise ModelInvalid(f"model.json does not fit vLLM {version}: " + "; ".join(problems) + ".")
    return checked


def _is_plain(annotation: Any) -> bool:
    """Whether a type is made of numbers, booleans, strings, None and literals only."""
    if annotation in (int, float, bool, str, None, type(None)):
        return True
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return True
    if origin in (typing.Union, types.UnionType):
        return all(_is_plain(part) for part in typing.get_args(annotation))
    return False


def check_group(settings: Settings, arguments: Mapping[str, Any]) -> None:
    """Refuse what instances that share an engine cannot do."""
    copies = _size(arguments, "data_parallel_size")
    if settings.instances > 1 and copies > 1:
        raise ModelInvalid(
            f"the {settings.instances} instances of {settings.group} would share one engine, but "
            f"data_parallel_size {copies} makes several: set `count: 1` in the model's config.pbtxt."
        )


def choose_devices(settings: Settings, arguments: Mapping[str, Any]) -> str | None:
    """Return the value for CUDA_VISIBLE_DEVICES, or None to leave the environment alone."""
    world = _size(arguments, "tensor_parallel_size") * _size(arguments, "pipeline_parallel_size")
    if settings.kind == "GPU":
        if world > 1:
            raise ModelInvalid(
                "KIND_GPU is currently for single-GPU models, please specify KIND_MODEL "
                "in the model's config.pbtxt for multi-GPU models"
            )
        return str(settings.device_id) if settings.device_id >= 0 else None
    if settings.gpu_device_ids:
        if world > 1 and len(settings.gpu_device_ids) != world:
            raise ModelInvalid(
                f"GPU_DEVICE_IDS names {len(settings.gpu_device_ids)} devices but "
                f"tensor_parallel_size x pipeline_parallel_size is {world}."
            )
        return ",".join(str(number) for number in settings.gpu_device_ids)
    return None


def _size(arguments: Mapping[str, Any], name: str) -> int:
    """Return a size; one that is no number is `check_engine_arguments`'s to name, later."""
    try:
        return int(arguments.get(name) or 1)
    except (TypeError, ValueError):
        return 1
