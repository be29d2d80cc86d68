"""What the administrator allows: images, environment variables, classes and engine arguments of a spec."""

import json
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Final

from vllm_operator import engineargs
from vllm_operator.api.conditions import Problem, Reason
from vllm_operator.api.spec import VLLMModelSpec
from vllm_operator.api.v1alpha1 import VLLMModel
from vllm_operator.desired import references
from vllm_operator.desired.pod import RESERVED_ENV, RESERVED_ENV_PREFIX, gpu_count, gpu_resource
from vllm_operator.desired.references import Reference
from vllm_operator.engineargs import environment
from vllm_operator.settings import Settings

#: Harmless by themselves: none names code, a file, a host or a device of another pod.
ALLOWED_ENV: Final = frozenset(
    {
        "CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING", "HF_HUB_DISABLE_XET",
        "HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT", "HF_HUB_OFFLINE",
        "HF_XET_HIGH_PERFORMANCE", "MALLOC_ARENA_MAX", "NCCL_CUMEM_ENABLE", "NCCL_DEBUG",
        "NCCL_IB_DISABLE", "NCCL_NVLS_ENABLE", "NCCL_P2P_DISABLE", "NCCL_P2P_LEVEL", "NCCL_SHM_DISABLE",
        "OMP_NUM_THREADS", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF",
        "TOKENIZERS_PARALLELISM", "TORCH_NCCL_ASYNC_ERROR_HANDLING", "TRANSFORMERS_OFFLINE", "TZ",
        "VLLM_ALLOW_LONG_MAX_MODEL_LEN", "VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_NUM_OF_RESERVED_CPU",
        "VLLM_CPU_OMP_THREADS_BIND", "VLLM_CPU_SGL_KERNEL", "VLLM_ENABLE_V1_MULTIPROCESSING",
        "VLLM_ENGINE_ITERATION_TIMEOUT_S", "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS",
        "VLLM_LOG_STATS_INTERVAL", "VLLM_LOGGING_LEVEL", "VLLM_SKIP_P2P_CHECK", "VLLM_USE_DEEP_GEMM",
        "VLLM_USE_FLASHINFER_SAMPLER", "VLLM_WORKER_MULTIPROC_METHOD",
    }
)  # fmt: skip
#: They end up in a ConfigMap and a ControllerRevision, of which etcd takes about 1 MiB.
MAX_ENGINE_ARGS_BYTES: Final = 65536

#: Slices of a GPU with a profile in their name, which CUDA shows to a process one at a time only:
#: https://docs.nvidia.com/datacenter/tesla/mig-user-guide/ ("Application Considerations").
MIG_PREFIX: Final = "nvidia.com/mig-"


def image_allowed(image: str, settings: Settings) -> bool:
    """Whether the administrator lets tenants choose `image`; the default image always is allowed."""
    return image == settings.runtime_image or _listed(image, settings.allowed_images)


def _listed(image: str, entries: Iterable[str]) -> bool:
    return any(_covers(entry, image) for entry in entries)


def _covers(entry: str, image: str) -> bool:
    """A glob matches the whole image, a prefix whole parts: `host/team` is not `host/team-evil`."""
    if any(character in entry for character in "*?["):
        return fnmatchcase(image, entry)
    if not image.startswith(entry):
        return False
    rest = image[len(entry) :]
    # After ':' only a tag may follow: 'host' must not cover 'host:5000/name'.
    return not rest or entry.endswith("/") or rest[0] in "/@" or (rest[0] == ":" and "/" not in rest)


def problems(model: VLLMModel, settings: Settings, *, image: str) -> Iterator[Problem]:
    """Everything in the spec that must not run; `image` is the one that would."""
    spec = model.spec
    refused = bool(spec.runtime.image) and not image_allowed(image, settings)
    if refused:
        yield Problem(
            Reason.IMAGE_NOT_ALLOWED,
            f"spec.runtime.image: '{image}' is not on the administrator's list; remove the field to use "
            f"'{settings.runtime_image}', or have the image allowed (`allowedImages`)",
        )
    variables = [(variable.name, variable.value) for variable in spec.runtime.env]
    version = vllm_version(model, settings, image=settings.runtime_image if refused else image)
    yield from env_problems(variables, settings, version)
    yield from _gpu_problems(spec, settings)
    yield from _reference_problems(spec, settings)
    yield from _class_problems(spec, settings)
    # Nobody knows what is in a refused image; what the default one would say of the arguments helps more.
    yield from _engine_args_problems(model, settings, image=settings.runtime_image if refused else image)


