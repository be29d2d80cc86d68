"""The pod template of a revision: one Triton container, restricted, with its volumes and probes."""

from typing import Any, Final

from vllm_operator.api.base import quantity
from vllm_operator.api.meta import GRPC_PORT, HEALTH_PORT, HTTP_PORT, METRICS_PORT
from vllm_operator.api.resources import Resources
from vllm_operator.api.source import Source
from vllm_operator.api.spec import VLLMModelSpec
from vllm_operator.desired.metadata import pod_labels, selector
from vllm_operator.desired.repository import ADAPTERS, ADAPTERS_PATH, PATHS, SOURCE_PATH

CONTAINER: Final = "triton"
REPOSITORY_VOLUME: Final = "repository"
REPOSITORY_PATH: Final = "/models"
CACHE_PATH: Final = "/cache"
USER_ID: Final = 1000

#: Time for a pod that ends to leave the endpoints before Triton stops accepting.
DRAIN_DELAY_SECONDS: Final = 10
#: What the end of a pod may take beyond the drain: the backend's abort and the kill of the process group.
_EXIT_MARGIN_SECONDS: Final = 15
#: The entry point asks for Triton's model readiness, which waits up to 5 s for the backend.
_READY_TIMEOUT_SECONDS: Final = 6
_STARTUP_PERIOD_SECONDS: Final = 5
#: The entry point ends a load that takes too long and says why; the kubelet, which cannot, comes after it.
_STARTUP_MARGIN_SECONDS: Final = 60
#: Resources of NVIDIA's device plugin, which sets the variable for pods that are given some.
_NVIDIA: Final = "nvidia.com/"
_DEFAULT_SHARED_MEMORY: Final = "2Gi"

#: Names that the operator and the image own; no tenant and no administrator may set them.
RESERVED_ENV: Final = frozenset(
    {
        "HOME", "USER", "PATH", "HF_HOME", "HF_TOKEN", "HF_ENDPOINT", "VLLM_CACHE_ROOT", "VLLM_CONFIG_ROOT",
        "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "XDG_CACHE_HOME", "CUDA_CACHE_PATH",
        "VLLM_ENGINE_READY_TIMEOUT_S", "NVIDIA_VISIBLE_DEVICES",
    }
)  # fmt: skip
RESERVED_ENV_PREFIX: Final = "TRITON_VLLM_"


def template(
    spec: VLLMModelSpec, *, model: str, served_name: str, image: str, hub_endpoint: str
) -> dict[str, Any]:
    """The pod template, without the name of the ConfigMap: that name holds the hash of this template."""
    runtime = spec.runtime
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        # A Service named `vllm` would set VLLM_PORT=tcp://..., and vLLM would refuse to start.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": DRAIN_DELAY_SECONDS + runtime.drain_seconds + _EXIT_MARGIN_SECONDS,
        "containers": [_container(spec, served_name=served_name, image=image, hub_endpoint=hub_endpoint)],
        "volumes": _volumes(spec),
    }
    if runtime.image_pull_secrets:
        pod["imagePullSecrets"] = [secret.manifest() for secret in runtime.image_pull_secrets]
    return {"metadata": {"labels": pod_labels(model)}, "spec": pod | _scheduling(spec, model)}


def gpu_count(spec: VLLMModelSpec) -> int:
    """GPUs of each pod; asked for, or what the parallel sizes need."""
    if spec.gpus and spec.gpus.count is not None:
        return spec.gpus.count
    return spec.engine_args.world_size() if spec.engine_args else 1


def gpu_resource(spec: VLLMModelSpec) -> str:
    """The extended resource that stands for a GPU."""
    return spec.gpus.resource_name if spec.gpus else "nvidia.com/gpu"


def _container(spec: VLLMModelSpec, *, served_name: str, image: str, hub_endpoint: str) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": image,
        "env": _env(spec, served_name=served_name, hub_endpoint=hub_endpoint),
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
            {"name": "grpc", "containerPort": GRPC_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
            {"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"},
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": _mounts(spec, served_name),
    }
    resources = _resources(spec)
    return container | ({"resources": resources} if resources else {}) | _probes(spec)


