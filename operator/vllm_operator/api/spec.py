"""`spec` of a VLLMModel: every field with its bounds, its default and its rules."""

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import ConfigDict, Field

from vllm_operator.api.base import (
    ATOMIC_MAP,
    INT_OR_STRING,
    Check,
    ImageReference,
    Model,
    ObjectName,
    Quantity,
    RelativePath,
    Rule,
    map_list,
    matches,
    quantity,
)
from vllm_operator.api.scheduling import Scheduling

HubRepository = Annotated[
    str,
    Field(min_length=1, max_length=193),
    matches(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?",
        "must be a Hugging Face repository such as 'facebook/opt-125m', not a URL or a path",
    ),
]
HubRevision = Annotated[
    str,
    Field(min_length=1, max_length=255),
    matches(r"[A-Za-z0-9][A-Za-z0-9._/-]*", "must be a branch, a tag or a commit id"),
]


def _one_of(model: Model, names: tuple[str, ...]) -> int:
    return sum(getattr(model, name) is not None for name in names)


class SecretKeyRef(Model):
    """A key of a Secret in the same namespace."""

    schema_extra: ClassVar[dict[str, Any]] = ATOMIC_MAP

    name: Annotated[ObjectName, Field(description="Name of the Secret.")]
    key: Annotated[
        str,
        Field(min_length=1, max_length=253, description="Key in the Secret."),
        matches(r"[-._a-zA-Z0-9]+", "must consist of letters, digits, '-', '_' or '.'"),
    ]


class HuggingFaceSource(Model):
    """A repository of the Hugging Face Hub."""

    repository: Annotated[HubRepository, Field(description="Repository, as `organisation/name`.")]
    revision: Annotated[
        HubRevision | None,
        Field(
            description="Branch, tag or commit id; a 40-character commit id is the only one that never moves."
        ),
    ] = None
    token_secret_key_ref: Annotated[
        SecretKeyRef | None,
        Field(
            description="Secret key with the access token. Only the pod reads it; the operator never does."
        ),
    ] = None


class ClaimSource(Model):
    """A directory of a PersistentVolumeClaim in the same namespace, mounted read-only."""

    claim_name: Annotated[ObjectName, Field(description="Name of the claim.")]
    path: Annotated[
        RelativePath | None, Field(description="Directory in the volume; absent means its root.")
    ] = None


class ImageSource(Model):
    """A directory of an OCI image, mounted read-only as an image volume; nothing of it is executed."""

    reference: Annotated[ImageReference, Field(description="Image reference; a digest never moves.")]
    pull_policy: Annotated[
        Literal["Always", "IfNotPresent", "Never"] | None,
        Field(
            description="When the image is pulled; absent means Always for `:latest`, IfNotPresent otherwise."
        ),
    ] = None
    path: Annotated[
        RelativePath | None, Field(description="Directory in the image; absent means its root.")
    ] = None


_SOURCES: Final = ("hugging_face", "persistent_volume_claim", "image")


class Source(Model):
    """Where files come from: exactly one of `huggingFace`, `persistentVolumeClaim` and `image`."""

    schema_extra: ClassVar[dict[str, Any]] = ATOMIC_MAP
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.huggingFace), has(self.persistentVolumeClaim), has(self.image)].exists_one(set, set)",
            "must have exactly one of `huggingFace`, `persistentVolumeClaim` and `image`",
            lambda source: _one_of(source, _SOURCES) == 1,
        ),
    )

    hugging_face: Annotated[HuggingFaceSource | None, Field(description="A Hugging Face repository.")] = None
    persistent_volume_claim: Annotated[ClaimSource | None, Field(description="A PersistentVolumeClaim.")] = (
        None
    )
    image: Annotated[ImageSource | None, Field(description="An OCI image.")] = None


_NAME_PATTERN: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
ServedName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    matches(
        _NAME_PATTERN,
        "must be at most 63 letters, digits, '-', '_' or '.', starting and ending with a letter or digit",
    ),
]


