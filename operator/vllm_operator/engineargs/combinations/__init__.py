"""Combinations of engine arguments that vLLM refuses only after the GPU has been taken.

Each rule restates one check of vLLM's own config classes; its comment names the check. Rules hold from
vLLM 0.24 on unless they say otherwise, and they judge only what the arguments alone decide: what
depends on the model's config.json is left to the pod.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from vllm_operator.engineargs.combinations import (
    capacity,
    compilation,
    drafting,
    experts,
    features,
    model,
    scheduling,
    speculation,
    transfer,
)
from vllm_operator.engineargs.combinations.arguments import Arguments, Rule

PARALLEL_SIZES: Final = (
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "prefill_context_parallel_size",
)

RULES: Final[tuple[Rule, ...]] = (
    capacity.batch,
    capacity.partial_prefills,
    capacity.context_parallel,
    capacity.executor,
    capacity.experts,
    capacity.numa,
    capacity.microbatches,
    capacity.cuda_graphs,
    capacity.offload,
    model.quantization,
    model.kv_cache_dtype,
    model.lora,
    model.mamba,
    model.pooling,
    model.multimodal,
    model.sampling,
    speculation.speculation,
    features.said_twice,
    features.observability,
    features.structured_outputs,
    scheduling.long_prefill,
    scheduling.asynchronous,
    scheduling.drafting_slots,
    scheduling.fast_prefill,
    scheduling.language_model_only,
    scheduling.context_parallel,
    transfer.roles,
    transfer.allocator,
    transfer.routed_experts,
    transfer.sparse_host_cache,
    experts.balancing,
    experts.communication,
    drafting.acceptance,
    drafting.keys,
    drafting.adaptive,
    drafting.watermark,
    compilation.compilation,
    compilation.profiler,
    compilation.histograms,
    compilation.quantization_targets,
)


def operator_limits(engine_args: Mapping[str, Any], gpus: int | None) -> Iterator[str]:
    """What this operator cannot run, whatever the version: more GPUs than the pod has."""
    sizes = {name: engine_args.get(name, 1) for name in PARALLEL_SIZES}
    product = 1
    for size in sizes.values():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            return  # judged as a value of its own
        product *= size
    if gpus and product > gpus:
        named = " x ".join(f"`{name}` {size}" for name, size in sizes.items() if size > 1)
        yield (
            f"spec.engineArgs: needs {product} GPUs ({named}) and `spec.gpus.count` is {gpus}; "
            f"set `spec.gpus.count` to {product} or lower the parallel sizes"
        )


def refused(arguments: Arguments) -> Iterator[str]:
    """Every combination that vLLM would refuse, in one sentence with the remedy."""
    for rule in RULES:
        yield from rule(arguments)


__all__ = ["PARALLEL_SIZES", "Arguments", "operator_limits", "refused"]