def vllm_version(model: VLLMModel, settings: Settings, *, image: str) -> str | None:
    """The vLLM in `image`: known images, then the administrator's setting, then what its pods reported."""
    pairs = (pair.rpartition("=") for pair in settings.vllm_versions)
    said = engineargs.version_of_image(image, {glob: version for glob, _, version in pairs})
    runtime = model.status.get("runtime") or {}
    return said or (runtime.get("vllm") if runtime.get("image") == image else None)


def _engine_args_problems(model: VLLMModel, settings: Settings, *, image: str) -> Iterator[Problem]:
    spec = model.spec
    if spec.engine_args is None:
        return
    arguments, hub = spec.engine_args.values(), spec.source.hugging_face
    yield from engineargs.check(
        arguments,
        vllm_version=vllm_version(model, settings, image=image),
        permitted=frozenset(settings.permitted_engine_args),
        gpus=spec.gpus.count if spec.gpus else None,
        hub_source=hub is not None,
        source_revision=hub.revision if hub else None,
        environment={variable.name: variable.value for variable in spec.runtime.env},
    )
    if len(json.dumps(arguments)) > MAX_ENGINE_ARGS_BYTES:
        message = f"spec.engineArgs: must be no more than {MAX_ENGINE_ARGS_BYTES} bytes of JSON"
        yield Problem(Reason.INVALID_ENGINE_ARGS, message)


def env_problems(
    variables: Iterable[tuple[str, str]], settings: Settings, version: str | None
) -> Iterator[Problem]:
    """What must not be set among pairs of name and value; `version` is the vLLM that would read them."""
    for index, (name, value) in enumerate(variables):
        path, use = f"spec.runtime.env[{index}].name", environment.INSTEAD.get(name)
        remedy = f"; use {use} instead" if use else ""
        if name in RESERVED_ENV or name.startswith(RESERVED_ENV_PREFIX):
            message = f"{path}: '{name}' is set by the operator and must not be given{remedy}"
            yield Problem(Reason.INVALID_SPEC, message)
        elif not (name in ALLOWED_ENV or name in settings.allowed_env or environment.is_dead(name, version)):
            near = environment.meant(name, version)
            also = f", write '{near}'" if near else f", use {use}" if use else ""
            yield Problem(
                Reason.INVALID_SPEC,
                f"{path}: '{name}' is not on the list of allowed variables; remove it{also}, or have it "
                "allowed by the administrator (`allowedEnv`)",
            )
        if "\0" in value:
            yield Problem(
                Reason.INVALID_SPEC, f"spec.runtime.env[{index}].value: must not contain a NUL character"
            )


def _gpu_problems(spec: VLLMModelSpec, settings: Settings) -> Iterator[Problem]:
    """Any other extended resource is no GPU: the pod would be given what `gpus` was not made for."""
    name = gpu_resource(spec)
    if gpu_count(spec) and not _matches(name, settings.allowed_gpu_resources):
        known = ", ".join(settings.allowed_gpu_resources)
        yield Problem(
            Reason.INVALID_SPEC,
            f"spec.gpus.resourceName: '{name}' is not on the administrator's list of GPUs ({known}); use one "
            "of these, or have it allowed (`allowedGPUResources`)",
        )


def _reference_problems(spec: VLLMModelSpec, settings: Settings) -> Iterator[Problem]:
    """Lists of the administrator that are empty as long as tenants may use all that their namespace has."""
    checks: tuple[
        tuple[Iterable[Reference], tuple[str, ...], Callable[[str, tuple[str, ...]], bool], str], ...
    ]
    checks = (
        (references.claims(spec), settings.allowed_claims, _matches, "allowedClaims"),
        (references.secrets(spec), settings.allowed_secrets, _matches, "allowedSecrets"),
        (references.model_images(spec), settings.allowed_model_images, _listed, "allowedModelImages"),
    )
    for found, allowed, covers, setting in checks:
        for path, name in found:
            if allowed and not covers(name, allowed):
                yield Problem(
                    Reason.INVALID_SPEC,
                    f"{path}: '{name}' is not on the administrator's list; use another, or have it allowed "
                    f"(`{setting}`)",
                )