class Adapter(Model):
    """A LoRA adapter."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.source.huggingFace) || !has(self.source.huggingFace.revision)",
            "must not be set for an adapter: vLLM would not use it; "
            "use a claim or an image to fix the adapter's version",
            lambda adapter: (
                adapter.source.hugging_face is None or adapter.source.hugging_face.revision is None
            ),
            ".source.huggingFace.revision",
        ),
        Rule(
            "!has(self.source.huggingFace) || !has(self.source.huggingFace.tokenSecretKeyRef)",
            "must not be set for an adapter: the token of `spec.source.huggingFace` is used",
            lambda adapter: (
                adapter.source.hugging_face is None
                or adapter.source.hugging_face.token_secret_key_ref is None
            ),
            ".source.huggingFace.tokenSecretKeyRef",
        ),
    )

    name: Annotated[ServedName, Field(description="Name by which requests choose the adapter (`lora_name`).")]
    source: Annotated[Source, Field(description="Where the adapter's files come from.")]


ParallelSize = Annotated[int, Field(ge=1, le=64)]


class EngineArgs(Model):
    """vLLM's engine arguments by their own names. Declared here are those that the operator reads."""

    model_config = ConfigDict(extra="allow", alias_generator=None)
    schema_extra: ClassVar[dict[str, Any]] = {"x-kubernetes-preserve-unknown-fields": True}

    tensor_parallel_size: Annotated[
        ParallelSize | None, Field(description="GPUs that share each layer; absent means 1.")
    ] = None
    pipeline_parallel_size: Annotated[
        ParallelSize | None, Field(description="Groups of layers, each on its own GPUs; absent means 1.")
    ] = None
    data_parallel_size: Annotated[
        ParallelSize | None, Field(description="Copies of the model in one pod; absent means 1.")
    ] = None
    prefill_context_parallel_size: Annotated[
        ParallelSize | None, Field(description="GPUs that share one prompt in prefill; absent means 1.")
    ] = None
    max_model_len: Annotated[
        int | None,
        Field(ge=-1, le=100_000_000, description="Longest prompt and answer in tokens; -1 means what fits."),
        Check("self != 0", "must be -1 or greater than zero", lambda size: size is None or size != 0),
    ] = None
    enable_lora: Annotated[
        bool | None, Field(description="Accept LoRA adapters; absent means true if `spec.adapters` has any.")
    ] = None
    max_lora_rank: Annotated[int | None, Field(ge=1, le=1024, description="Largest rank of an adapter.")] = (
        None
    )
    distributed_executor_backend: Annotated[
        str | None,
        Field(max_length=253, description="How vLLM starts its workers; `ray` is not supported."),
        Check("self != 'ray'", "must not be 'ray': one pod is one node here", lambda name: name != "ray"),
    ] = None
    runner: Annotated[
        str | None, Field(max_length=64, description="What the model does: `auto`, `generate` or `pooling`.")
    ] = None
    trust_remote_code: Annotated[
        bool | None,
        Field(description="Run code that comes with the model; the administrator must permit it."),
    ] = None

    def values(self) -> dict[str, Any]:
        """The arguments as given, declared or not."""
        return self.model_dump(mode="json", exclude_unset=True)

    def world_size(self) -> int:
        """GPUs that one pod needs: the product of the parallel sizes."""
        return (
            (self.tensor_parallel_size or 1)
            * (self.pipeline_parallel_size or 1)
            * (self.data_parallel_size or 1)
            * (self.prefill_context_parallel_size or 1)
        )


class Gpus(Model):
    """GPUs of each pod."""

    count: Annotated[
        int | None,
        Field(
            ge=0,
            le=64,
            description="GPUs of each pod; 0 means CPU. Absent means the product of the parallel sizes.",
        ),
    ] = None
    resource_name: Annotated[
        str,
        Field(min_length=1, max_length=253, description="Extended resource that stands for a GPU."),
        matches(
            r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?",
            "must be an extended resource such as 'nvidia.com/gpu'",
        ),
    ] = "nvidia.com/gpu"


