"""`spec` of a VLLMModel, with the engine arguments and the rules over several fields."""

from typing import Annotated, Any, ClassVar, Final

from pydantic import ConfigDict, Field

from vllm_operator.api.base import (
    Check,
    Model,
    Rule,
    map_list,
    quantity,
)
from vllm_operator.api.resources import Cache, Gpus, Resources, SharedMemory
from vllm_operator.api.runtime import Probe, Rollout, Runtime
from vllm_operator.api.scheduling import Scheduling
from vllm_operator.api.source import Adapter, ServedName, Source

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


def _shared_memory_fits(spec: Any) -> bool:
    limit = spec.resources and spec.resources.limits and spec.resources.limits.memory
    return not (spec.shared_memory and limit) or quantity(spec.shared_memory.size_limit) <= quantity(limit)


def _gpus_cover_world(spec: Any) -> bool:
    count = spec.gpus.count if spec.gpus else None
    return not count or spec.engine_args is None or spec.engine_args.world_size() <= count


def _front_ends_have_one_engine(spec: Any) -> bool:
    engines = (spec.engine_args and spec.engine_args.data_parallel_size) or 1
    return spec.runtime.front_ends == 1 or engines == 1


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
        Rule(
            "!has(self.runtime) || !has(self.runtime.frontEnds) || self.runtime.frontEnds == 1 || "
            "!has(self.engineArgs) || !has(self.engineArgs.data_parallel_size) || "
            "self.engineArgs.data_parallel_size == 1",
            "`runtime.frontEnds` and `engineArgs.data_parallel_size` must not both be greater than 1: "
            "several engines cannot share front ends; set one of the two to 1",
            _front_ends_have_one_engine,
            ".runtime.frontEnds",
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
