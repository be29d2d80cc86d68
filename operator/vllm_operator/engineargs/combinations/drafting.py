"""Rules about single keys of `speculative_config`, and what goes with its methods."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from vllm_operator.engineargs.combinations.arguments import Arguments
from vllm_operator.engineargs.combinations.scheduling import method_of, tokens_of

_PATH: Final = "spec.engineArgs.speculative_config"


def acceptance(a: Arguments) -> Iterator[str]:
    """SpeculativeConfig._verify_args and _resolve_synthetic_acceptance_rates."""
    config = a.nested("speculative_config")
    rates, length = config.get("synthetic_acceptance_rates"), config.get("synthetic_acceptance_length")
    tokens = tokens_of(a)
    if config.get("rejection_sample_method") != "synthetic":
        if rates is not None or length is not None:
            yield f"{_PATH}: synthetic acceptance needs `rejection_sample_method: synthetic`; set that too"
        return
    if (rates is None) == (length is None):
        yield (
            f"{_PATH}.rejection_sample_method: 'synthetic' needs one of `synthetic_acceptance_rates` and "
            "`synthetic_acceptance_length`; give exactly one"
        )
    elif length is not None and tokens and not 1 <= length <= tokens + 1:
        yield f"{_PATH}.synthetic_acceptance_length: {length} must be from 1 to {tokens + 1}; change it"
    elif isinstance(rates, list) and tokens and len(rates) != tokens:
        yield (
            f"{_PATH}.synthetic_acceptance_rates: needs {tokens} rates, not {len(rates)}; add or remove some"
        )
    elif isinstance(rates, list) and not _falling(rates):
        yield f"{_PATH}.synthetic_acceptance_rates: must be from 0 to 1 and never rise; reorder them"


def keys(a: Arguments) -> Iterator[str]:
    """SpeculativeConfig.__post_init__, _verify_args and _validate_suffix_decoding."""
    config, method = a.nested("speculative_config"), method_of(a)
    if config.get("use_heterogeneous_vocab"):
        if method not in (None, "draft_model"):
            yield f"{_PATH}.use_heterogeneous_vocab: needs `method: draft_model`, not '{method}'; remove it"
        if config.get("draft_sample_method") not in (None, "greedy"):
            yield f"{_PATH}.use_heterogeneous_vocab: needs `draft_sample_method: greedy`; set it"
        if a.since("0.33") and config.get("use_local_argmax_reduction"):
            yield (
                f"{_PATH}.use_heterogeneous_vocab: excludes `use_local_argmax_reduction`; remove one of them"
            )
    for key, only in (("dspark_draft_topk", "dspark"), ("index_share_for_mtp_iteration", "mtp")):
        if config.get(key) and method and method != only and not method.endswith(f"_{only}"):
            yield f"{_PATH}.{key}: needs `method: {only}`, not '{method}'; remove it"
    if method == "custom_class" and not config.get("model"):
        yield f"{_PATH}.method: 'custom_class' needs `model`, the path of the class; set it"
    yield from _fly(config, method, tokens_of(a))
    yield from _suffix(config, method)


def _fly(config: Mapping[str, Any], method: str | None, tokens: int) -> Iterator[str]:
    if config.get("rejection_sample_method") != "fly":
        return
    window = config.get("fly_window_size")
    if method == "extract_hidden_states":
        yield f"{_PATH}.rejection_sample_method: 'fly' does not go with 'extract_hidden_states'; remove it"
    if tokens == 1:
        yield f"{_PATH}.num_speculative_tokens: must be at least 2 with 'fly'; raise it"
    elif window and tokens and window >= tokens:
        yield f"{_PATH}.fly_window_size: {window} must be below `num_speculative_tokens` ({tokens}); lower it"


def _suffix(config: Mapping[str, Any], method: str | None) -> Iterator[str]:
    limits = (
        ("suffix_decoding_max_tree_depth", 1, None), ("suffix_decoding_max_cached_requests", 0, None),
        ("suffix_decoding_max_spec_factor", 0, None), ("suffix_decoding_min_token_prob", 0, 1),
    )  # fmt: skip
    for key, low, high in limits if method == "suffix" else ():
        value = config.get(key)
        if value is not None and (value < low or (high is not None and value > high)):
            bound = f"at least {low}" if high is None else f"from {low} to {high}"
            yield f"{_PATH}.{key}: must be {bound}, not {value}"


def adaptive(a: Arguments) -> Iterator[str]:
    """VllmConfig._validate_adaptive_verification (0.29) and its neighbours."""
    config = a.nested("speculative_config")
    if not config.get("enable_adaptive_verification") or a.until("0.29"):
        return
    path = f"{_PATH}.enable_adaptive_verification"
    if a.get("enable_lora"):
        yield f"{path}: does not go with LoRA; remove it"
    if a.get("pipeline_parallel_size") > 1:
        yield f"{path}: excludes `pipeline_parallel_size` above 1; remove it"
    if a.get("enforce_eager"):
        yield f"{path}: needs CUDA graphs; remove `enforce_eager`"
    if a.since("0.30") and config.get("use_local_argmax_reduction"):
        yield f"{path}: excludes `use_local_argmax_reduction`; remove one of them"
    if a.since("0.32") and a.get("return_sampling_mask"):
        yield f"{path}: excludes `return_sampling_mask`; remove one of them"


def watermark(a: Arguments) -> Iterator[str]:
    """VllmConfig._check_supports_watermarking, from 0.30."""
    if a.given("watermark_config") is None or a.given("speculative_config") is None:
        return
    config, method = a.nested("speculative_config"), method_of(a)
    path = "spec.engineArgs.watermark_config"
    if config.get("draft_sample_method") != "probabilistic":
        yield f"{path}: needs `speculative_config.draft_sample_method: probabilistic`; set it"
    if config.get("rejection_sample_method") not in (None, "standard"):
        yield f"{path}: needs `speculative_config.rejection_sample_method: standard`; set it"
    if method in ("ngram", "ngram_gpu", "suffix", "draft_model", "custom_class") and a.since("0.32"):
        yield f"{path}: does not go with `speculative_config.method: {method}`; use 'eagle3' or 'mtp'"


def _falling(rates: list[Any]) -> bool:
    numbers = [rate for rate in rates if isinstance(rate, int | float) and 0 <= rate <= 1]
    return len(numbers) == len(rates) and numbers == sorted(numbers, reverse=True)