class ResourceAmounts(Model):
    """Amounts of compute resources."""

    cpu: Annotated[Quantity | None, Field(description="CPU cores.")] = None
    memory: Annotated[Quantity | None, Field(description="Memory; shared memory counts.")] = None
    ephemeral_storage: Annotated[
        Quantity | None,
        Field(alias="ephemeral-storage", description="Disk of the node, with a `cache` of kind emptyDir."),
    ] = None


def _within_limit(name: str) -> Rule:
    attribute, cel = name.replace("-", "_"), name.replace("-", "__dash__")

    def holds(resources: Any) -> bool:
        low = getattr(resources.requests, attribute, None)
        high = getattr(resources.limits, attribute, None)
        return low is None or high is None or quantity(low) <= quantity(high)

    return Rule(
        f"!has(self.requests) || !has(self.limits) || "
        f"!has(self.requests.{cel}) || !has(self.limits.{cel}) || "
        f"!quantity(string(self.requests.{cel})).isGreaterThan(quantity(string(self.limits.{cel})))",
        f"`requests.{name}` must not be greater than `limits.{name}`",
        holds,
    )


class Resources(Model):
    """Compute resources of each pod, GPUs apart."""

    rules: ClassVar[tuple[Rule, ...]] = tuple(map(_within_limit, ("cpu", "memory", "ephemeral-storage")))

    requests: Annotated[ResourceAmounts | None, Field(description="What the scheduler reserves.")] = None
    limits: Annotated[ResourceAmounts | None, Field(description="What the pod may not exceed.")] = None


class SharedMemory(Model):
    """The pod's /dev/shm, through which vLLM's processes talk to each other."""

    size_limit: Annotated[Quantity, Field(description="Its size; it counts as memory of the pod.")] = "2Gi"


class EmptyDirCache(Model):
    """A volume of the node that lives as long as the pod."""

    size_limit: Annotated[
        Quantity | None,
        Field(description="Its size; above it the pod is evicted. Absent means the node's disk."),
    ] = None


class ClaimCache(Model):
    """A PersistentVolumeClaim in the same namespace, mounted writable."""

    claim_name: Annotated[ObjectName, Field(description="Name of the claim.")]


class Cache(Model):
    """Where downloads and compile caches go: at most one of `emptyDir` and `persistentVolumeClaim`."""

    schema_extra: ClassVar[dict[str, Any]] = ATOMIC_MAP
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.emptyDir), has(self.persistentVolumeClaim)].exists_one(set, set)",
            "must have exactly one of `emptyDir` and `persistentVolumeClaim`",
            lambda cache: _one_of(cache, ("empty_dir", "persistent_volume_claim")) == 1,
        ),
    )

    empty_dir: Annotated[
        EmptyDirCache | None, Field(description="A volume that lives as long as the pod.")
    ] = None
    persistent_volume_claim: Annotated[
        ClaimCache | None, Field(description="A claim: a large model is fetched once, not at each restart.")
    ] = None


class LocalObjectReference(Model):
    """A Secret in the same namespace."""

    name: Annotated[ObjectName, Field(description="Name of the Secret.")]


class EnvVar(Model):
    """An environment variable with a literal value."""

    name: Annotated[
        str,
        Field(
            min_length=1, max_length=128, description="Its name; only names on the allow-list are accepted."
        ),
        matches(
            r"[A-Za-z_][A-Za-z0-9_]*", "must consist of letters, digits and '_', and not start with a digit"
        ),
    ]
    value: Annotated[str, Field(max_length=4096, description="Its value.")] = ""