def _probes(spec: VLLMModelSpec) -> dict[str, Any]:
    # The entry point's word, not Triton's: it includes the front ends' and the engine's progress.
    ready = {"httpGet": {"path": "/ready", "port": "health"}}
    live = {"httpGet": {"path": "/v2/health/live", "port": "http"}}
    patience = spec.runtime.startup_timeout_seconds + _STARTUP_MARGIN_SECONDS
    return {
        "startupProbe": ready
        | {
            "periodSeconds": _STARTUP_PERIOD_SECONDS,
            "timeoutSeconds": _READY_TIMEOUT_SECONDS,
            "failureThreshold": -(-patience // _STARTUP_PERIOD_SECONDS),
        },
        "readinessProbe": ready
        | {"periodSeconds": 5, "timeoutSeconds": _READY_TIMEOUT_SECONDS, "failureThreshold": 3},
        "livenessProbe": live
        | {"periodSeconds": 10, "timeoutSeconds": _READY_TIMEOUT_SECONDS, "failureThreshold": 6},
    }


def _env(spec: VLLMModelSpec, *, served_name: str, hub_endpoint: str) -> list[dict[str, Any]]:
    """The container's contract, then the tenant's variables, which cannot be any of the former."""
    runtime, hub = spec.runtime, spec.source.hugging_face
    variables: dict[str, str] = {
        "TRITON_VLLM_MODEL_NAME": served_name,
        "TRITON_VLLM_MODEL_REPOSITORY": REPOSITORY_PATH,
        "TRITON_VLLM_DRAIN_DELAY_SECONDS": str(DRAIN_DELAY_SECONDS),
        "TRITON_VLLM_EXIT_TIMEOUT_SECONDS": str(runtime.drain_seconds),
        "TRITON_VLLM_STARTUP_TIMEOUT_SECONDS": str(runtime.startup_timeout_seconds),
        "TRITON_VLLM_LOG_LEVEL": runtime.log_level,
        "VLLM_ENGINE_READY_TIMEOUT_S": str(runtime.startup_timeout_seconds),
        "HOME": f"{CACHE_PATH}/home",
        "USER": "triton",
        "HF_HOME": f"{CACHE_PATH}/huggingface",
        "VLLM_CACHE_ROOT": f"{CACHE_PATH}/vllm",
        "VLLM_CONFIG_ROOT": f"{CACHE_PATH}/vllm-config",
        "TORCHINDUCTOR_CACHE_DIR": f"{CACHE_PATH}/torchinductor",
        "TRITON_CACHE_DIR": f"{CACHE_PATH}/triton",
        "XDG_CACHE_HOME": f"{CACHE_PATH}/xdg",
        "CUDA_CACHE_PATH": f"{CACHE_PATH}/cuda",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    if hub_endpoint:
        variables["HF_ENDPOINT"] = hub_endpoint
    if not any(name.startswith(_NVIDIA) for name in _resources(spec).get("limits", {})):
        # Without it the NVIDIA runtime would give a pod that is given none of its GPUs all of the node's.
        variables["NVIDIA_VISIBLE_DEVICES"] = "void"
    variables |= {variable.name: variable.value for variable in runtime.env}
    result: list[dict[str, Any]] = [
        {"name": name, "value": value} for name, value in sorted(variables.items())
    ]
    if hub and hub.token_secret_key_ref:
        result.append(
            {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": hub.token_secret_key_ref.manifest()}}
        )
    return result


def _resources(spec: VLLMModelSpec) -> dict[str, Any]:
    given = spec.resources or Resources()
    requests = given.requests.manifest() if given.requests else {}
    limits = given.limits.manifest() if given.limits else {}
    if count := gpu_count(spec):
        limits[gpu_resource(spec)] = count
    amounts = {"requests": requests, "limits": limits}
    return {
        kind: {name: str(amount) for name, amount in values.items()}
        for kind, values in amounts.items()
        if values
    }


def _mounts(spec: VLLMModelSpec, served_name: str) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": REPOSITORY_VOLUME, "mountPath": f"{REPOSITORY_PATH}/{served_name}", "readOnly": True},
        {"name": "cache", "mountPath": CACHE_PATH},
        {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108 - the path that vLLM uses
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the container's own
    ]
    if not spec.source.hugging_face:
        mounts.append({"name": "source", "mountPath": SOURCE_PATH, "readOnly": True})
    mounts += [
        {"name": name, "mountPath": f"{ADAPTERS_PATH}/{adapter}", "readOnly": True}
        for name, adapter, _ in _mounted_adapters(spec)
    ]
    return mounts


def _volumes(spec: VLLMModelSpec) -> list[dict[str, Any]]:
    keys = [key for key in PATHS if key != ADAPTERS or _has_lora(spec)]
    volumes: list[dict[str, Any]] = [
        {
            "name": REPOSITORY_VOLUME,
            "configMap": {"items": [{"key": key, "path": PATHS[key]} for key in keys]},
        },
        {"name": "cache", **_cache(spec)},
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": _shared_memory(spec)}},
        {"name": "tmp", "emptyDir": {}},
    ]
    shared = spec.cache.persistent_volume_claim if spec.cache else None
    cache = shared.claim_name if shared else ""
    if not spec.source.hugging_face:
        volumes.append({"name": "source", **_mounted(spec.source, cache)})
    return volumes + [
        {"name": name, **_mounted(source, cache)} for name, _, source in _mounted_adapters(spec)
    ]


def _has_lora(spec: VLLMModelSpec) -> bool:
    return bool(spec.adapters) or bool(spec.engine_args and spec.engine_args.enable_lora)


def _mounted_adapters(spec: VLLMModelSpec) -> list[tuple[str, str, Source]]:
    """Volume name, adapter name and source of each adapter on a volume; the order given does not matter."""
    adapters = sorted(
        (a for a in spec.adapters if not a.source.hugging_face), key=lambda adapter: adapter.name
    )
    return [(f"adapter-{index}", adapter.name, adapter.source) for index, adapter in enumerate(adapters)]


def _mounted(source: Source, cache_claim: str) -> dict[str, Any]:
    """A volume with a model or an adapter.

    Read-only is the volume, not the mount alone: the kubelet changes the group and the mode of all files of a
    claim that is not (`fsGroup`). A claim that is the cache as well cannot be: it is published once per pod.
    """
    if source.image:
        volume = {"reference": source.image.reference}
        return {
            "image": volume | ({"pullPolicy": source.image.pull_policy} if source.image.pull_policy else {})
        }
    claim = source.persistent_volume_claim
    name = claim.claim_name if claim else ""
    read_only = {} if name == cache_claim else {"readOnly": True}
    return {"persistentVolumeClaim": {"claimName": name} | read_only}


def _cache(spec: VLLMModelSpec) -> dict[str, Any]:
    cache = spec.cache
    if cache and cache.persistent_volume_claim:
        return {"persistentVolumeClaim": {"claimName": cache.persistent_volume_claim.claim_name}}
    limit = cache.empty_dir.size_limit if cache and cache.empty_dir else None
    return {"emptyDir": {"sizeLimit": str(limit)} if limit is not None else {}}


def _shared_memory(spec: VLLMModelSpec) -> str:
    if spec.shared_memory:
        return str(spec.shared_memory.size_limit)
    limit = spec.resources.limits.memory if spec.resources and spec.resources.limits else None
    return (
        str(limit)
        if limit is not None and quantity(limit) < quantity(_DEFAULT_SHARED_MEMORY)
        else _DEFAULT_SHARED_MEMORY
    )


def _scheduling(spec: VLLMModelSpec, model: str) -> dict[str, Any]:
    """The tenant's scheduling, as given; spread constraints without a selector count this model's pods."""
    given: dict[str, Any] = spec.scheduling.manifest() if spec.scheduling else {}
    for constraint in given.get("topologySpreadConstraints", ()):
        constraint.setdefault("labelSelector", {"matchLabels": selector(model)})
    return {name: value for name, value in given.items() if value not in ({}, [], "")}