def _matches(name: str, entries: Iterable[str]) -> bool:
    return any(fnmatchcase(name, entry) for entry in entries)


def _class_problems(spec: VLLMModelSpec, settings: Settings) -> Iterator[Problem]:
    scheduling = spec.scheduling
    if scheduling is None:
        return
    for field, name, allowed, setting in (
        (
            "priorityClassName",
            scheduling.priority_class_name,
            settings.allowed_priority_classes,
            "allowedPriorityClasses",
        ),
        (
            "runtimeClassName",
            scheduling.runtime_class_name,
            settings.allowed_runtime_classes,
            "allowedRuntimeClasses",
        ),
    ):
        if name and name not in allowed:
            yield Problem(
                Reason.INVALID_SPEC,
                f"spec.scheduling.{field}: '{name}' is not on the administrator's list; remove it, or have "
                f"it allowed (`{setting}`)",
            )


def warnings(model: VLLMModel, settings: Settings, *, image: str) -> Iterator[str]:
    """What is accepted but looks like a mistake, or could not be checked."""
    spec = model.spec
    version = vllm_version(model, settings, image=image)
    if spec.engine_args:
        values = spec.engine_args.values()
        yield from engineargs.warnings(values, vllm_version=version, adapters=bool(spec.adapters))
    for index, variable in enumerate(spec.runtime.env):
        if said := environment.without_effect(variable.name, version):
            yield f"spec.runtime.env[{index}].name: {said}"
    yield from _gpu_warnings(spec)
    yield from _volume_warnings(spec)
    yield from _probe_warnings(spec)


def _gpu_warnings(spec: VLLMModelSpec) -> Iterator[str]:
    needed = spec.engine_args.world_size() if spec.engine_args else 1
    if (idle := gpu_count(spec) - needed) > 0:
        noun = "GPU" if idle == 1 else "GPUs"
        yield f"spec.gpus.count: {idle} {noun} will stay idle: the parallel sizes use {needed}"
    if needed > 1 and (name := gpu_resource(spec)).startswith(MIG_PREFIX) and gpu_count(spec):
        yield (
            f"spec.engineArgs: the parallel sizes ask for {needed} GPUs that work together; '{name}' is a "
            "slice of one: MIG slices cannot talk to each other; use parallel sizes of 1, or whole GPUs"
        )


def _probe_warnings(spec: VLLMModelSpec) -> Iterator[str]:
    probe = spec.probe
    if probe.timeout_seconds > probe.period_seconds:
        yield (
            f"spec.probe.timeoutSeconds: {probe.timeout_seconds} is above periodSeconds "
            f"({probe.period_seconds}): a pod gets one probe at a time, so one that hangs is asked every "
            f"{probe.timeout_seconds} s and found out that much later"
        )


def _volume_warnings(spec: VLLMModelSpec) -> Iterator[str]:
    """Claims that more than one pod mounts at a time: the replicas, and those that a rollout adds."""
    cache = spec.cache.persistent_volume_claim if spec.cache else None
    surge = surge_pods(spec)
    pods = spec.replicas + surge
    if cache is None or pods < 2 or not spec.replicas:
        return
    who = f"all {spec.replicas} replicas" if spec.replicas > 1 else "the old pod and the new one in a rollout"
    remedy = (
        "use ReadWriteMany, or `spec.rollout.type: Recreate`" if spec.replicas == 1 else "use ReadWriteMany"
    )
    yield (
        f"spec.cache: claim '{cache.claim_name}' is shared by {who}: with access mode ReadWriteOnce they "
        f"must run on one node, and elsewhere the new pod waits for ever; {remedy}"
    )


def surge_pods(spec: VLLMModelSpec) -> int:
    """How many pods above `replicas` a rollout starts: a percentage is rounded up, as Deployments do."""
    rollout = spec.rollout
    if rollout.type == "Recreate":
        return 0
    surge = rollout.rolling_update.max_surge if rollout.rolling_update else 1
    if isinstance(surge, str) and surge.endswith("%"):
        return -(-spec.replicas * int(surge.removesuffix("%")) // 100)
    return int(surge)