class Runtime(Model):
    """The Triton container."""

    image: Annotated[
        ImageReference | None,
        Field(
            description="Image with Triton, vLLM and the backend, from the administrator's allow-list. "
            "Absent means the administrator's default at the time of the last change that restarts the pods."
        ),
    ] = None
    image_pull_secrets: Annotated[
        tuple[LocalObjectReference, ...],
        Field(max_length=8, description="Secrets for pulling images.", json_schema_extra=map_list("name")),
    ] = ()
    env: Annotated[
        tuple[EnvVar, ...],
        Field(max_length=64, description="Environment variables.", json_schema_extra=map_list("name")),
    ] = ()
    log_level: Annotated[
        Literal["error", "warning", "info", "debug"], Field(description="How much Triton and vLLM log.")
    ] = "info"
    startup_timeout_seconds: Annotated[
        int, Field(ge=30, le=86400, description="Longest time from the container's start to a loaded model.")
    ] = 1800
    drain_seconds: Annotated[
        int,
        Field(ge=0, le=3600, description="How long requests in flight may take to finish when a pod ends."),
    ] = 30


class GenerateProbe(Model):
    """A text generation that proves that the model serves."""

    prompt: Annotated[str, Field(min_length=1, max_length=1024, description="Prompt of the probe.")] = "Hello"
    max_tokens: Annotated[int, Field(ge=1, le=64, description="Tokens to generate.")] = 1
    expect_contains: Annotated[
        str | None, Field(min_length=1, max_length=256, description="Text that the answer must contain.")
    ] = None


class EmbedProbe(Model):
    """An embedding that proves that the model serves."""

    input: Annotated[str, Field(min_length=1, max_length=1024, description="Text of the probe.")] = "Hello"


class Probe(Model):
    """The inference by which the operator judges each pod. A change restarts nothing."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(has(self.generate) && has(self.embed))",
            "must not have both `generate` and `embed`",
            lambda probe: probe.generate is None or probe.embed is None,
        ),
        Rule(
            "!has(self.timeoutSeconds) || !has(self.periodSeconds) || "
            "self.timeoutSeconds <= self.periodSeconds * 4",
            "`timeoutSeconds` must not be greater than four times `periodSeconds`",
            lambda probe: probe.timeout_seconds <= 4 * probe.period_seconds,
        ),
    )

    generate: Annotated[
        GenerateProbe | None, Field(description="Probe by generating text; the default for models that can.")
    ] = None
    embed: Annotated[
        EmbedProbe | None, Field(description="Probe by an embedding; the default for pooling models.")
    ] = None
    period_seconds: Annotated[int, Field(ge=5, le=300, description="Time between two probes of a pod.")] = 15
    timeout_seconds: Annotated[int, Field(ge=5, le=300, description="Longest time to an answer.")] = 15
    failure_threshold: Annotated[
        int,
        Field(ge=1, le=10, description="Failures in a row after which a pod no longer counts as serving."),
    ] = 3


PodCount = Annotated[
    int | Annotated[str, Field(max_length=4)],
    INT_OR_STRING,
    Check(
        "string(self).matches('^([0-9]{1,4}|(100|[1-9]?[0-9])%)$')",
        "must be a number of pods or a percentage such as '25%'",
        lambda value: matches(r"([0-9]{1,4}|(100|[1-9]?[0-9])%)", "").holds(str(value)),
    ),
]


class RollingUpdate(Model):
    """How many pods a rolling update may add and take away at a time."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(string(self.maxSurge) in ['0', '0%'] && string(self.maxUnavailable) in ['0', '0%'])",
            "`maxSurge` and `maxUnavailable` must not both be zero",
            lambda update: not {str(update.max_surge), str(update.max_unavailable)} <= {"0", "0%"},
        ),
    )

    max_surge: Annotated[
        PodCount, Field(description="Pods above `replicas` while rolling; each needs its GPUs.")
    ] = 1
    max_unavailable: Annotated[PodCount, Field(description="Pods below `replicas` while rolling.")] = 0


