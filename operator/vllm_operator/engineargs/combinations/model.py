"""Rules about what the model computes in and what is added to it: model, cache and LoRA config."""

from collections.abc import Iterator

from vllm_operator.engineargs.combinations.arguments import Arguments


def quantization(a: Arguments) -> Iterator[str]:
    """ModelConfig._verify_quantization, VllmConfig._get_quantization_config."""
    method, dtype = a.given("quantization"), a.given("dtype")
    if not isinstance(method, str):
        return
    if method in a.schema.quantization_deprecated and not a.get("allow_deprecated_quantization"):
        yield (
            f"spec.engineArgs.quantization: '{method}' is deprecated and vLLM {a.schema.minor} refuses it; "
            "use another method, or set `allow_deprecated_quantization: true`"
        )
    supported = a.schema.quantization_dtypes.get(method)
    full = {"half": "float16", "float": "float32"}.get(str(dtype), dtype)
    if supported and dtype not in (None, "auto") and full not in supported:
        allowed = " or ".join(f"'{name}'" for name in supported)
        yield (
            f"spec.engineArgs.dtype: '{dtype}' does not go with `quantization: {method}`, which computes in "
            f"{allowed}; set `dtype` to one of these, or to 'auto'"
        )


def kv_cache_dtype(a: Arguments) -> Iterator[str]:
    """VllmConfig._reject_mismatched_float_kv_cache, from 0.33."""
    cache, dtype = a.given("kv_cache_dtype"), a.given("dtype")
    full = {"half": "float16", "float": "float32"}.get(str(dtype), dtype)
    new = tuple(map(int, a.schema.minor.split("."))) >= (0, 33)
    if new and cache in ("float16", "bfloat16") and dtype not in (None, "auto") and full != cache:
        yield (f"spec.engineArgs.kv_cache_dtype: '{cache}' must equal `dtype` ({dtype}); set it to 'auto'")


def lora(a: Arguments) -> Iterator[str]:
    """LoRAConfig._validate_lora_config: vLLM builds it only with enable_lora."""
    if not a.get("enable_lora"):
        return
    in_memory, at_once = a.given("max_cpu_loras"), a.get("max_loras")
    if in_memory and 0 < in_memory < at_once:
        yield (
            f"spec.engineArgs.max_cpu_loras: {in_memory} must be at least `max_loras` ({at_once}); raise it"
        )


def mamba(a: Arguments) -> Iterator[str]:
    """VllmConfig.__post_init__ and validate_mamba_block_size, MambaConfig.validate_ssu_algorithm."""
    if a.given("enable_mamba_cache_stochastic_rounding") and a.get("mamba_ssm_cache_dtype") != "float16":
        yield (
            "spec.engineArgs.enable_mamba_cache_stochastic_rounding: needs "
            "`mamba_ssm_cache_dtype: float16`; set that too"
        )
    if a.given("mamba_block_size") and a.given("enable_prefix_caching") is False:
        yield "spec.engineArgs.mamba_block_size: needs prefix caching; remove `enable_prefix_caching: false`"
    if a.given("mamba_ssu_algorithm") and str(a.get("mamba_backend")).upper() != "FLASHINFER":
        yield "spec.engineArgs.mamba_ssu_algorithm: needs `mamba_backend: flashinfer`; set that too"


def pooling(a: Arguments) -> Iterator[str]:
    """PoolerConfig.__post_init__."""
    config = a.nested("pooler_config")
    for key in ("seq_pooling_type", "tok_pooling_type"):
        if config.get("pooling_type") and config.get(key) is not None:
            yield f"spec.engineArgs.pooler_config.pooling_type: says the same as `{key}`; remove one of them"
    if config.get("logit_sigma") == 0:
        yield "spec.engineArgs.pooler_config.logit_sigma: must not be 0, which divides by it; remove it"


def multimodal(a: Arguments) -> Iterator[str]:
    """MultiModalConfig._validate_multimodal_config, ModelConfig.verify_with_parallel_config."""
    size = a.given("mm_shm_cache_max_object_size_mb")
    default = a.schema.arguments.get("mm_shm_cache_max_object_size_mb", {}).get("default")
    if size is not None and size != default and a.get("mm_processor_cache_type") != "shm":
        yield "spec.engineArgs.mm_shm_cache_max_object_size_mb: needs `mm_processor_cache_type: shm`; set it"
    scale, save = a.given("mm_encoder_fp8_scale_path"), a.given("mm_encoder_fp8_scale_save_path")
    if (scale or save) and a.get("mm_encoder_attn_dtype") != "fp8":
        name = "mm_encoder_fp8_scale_path" if scale else "mm_encoder_fp8_scale_save_path"
        yield f"spec.engineArgs.{name}: needs `mm_encoder_attn_dtype: fp8`; set that too"
    if scale and save:
        yield "spec.engineArgs.mm_encoder_fp8_scale_save_path: excludes `mm_encoder_fp8_scale_path`"
    parallel = a.get("tensor_parallel_size") * a.get("pipeline_parallel_size") * a.get("data_parallel_size")
    if a.given("mm_tensor_ipc") == "torch_shm" and parallel > 1:
        yield "spec.engineArgs.mm_tensor_ipc: 'torch_shm' works with one GPU only; remove it"


def sampling(a: Arguments) -> Iterator[str]:
    """VllmConfig._validate_batch_sharded_sampling (0.29), _verify_sampling_replay_config (0.28)."""
    if a.given("enable_batch_sharded_sampling"):
        tensor, seqs = a.get("tensor_parallel_size"), a.given("max_num_seqs")
        if tensor <= 1:
            yield "spec.engineArgs.enable_batch_sharded_sampling: needs `tensor_parallel_size` above 1"
        elif seqs and seqs < tensor:
            yield (
                f"spec.engineArgs.max_num_seqs: {seqs} must be at least `tensor_parallel_size` ({tensor}) "
                "with `enable_batch_sharded_sampling`; raise it"
            )
        if a.get("max_logprobs") < 0:
            yield "spec.engineArgs.max_logprobs: -1 excludes `enable_batch_sharded_sampling`; bound it"
    if a.given("return_sampling_mask") and a.get("logprobs_mode") != "processed_logprobs":
        yield "spec.engineArgs.return_sampling_mask: needs `logprobs_mode: processed_logprobs`; set that too"
    if a.given("return_sampling_mask") and a.given("speculative_config") is not None and a.until("0.32"):
        yield (
            "spec.engineArgs.return_sampling_mask: does not go with `speculative_config`; remove one of them"
        )
