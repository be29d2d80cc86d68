"""Argument sets given to vLLM and to our check alike: a few for each argument, and each rule's own."""
# ruff: noqa: E501

import ast
from collections.abc import Iterator
from typing import Any

from vllm_operator.engineargs import schema, types

Set = dict[str, Any]

#: Never set by a user of the operator, or without meaning for an offline question.
LEFT_OUT = {"model", "model_weights", "hf_config_path", "tokenizer", "download_dir", "hf_token"}

NONSENSE: dict[str, list[Any]] = {
    "int": ["many", 2.5, [1]],
    "float": ["most", [0.5]],
    "bool": ["maybe", 7],
    "str": [5, ["text"]],
    "list": [{"a": 1}, 3],
    "set": [{"a": 1}, 3],
    "dict": [3, "text"],
}

#: One good and one bad set for each rule about combinations, by the rule's name.
COMBINATIONS: dict[str, tuple[Set, Set]] = {
    "batch below length": (
        {"max_num_batched_tokens": 64, "max_num_seqs": 4, "enable_chunked_prefill": False},
        {"max_num_batched_tokens": 32, "max_num_seqs": 4, "enable_chunked_prefill": False, "max_model_len": 64},
    ),
    "batch below sequences": (
        {"max_num_batched_tokens": 64, "max_num_seqs": 64},
        {"max_num_batched_tokens": 32, "max_num_seqs": 64},
    ),
    "active above sequences": (
        {"max_num_active_seqs": 4, "max_num_seqs": 4},
        {"max_num_active_seqs": 5, "max_num_seqs": 4},
    ),
    "decode context": (
        {"tensor_parallel_size": 2, "decode_context_parallel_size": 1},
        {"tensor_parallel_size": 3, "decode_context_parallel_size": 2},
    ),
    "balancing without experts": ({"enable_eplb": False}, {"enable_eplb": True, "tensor_parallel_size": 2}),
    "redundant experts": (
        {"eplb_config": {"num_redundant_experts": 0}},
        {"eplb_config": {"num_redundant_experts": 1}},
    ),
    "elastic experts": ({"enable_elastic_ep": False}, {"enable_elastic_ep": True}),
    "numa nodes": ({"numa_bind": True, "numa_bind_nodes": [0]}, {"numa_bind_nodes": [0]}),
    "numa empty": ({"numa_bind": True, "numa_bind_cpus": ["0-1"]}, {"numa_bind": True, "numa_bind_nodes": []}),
    "microbatches": (
        {"enable_dbo": False, "dbo_decode_token_threshold": 1},
        {"enable_dbo": True, "dbo_decode_token_threshold": 1},
    ),
    "LoRA in memory": (
        {"enable_lora": True, "max_loras": 2, "max_cpu_loras": 2},
        {"enable_lora": True, "max_loras": 2, "max_cpu_loras": 1},
    ),
    "LoRA off": ({"max_loras": 2, "max_cpu_loras": 1}, {"enable_lora": True, "max_loras": 0}),
    "speculation without tokens": (
        {"speculative_config": {"method": "ngram", "num_speculative_tokens": 2}},
        {"speculative_config": {"method": "ngram"}},
    ),
    "speculation without model": (
        {"speculative_config": {"method": "ngram", "num_speculative_tokens": 2, "prompt_lookup_max": 3}},
        {"speculative_config": {"method": "eagle", "num_speculative_tokens": 2}},
    ),
    "lookup": (
        {"speculative_config": {"method": "ngram", "num_speculative_tokens": 2, "prompt_lookup_min": 2,
                                "prompt_lookup_max": 3}},
        {"speculative_config": {"method": "ngram", "num_speculative_tokens": 2, "prompt_lookup_min": 4,
                                "prompt_lookup_max": 3}},
    ),
    "draft parallel": (
        {"spec_method": "ngram", "spec_tokens": 2},
        {"speculative_config": {"method": "ngram", "num_speculative_tokens": 2, "tensor_parallel_size": 2}},
    ),
    "speculation said twice": (
        {"spec_method": "ngram", "speculative_config": {"num_speculative_tokens": 2}},
        {"spec_method": "ngram", "speculative_config": {"method": "ngram", "num_speculative_tokens": 2}},
    ),
    "speculation metrics": (
        {"per_request_spec_decode_metrics": "none"},
        {"per_request_spec_decode_metrics": "summary"},
    ),
    "attention said twice": (
        {"attention_config": {"backend": "CPU_ATTN"}},
        {"attention_config": {"backend": "CPU_ATTN"}, "attention_backend": "CPU_ATTN"},
    ),
    "graphs said twice": (
        {"cudagraph_capture_sizes": [1, 2]},
        {"cudagraph_capture_sizes": [1, 2], "compilation_config": {"cudagraph_capture_sizes": [1, 2]}},
    ),
    "autotune said twice": (
        {"enable_flashinfer_autotune": False},
        {"enable_flashinfer_autotune": False, "kernel_config": {"enable_flashinfer_autotune": False}},
    ),
    "parser beside outputs": (
        {"structured_outputs_config": {"reasoning_parser": "deepseek_r1"}},
        {"structured_outputs_config": {"backend": "auto"}, "reasoning_parser": "deepseek_r1"},
    ),
    "traces without endpoint": ({"collect_detailed_traces": None}, {"collect_detailed_traces": ["all"]}),
    "whitespace": (
        {"structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True}},
        {"structured_outputs_config": {"backend": "auto", "disable_any_whitespace": True}},
    ),
    "additional properties": (
        {"structured_outputs_config": {"backend": "guidance", "disable_additional_properties": True}},
        {"structured_outputs_config": {"backend": "xgrammar", "disable_additional_properties": True}},
    ),
    "offload group": (
        {"offload_backend": "prefetch", "offload_group_size": 2, "offload_num_in_group": 1},
        {"offload_backend": "prefetch", "offload_group_size": 2, "offload_num_in_group": 3},
    ),
    "offload step": (
        {"offload_group_size": 0, "offload_prefetch_step": 0},
        {"offload_group_size": 2, "offload_prefetch_step": 0},
    ),
    "sharded sampling": (
        {"enable_batch_sharded_sampling": False},
        {"enable_batch_sharded_sampling": True},
    ),
    "sampling mask": ({"return_sampling_mask": False}, {"return_sampling_mask": True}),
    "mamba rounding": (
        {"enable_mamba_cache_stochastic_rounding": False},
        {"enable_mamba_cache_stochastic_rounding": True},
    ),
    "mamba blocks": (
        {"mamba_block_size": 16, "enable_prefix_caching": True},
        {"mamba_block_size": 16, "enable_prefix_caching": False},
    ),
    "mamba algorithm": ({"mamba_ssu_algorithm": None}, {"mamba_ssu_algorithm": "simple"}),
    "pooling type": (
        {"pooler_config": {"pooling_type": "LAST"}},
        {"pooler_config": {"pooling_type": "LAST", "seq_pooling_type": "LAST"}},
    ),
    "logit sigma": ({"pooler_config": {"logit_sigma": 1.0}}, {"pooler_config": {"logit_sigma": 0}}),
    "transfer role": (
        {"kv_transfer_config": None},
        {"kv_transfer_config": {"kv_connector": "ExampleConnector"}},
    ),
    "profiler": ({"profiler_config": {}}, {"profiler_config": {"profiler": "torch"}}),
    "profiler folder": (
        {"profiler_config": {"profiler": "torch", "torch_profiler_dir": "/tmp/profile"}},
        {"profiler_config": {"torch_profiler_dir": "/tmp/profile"}},
    ),
    "pipeline on one process": (
        {"pipeline_parallel_size": 1, "distributed_executor_backend": "uni"},
        {"pipeline_parallel_size": 2, "distributed_executor_backend": "uni"},
    ),
    "graph sizes": (
        {"cudagraph_capture_sizes": [1, 2, 4], "max_cudagraph_capture_size": 4},
        {"cudagraph_capture_sizes": [1, 2, 4], "max_cudagraph_capture_size": 8},
    ),
    "deprecated quantization": ({"allow_deprecated_quantization": True}, {"quantization": "fbgemm_fp8"}),
    "quantization and dtype": (
        {"quantization": "fp8", "dtype": "float16"},
        {"quantization": "fp8", "dtype": "float32"},
    ),
    "object cache": (
        {"mm_processor_cache_type": "shm", "mm_shm_cache_max_object_size_mb": 64},
        {"mm_shm_cache_max_object_size_mb": 64},
    ),
}  # fmt: skip

MISTAKES: list[Set] = [
    {"tensor_paralel_size": 2},
    {"max-model-len": 64},
    {"swap_space": 4},
    {"gpu_memory_utilization": 0},
    {"gpu_memory_utilization": -5},
    {"gpu_memory_utilization": 1.5},
    {"tensor_parallel_size": 0},
    {"tensor_parallel_size": -2},
    {"max_model_len": 0},
    {"max_model_len": "64"},
    {"max_model_len": "8k"},
    {"max_model_len": "auto"},
    {"dtype": "fp16"},
    {"dtype": "torch.float16"},
    {"dtype": "Half"},
    {"quantization": "AWQ_MARLIN_2"},
    {"quantization": "int4"},
    {"quantization": "FP8"},
    {"quantization": "mxfp4", "dtype": "half"},
    {"quantization": "mxfp4", "dtype": "float"},
    {"kv_cache_dtype": "int8"},
    {"kv_cache_dtype": "fp16"},
    {"max_lora_rank": 24, "enable_lora": True},
    {"max_lora_rank": "16", "enable_lora": True},
    {"seed": None},
    {"enable_prefix_caching": "true"},
    {"enforce_eager": "yes"},
    {"enforce_eager": 1},
    {"enforce_eager": None},
    {"max_num_seqs": 0},
    {"max_num_seqs": 8.0},
    {"max_num_seqs": True},
    {"compilation_config": 3},
    {"compilation_config": "{}"},
    {"compilation_config": {"level": 3}},
    {"compilation_config": {"mode": 3}},
    {"compilation_config": {"mode": "VLLM_COMPILE"}},
    {"compilation_config": {"mode": "fastest"}},
    {"compilation_config": {"cudagraph_mode": "full"}},
    {"compilation_config": {"pass_config": {"fuse_norm_quant": True}}},
    {"compilation_config": {"pass_config": {"fuse": True}}},
    {"compilation_config": {"cudagraph_capture_sizes": ["a"]}},
    {"speculative_config": "{}"},
    {"speculative_config": {"num-speculative-tokens": 2, "method": "ngram"}},
    {"speculative_config": {"num_speculative_tokens": 0, "method": "ngram"}},
    {"speculative_config": {"num_speculative_tokens": 2, "method": "n-gram"}},
    {"speculative_config": {"speculative_model": "x"}},
    {"limit_mm_per_prompt": {"image": "two"}},
    {"limit_mm_per_prompt": ["image"]},
    {"override_generation_config": "temperature=0"},
    {"hf_overrides": ["a"]},
    {"attention_backend": "flash_attn"},
    {"attention_backend": "FLASHATTENTION"},
    {"attention_backend": "xformers"},
    {"scheduling_policy": "lifo"},
    {"block_size": 16},
    {"block_size": "16"},
    {"cpu_offload_gb": "4"},
    {"cpu_offload_gb": -1},
    {"cpu_offload_gb": "4GiB"},
    {"lora_dtype": "float8", "enable_lora": True},
    {"runner": "embedding"},
    {"convert": "reward"},
    {"optimization_level": 2},
    {"optimization_level": "O2"},
    {"optimization_level": 9},
    {"performance_mode": "fast"},
    {"prefix_caching_hash_algo": "md5"},
    {"max_logprobs": -2},
    {"max_logprobs": -1},
    {"stream_interval": 0},
    {"structured_outputs_config": {"backend": "lark"}},
    {"structured_outputs_config": {"backend": "xgrammar"}},
    {"pooler_config": {"pooling_type": "AVERAGE"}},
    {"pooler_config": {"normalize": True}},
    {"kv_cache_memory_bytes": "1G"},
    {"generation_config": None},
    {"model_impl": "pytorch"},
    {"tokenizer_mode": "slow"},
    {"load_format": "safetensor"},
    {"config_format": "gguf"},
    {"ir_op_priority": {"rms_norm": "native"}},
    {"ir_op_priority": {"rms_norms": "native"}},
    {"cudagraph_capture_sizes": 8},
    {"cudagraph_capture_sizes": [1, 2, 4]},
    {"mm_processor_cache_gb": None},
    {"disable_log_stats": "false"},
    {"enable_log_requests": 0},
    {"moe_backend": "TRITON"},
    {"all2all_backend": "nccl"},
    {"logprobs_mode": "raw"},
    {"additional_config": {}},
    {"additional_config": []},
    {"watermark_config": {"kee": 1}},
    {"collect_detailed_traces": "model"},
    {"distributed_executor_backend": "mp"},
    {"distributed_executor_backend": 1},
    {"data_parallel_backend": "nccl"},
]


def sets(known: schema.Schema) -> Iterator[Set]:
    """Every set, in an order that does not change."""
    for name, entry in known.arguments.items():
        if name in LEFT_OUT or name.startswith("_") or entry.get("class") == "never":
            continue
        yield from _of_argument(name, entry, known)
    yield from MISTAKES
    for good, bad in COMBINATIONS.values():
        yield good
        yield bad


def _of_argument(name: str, entry: Any, known: schema.Schema) -> Iterator[Set]:
    if "default" in entry and entry["default"] is not None:
        yield {name: entry["default"]}
    kinds = [m for m in types.members(entry["type"]) if m != "None"]
    for bound, outside, inside in (("ge", -1, 0), ("gt", 0, 1), ("le", 1, 0), ("lt", 0, -1)):
        if bound in entry:
            yield {name: entry[bound] + outside}
            yield {name: entry[bound] + inside if bound in ("ge", "le") else entry[bound]}
    if any(kind in known.classes for kind in kinds):
        yield {name: {"no_such_key": 1}}
        yield {name: "text"}
        return
    if types.choices_of(entry["type"]):
        yield {name: "no-such-choice"}
        return
    kind = ast.unparse(ast.parse(kinds[0], mode="eval").body).split("[")[0] if kinds else "Any"
    for value in NONSENSE.get(kind, [])[:2]:
        yield {name: value}
