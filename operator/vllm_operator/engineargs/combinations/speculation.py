"""Rules about speculative decoding."""

from collections.abc import Iterator, Mapping
from typing import Any

from vllm_operator.engineargs.combinations.arguments import Arguments

#: The short forms of three keys of `speculative_config`.
SHORT = {"method": "spec_method", "model": "spec_model", "num_speculative_tokens": "spec_tokens"}


def speculation(a: Arguments) -> Iterator[str]:
    """EngineArgs.create_speculative_config, SpeculativeConfig.__post_init__ and _verify_args."""
    given = a.given("speculative_config") is not None
    for key, flag in SHORT.items():
        if a.given(flag) is not None and key in a.nested("speculative_config"):
            yield f"spec.engineArgs.{flag}: says the same as `speculative_config.{key}`; remove one of them"
    config = dict(a.nested("speculative_config"))
    config |= {key: a.given(flag) for key, flag in SHORT.items() if a.given(flag) is not None}
    if not given and not config:
        if a.given("per_request_spec_decode_metrics") not in (None, "none"):
            yield "spec.engineArgs.per_request_spec_decode_metrics: needs `speculative_config`; set it"
        return
    yield from _speculation_config(a, config)


def _speculation_config(a: Arguments, config: Mapping[str, Any]) -> Iterator[str]:
    path = "spec.engineArgs.speculative_config"
    method, model, tokens = (config.get(k) for k in ("method", "model", "num_speculative_tokens"))
    if tokens is None and model is None and method != "suffix":
        yield f"{path}: needs `num_speculative_tokens`; say how many tokens to propose at a time"
    without_model = ("ngram", "ngram_gpu", "suffix", "mtp", "dspark", "extract_hidden_states", "custom_class")
    known = method in without_model or str(method).endswith("_mtp")
    if tokens is not None and model is None and not known:
        yield f"{path}: needs a `model` for this method; set it (it needs permission) or use `method: ngram`"
    low, high = config.get("prompt_lookup_min"), config.get("prompt_lookup_max")
    if low and high and low > high:
        yield f"{path}.prompt_lookup_min: {low} must be at most `prompt_lookup_max` ({high}); lower it"
    if config.get("tensor_parallel_size") is not None:
        yield f"{path}.tensor_parallel_size: is not taken there; use `draft_tensor_parallel_size`"
    draft, target = config.get("draft_tensor_parallel_size"), a.get("tensor_parallel_size")
    if draft is not None and draft not in (1, target):
        yield f"{path}.draft_tensor_parallel_size: {draft} must be 1 or `tensor_parallel_size` ({target})"
    batched, seqs = a.given("max_num_batched_tokens"), a.given("max_num_seqs")
    if a.get("enable_lora") and batched and seqs and tokens and batched < seqs * (tokens + 1):
        yield (
            f"spec.engineArgs.max_num_batched_tokens: {batched} must be at least {seqs * (tokens + 1)} "
            f"with LoRA and {tokens} speculative tokens for {seqs} sequences; raise it"
        )
