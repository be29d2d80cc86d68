"""Settings that do nothing because their switch is off: no mistake for vLLM, but one for who wrote them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from vllm_operator.engineargs.combinations.arguments import Arguments


@dataclass(frozen=True, slots=True)
class _Switch:
    """Arguments, when they are used, and what to do where they are not."""

    is_on: Callable[[Arguments], bool]
    remedy: str
    names: tuple[str, ...]


def _set(name: str) -> Callable[[Arguments], bool]:
    return lambda a: bool(a.get(name))


def _above_one(*names: str) -> Callable[[Arguments], bool]:
    return lambda a: any((a.get(name) or 1) > 1 for name in names)


def _speculates(a: Arguments) -> bool:
    return any(a.given(name) is not None for name in ("speculative_config", "spec_method", "spec_model"))


_SWITCHES: Final = (
    _Switch(
        _set("enable_lora"),
        "set `enable_lora: true` or list adapters in `spec.adapters`",
        (
            "max_loras", "max_lora_rank", "max_cpu_loras", "lora_dtype", "fully_sharded_loras",
            "lora_target_modules", "specialize_active_lora", "enable_tower_connector_lora",
            "default_mm_loras", "enable_mixed_moe_lora_format", "enable_moe_shared_loras",
            "max_lora_cls_labels",
        ),
    ),
    _Switch(_set("enable_eplb"), "set `enable_eplb: true`", ("eplb_config",)),
    _Switch(
        _set("enable_expert_parallel"),
        "set `enable_expert_parallel: true`",
        ("expert_placement_strategy", "all2all_backend", "enable_ep_weight_filter"),
    ),
    _Switch(
        lambda a: bool(a.get("enable_dbo")) or (a.get("ubatch_size") or 0) > 1,
        "set `enable_dbo: true`",
        ("dbo_decode_token_threshold", "dbo_prefill_token_threshold"),
    ),
    _Switch(_speculates, "set `speculative_config`", ("spec_tokens",)),
    _Switch(
        _above_one("data_parallel_size"),
        "raise `data_parallel_size`",
        ("data_parallel_backend", "disable_nccl_for_dp_synchronization", "dp_sync_interval"),
    ),
    _Switch(
        _above_one("decode_context_parallel_size", "prefill_context_parallel_size"),
        "raise `decode_context_parallel_size`",
        (
            "dcp_comm_backend", "dcp_kv_cache_interleave_size", "cp_kv_cache_interleave_size",
            "dcp_q_replicate",
        ),
    ),
    _Switch(_set("kv_offloading_size"), "set `kv_offloading_size`", ("kv_offloading_backend",)),
    _Switch(_set("kv_cache_metrics"), "set `kv_cache_metrics: true`", ("kv_cache_metrics_sample",)),
    _Switch(_set("use_replayssm"), "set `use_replayssm: true`", ("replayssm_buffer_len",)),
    _Switch(_set("enable_sleep_mode"), "set `enable_sleep_mode: true`", ("sleep_mode_offload_cudagraph",)),
    _Switch(_set("enable_elastic_ep"), "set `enable_elastic_ep: true`", ("elastic_ep_max_dp_size",)),
    _Switch(
        _set("enable_mamba_cache_stochastic_rounding"),
        "set `enable_mamba_cache_stochastic_rounding: true`",
        ("mamba_cache_philox_rounds",),
    ),
    _Switch(
        lambda a: a.given("enable_prefix_caching") is not False,
        "remove `enable_prefix_caching: false`",
        ("prefix_caching_hash_algo",),
    ),
    _Switch(
        lambda a: a.given("enable_chunked_prefill") is not False,
        "remove `enable_chunked_prefill: false`",
        ("long_prefill_token_threshold", "max_num_partial_prefills", "max_long_partial_prefills"),
    ),
    _Switch(
        lambda a: not a.get("enforce_eager"),
        "remove `enforce_eager`",
        ("cudagraph_capture_sizes", "max_cudagraph_capture_size"),
    ),
    _Switch(
        lambda a: not a.get("language_model_only"),
        "remove `language_model_only`",
        ("limit_mm_per_prompt", "mm_processor_kwargs", "media_io_kwargs", "video_pruning_rate"),
    ),
    _Switch(_set("video_pruning_rate"), "set `video_pruning_rate`", ("video_pruning_method",)),
    _Switch(
        lambda a: a.get("mm_processor_cache_gb") != 0,
        "raise `mm_processor_cache_gb`",
        ("mm_processor_cache_type",),
    ),
    _Switch(
        lambda a: a.get("safetensors_load_strategy") == "prefetch",
        "set `safetensors_load_strategy: prefetch`",
        ("safetensors_prefetch_block_size", "safetensors_prefetch_num_threads"),
    ),
)  # fmt: skip


def warnings(arguments: Arguments) -> Iterator[str]:
    """One sentence for each argument that is given, differs from vLLM's default and is not used."""
    for switch in _SWITCHES:
        if switch.is_on(arguments):
            continue
        for name in switch.names:
            if _says_something(arguments, name):
                yield f"spec.engineArgs.{name}: does nothing as things are; {switch.remedy}, or remove it"


def _says_something(arguments: Arguments, name: str) -> bool:
    value: Any = arguments.given(name)
    default = arguments.schema.arguments.get(name, {}).get("default")
    return value is not None and value != {} and (type(value), value) != (type(default), default)