class Rollout(Model):
    """How pods of a new revision replace the old ones."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.type == 'RollingUpdate' || !has(self.rollingUpdate)",
            "must not be set when `type` is 'Recreate'",
            lambda rollout: rollout.type == "RollingUpdate" or rollout.rolling_update is None,
            ".rollingUpdate",
        ),
    )

    type: Annotated[
        Literal["RollingUpdate", "Recreate"],
        Field(
            description="RollingUpdate starts new pods first; Recreate ends old ones first, for want of GPUs."
        ),
    ] = "RollingUpdate"
    rolling_update: Annotated[
        RollingUpdate | None,
        Field(description="Only with RollingUpdate; absent means one more pod and none fewer."),
    ] = None


def _shared_memory_fits(spec: Any) -> bool:
    limit = spec.resources and spec.resources.limits and spec.resources.limits.memory
    return not (spec.shared_memory and limit) or quantity(spec.shared_memory.size_limit) <= quantity(limit)


def _gpus_cover_world(spec: Any) -> bool:
    count = spec.gpus.count if spec.gpus else None
    return not count or spec.engine_args is None or spec.engine_args.world_size() <= count


_SIZES: Final = (
    "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "prefill_context_parallel_size"
)  # fmt: skip
_WORLD: Final = " * ".join(f"(has(self.engineArgs.{name}) ? self.engineArgs.{name} : 1)" for name in _SIZES)


class VLLMModelSpec(Model):
    """What is asked for."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.gpus) || !has(self.gpus.count) || self.gpus.count == 0 || !has(self.engineArgs) || "
            f"{_WORLD} <= self.gpus.count",
            "`gpus.count` must not be less than the product of the parallel sizes in `engineArgs` "
            "(`tensor_parallel_size`, `pipeline_parallel_size`, `data_parallel_size`, "
            "`prefill_context_parallel_size`)",
            _gpus_cover_world,
            ".gpus.count",
        ),
        Rule(
            "!has(self.sharedMemory) || !has(self.resources) || !has(self.resources.limits) || "
            "!has(self.resources.limits.memory) || !quantity(string(self.sharedMemory.sizeLimit))"
            ".isGreaterThan(quantity(string(self.resources.limits.memory)))",
            "`sharedMemory.sizeLimit` must not be greater than `resources.limits.memory`, which includes it",
            _shared_memory_fits,
            ".sharedMemory.sizeLimit",
        ),
        Rule(
            "!has(self.adapters) || size(self.adapters) == 0 || !has(self.engineArgs) || "
            "!has(self.engineArgs.enable_lora) || self.engineArgs.enable_lora",
            "`engineArgs.enable_lora` must not be false while `adapters` has items",
            lambda spec: (
                not spec.adapters or spec.engine_args is None or spec.engine_args.enable_lora is not False
            ),
            ".engineArgs.enable_lora",
        ),
    )

    source: Annotated[Source, Field(description="Where the model comes from.")]
    served_name: Annotated[
        ServedName | None,
        Field(
            description="Name of the model in Triton; absent means the object's name. It may not be changed."
        ),
    ] = None
    engine_args: Annotated[
        EngineArgs | None,
        Field(
            description="vLLM's engine arguments by vLLM's own names, with JSON values. The operator checks "
            "them against the vLLM version of the image."
        ),
    ] = None
    adapters: Annotated[
        tuple[Adapter, ...],
        Field(max_length=32, description="LoRA adapters.", json_schema_extra=map_list("name")),
    ] = ()
    replicas: Annotated[int, Field(ge=0, le=1000, description="Number of pods.")] = 1
    gpus: Annotated[Gpus | None, Field(description="GPUs of each pod.")] = None
    resources: Annotated[Resources | None, Field(description="CPU, memory and disk of each pod.")] = None
    shared_memory: Annotated[
        SharedMemory | None,
        Field(description="The pod's /dev/shm; absent means 2Gi, or the memory limit if lower."),
    ] = None
    cache: Annotated[
        Cache | None, Field(description="Where downloads and compile caches go; absent means an emptyDir.")
    ] = None
    runtime: Annotated[Runtime, Field(description="The Triton container.")] = Runtime()
    probe: Annotated[Probe, Field(description="The inference by which the operator judges each pod.")] = (
        Probe()
    )
    scheduling: Annotated[Scheduling | None, Field(description="Where the pods may run.")] = None
    rollout: Annotated[Rollout, Field(description="How a new revision replaces the old one.")] = Rollout()
    paused: Annotated[bool, Field(description="Leave the children alone; the status goes on.")] = False
