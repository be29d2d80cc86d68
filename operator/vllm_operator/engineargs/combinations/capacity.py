"""Rules about batches, ranks, experts and offloading: scheduler, parallel and offload config."""

import re
from collections.abc import Iterator
from typing import Final

from vllm_operator.engineargs.combinations.arguments import Arguments

#: A list of CPUs as numactl takes it.
_CPUS: Final = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")


def batch(a: Arguments) -> Iterator[str]:
    """SchedulerConfig.verify_max_model_len."""
    batched, length, seqs = (a.given(n) for n in ("max_num_batched_tokens", "max_model_len", "max_num_seqs"))
    if a.given("enable_chunked_prefill") is False and batched and length and 0 < batched < length:
        yield (
            f"spec.engineArgs.max_num_batched_tokens: {batched} must be at least `max_model_len` ({length}) "
            f"without chunked prefill; raise it, or remove `enable_chunked_prefill: false`"
        )
    if batched and seqs and batched < seqs:
        yield (
            f"spec.engineArgs.max_num_batched_tokens: {batched} must be at least `max_num_seqs` ({seqs}); "
            f"raise it, or lower `max_num_seqs`"
        )
    if length == 0:
        yield "spec.engineArgs.max_model_len: must be -1 (what fits) or above zero, not 0; remove it"
    active = a.given("max_num_active_seqs")
    if active and seqs and active > seqs:
        yield (
            f"spec.engineArgs.max_num_active_seqs: {active} must be at most `max_num_seqs` ({seqs}); lower it"
        )


def partial_prefills(a: Arguments) -> Iterator[str]:
    """SchedulerConfig.verify_max_model_len, until 0.26."""
    if not a.has("max_num_partial_prefills"):
        return
    partial, long = a.get("max_num_partial_prefills"), a.get("max_long_partial_prefills")
    threshold, length = a.get("long_prefill_token_threshold"), a.given("max_model_len")
    if partial > 1 and a.given("enable_chunked_prefill") is False:
        yield (
            "spec.engineArgs.max_num_partial_prefills: above 1 needs chunked prefill; "
            "remove `enable_chunked_prefill: false`"
        )
    if partial > 1 and length and length > 0 and threshold > length:
        yield (
            f"spec.engineArgs.long_prefill_token_threshold: {threshold} must be at most `max_model_len` "
            f"({length}); lower it"
        )
    if long > partial:
        yield (
            f"spec.engineArgs.max_long_partial_prefills: {long} must be at most `max_num_partial_prefills` "
            f"({partial}); lower it"
        )


def context_parallel(a: Arguments) -> Iterator[str]:
    """ParallelConfig._validate_parallel_config."""
    tensor, decode = a.get("tensor_parallel_size"), a.get("decode_context_parallel_size") or 1
    prefill = a.get("prefill_context_parallel_size") or 1
    if prefill == 1 and tensor % decode:
        yield (
            f"spec.engineArgs.tensor_parallel_size: {tensor} must be a multiple of "
            f"`decode_context_parallel_size` ({decode}); lower the latter to a divisor"
        )
    elif prefill > 1 and decode not in (1, prefill, tensor * prefill):
        sizes = ", ".join(str(size) for size in sorted({1, prefill, tensor * prefill}))
        yield (
            f"spec.engineArgs.decode_context_parallel_size: {decode} must be one of {sizes} with "
            f"`prefill_context_parallel_size` {prefill}; change it"
        )


def executor(a: Arguments) -> Iterator[str]:
    """EngineArgs._check_feature_supported."""
    if a.get("pipeline_parallel_size") > 1 and a.given("distributed_executor_backend") == "uni":
        yield (
            "spec.engineArgs.pipeline_parallel_size: above 1 does not go with "
            "`distributed_executor_backend: uni`; remove the latter"
        )


def experts(a: Arguments) -> Iterator[str]:
    """ParallelConfig._validate_parallel_config and __post_init__."""
    balanced = a.get("enable_eplb")
    parallel = a.get("tensor_parallel_size") * a.get("data_parallel_size")
    parallel *= a.get("prefill_context_parallel_size") or 1
    if balanced and not a.get("enable_expert_parallel"):
        yield "spec.engineArgs.enable_eplb: needs expert parallelism; set `enable_expert_parallel: true`"
    elif balanced and parallel <= 1:
        yield "spec.engineArgs.enable_eplb: needs more than one GPU; raise `tensor_parallel_size`"
    redundant = a.nested("eplb_config").get("num_redundant_experts", 0)
    if redundant and not balanced:
        yield "spec.engineArgs.eplb_config.num_redundant_experts: needs `enable_eplb: true`; set that too"
    if a.get("enable_elastic_ep") and not balanced:
        yield "spec.engineArgs.enable_elastic_ep: needs load balancing; set `enable_eplb: true`"
    if a.get("enable_elastic_ep") and a.get("pipeline_parallel_size") > 1:
        yield "spec.engineArgs.enable_elastic_ep: excludes `pipeline_parallel_size` above 1; set it to 1"


def numa(a: Arguments) -> Iterator[str]:
    """ParallelConfig._validate_parallel_config."""
    for name in ("numa_bind_nodes", "numa_bind_cpus"):
        if a.given(name) is not None and not a.get("numa_bind"):
            yield f"spec.engineArgs.{name}: does nothing alone; set `numa_bind: true` or remove it"
        if a.given(name) == []:
            yield f"spec.engineArgs.{name}: must not be empty; list what to bind to, or remove it"
    for entry in a.given("numa_bind_cpus") or ():
        spans = [part.split("-") for part in str(entry).split(",")]
        if not _CPUS.fullmatch(str(entry)) or any(int(s[0]) > int(s[-1]) for s in spans):
            yield f"spec.engineArgs.numa_bind_cpus: '{entry}' must be CPUs such as '0-3' or '0,2,4-7'"


def microbatches(a: Arguments) -> Iterator[str]:
    """ParallelConfig._verify_args, from 0.30."""
    if not a.get("enable_dbo") or not a.has("dp_sync_interval"):
        return
    needed = max(2, a.get("ubatch_size") or 0)
    for name in ("dbo_decode_token_threshold", "dbo_prefill_token_threshold"):
        if a.get(name) < needed:
            yield f"spec.engineArgs.{name}: {a.get(name)} must be at least {needed} with `enable_dbo`"


def cuda_graphs(a: Arguments) -> Iterator[str]:
    """VllmConfig._set_cudagraph_sizes."""
    config = a.nested("compilation_config")
    sizes = a.given("cudagraph_capture_sizes") or config.get("cudagraph_capture_sizes")
    largest = a.given("max_cudagraph_capture_size") or config.get("max_cudagraph_capture_size")
    if sizes and largest and max(sizes) != largest and not a.get("enforce_eager"):
        yield (
            f"spec.engineArgs.max_cudagraph_capture_size: {largest} must be the largest of "
            f"`cudagraph_capture_sizes` ({max(sizes)}); remove it"
        )


def offload(a: Arguments) -> Iterator[str]:
    """OffloadConfig.validate_offload_config."""
    group = a.get("offload_group_size") or 0
    if a.get("offload_backend") != "prefetch" and group <= 0:
        return
    if (a.get("offload_num_in_group") or 0) > group:
        yield (
            f"spec.engineArgs.offload_num_in_group: {a.get('offload_num_in_group')} must be at most "
            f"`offload_group_size` ({group}); raise the latter"
        )
    if a.get("offload_prefetch_step") is not None and a.get("offload_prefetch_step") < 1:
        yield "spec.engineArgs.offload_prefetch_step: must be at least 1 with prefetch offloading; raise it"
