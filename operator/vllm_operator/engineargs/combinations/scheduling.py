"""Rules about what runs in one step: scheduler config, and what VllmConfig checks of it with a drafter."""

from collections.abc import Iterator
from typing import Final

from vllm_operator.engineargs.combinations.arguments import Arguments

#: `get_args(EagleModelTypes)` less the `*_mtp` names, and what vLLM lists beside it.
_ASYNC_METHODS: Final = (
    "eagle", "eagle3", "mtp", "extract_hidden_states", "dflash", "ngram_gpu", "draft_model", "dspark"
)  # fmt: skip
_HIDDEN_STATES: Final = ("eagle", "eagle3", "mtp", "dflash", "dspark")
_V2_RUNNER: Final = "VLLM_USE_V2_MODEL_RUNNER"


def method_of(a: Arguments) -> str | None:
    """The speculative method as the spec gives it; None where vLLM would find it out from the draft."""
    method = a.given("spec_method") or a.nested("speculative_config").get("method")
    return method if isinstance(method, str) else None


def tokens_of(a: Arguments) -> int:
    """`num_speculative_tokens`, 0 where it is not given."""
    tokens = a.given("spec_tokens") or a.nested("speculative_config").get("num_speculative_tokens")
    return tokens if isinstance(tokens, int) else 0


def long_prefill(a: Arguments) -> Iterator[str]:
    """SchedulerConfig.verify_max_model_len, from 0.27: until then only with several partial prefills."""
    threshold, length = a.get("long_prefill_token_threshold") or 0, a.given("max_model_len") or 0
    if a.since("0.27") and 0 < length < threshold:
        yield (
            f"spec.engineArgs.long_prefill_token_threshold: {threshold} must be at most `max_model_len` "
            f"({length}); lower it"
        )


def asynchronous(a: Arguments) -> Iterator[str]:
    """VllmConfig.__post_init__: "Async scheduling"; from 0.33 on only for the V1 model runner."""
    if a.given("async_scheduling") is not True or (a.since("0.33") and a.environment.get(_V2_RUNNER) != "0"):
        return
    method = method_of(a)
    if method and method not in _ASYNC_METHODS and not method.endswith("_mtp"):
        yield (
            f"spec.engineArgs.async_scheduling: does not go with `speculative_config.method: {method}`; "
            "remove `async_scheduling`, or draft with 'ngram_gpu', 'eagle3', 'mtp' or a draft model"
        )
    if a.nested("speculative_config").get("disable_padded_drafter_batch"):
        yield (
            "spec.engineArgs.async_scheduling: does not go with `speculative_config."
            "disable_padded_drafter_batch`; remove one of them"
        )


def drafting_slots(a: Arguments) -> Iterator[str]:
    """VllmConfig._set_max_num_scheduled_tokens and SpeculativeConfig.max_num_new_slots_for_drafting."""
    batched, seqs = a.given("max_num_batched_tokens"), a.given("max_num_seqs")
    method, tokens = method_of(a), tokens_of(a)
    if not batched or not tokens:
        return
    if a.until("0.28"):
        slots = _slots(a, method, tokens)
        if seqs and slots * seqs >= batched:
            yield (
                f"spec.engineArgs.max_num_batched_tokens: {batched} must be above {slots * seqs}: with "
                f"`num_speculative_tokens` {tokens} each of {seqs} sequences (`max_num_seqs`) needs "
                f"{slots} more "
                f"slots for drafting; raise it, or lower `num_speculative_tokens` or `max_num_seqs`"
            )
        return
    ahead = tokens + (method == "dflash")
    if method and (method in _HIDDEN_STATES or method == "draft_model") and batched <= ahead:
        yield (
            f"spec.engineArgs.max_num_batched_tokens: {batched} must be above {ahead}, the tokens that "
            f"'{method}' looks ahead with `num_speculative_tokens` {tokens}; raise it"
        )


def _slots(a: Arguments, method: str | None, tokens: int) -> int:
    parallel = method in ("dflash", "dspark") or bool(a.nested("speculative_config").get("parallel_drafting"))
    return (tokens - 1 if parallel else 0) + (method == "draft_model")


def fast_prefill(a: Arguments) -> Iterator[str]:
    """VllmConfig.__post_init__: SpeculativeConfig.use_eagle with kv_sharing_fast_prefill."""
    method = method_of(a)
    if a.get("kv_sharing_fast_prefill") and method and (method in _HIDDEN_STATES or method.endswith("_mtp")):
        yield (
            "spec.engineArgs.kv_sharing_fast_prefill: does not go with `speculative_config.method: "
            f"{method}`, "
            "which needs all logits of the prompt; remove one of them"
        )


def language_model_only(a: Arguments) -> Iterator[str]:
    """VllmConfig.__post_init__, from 0.29."""
    config = a.nested("compilation_config")
    if a.since("0.29") and a.get("language_model_only") and config.get("cudagraph_mm_encoder"):
        yield (
            "spec.engineArgs.language_model_only: does not go with "
            "`compilation_config.cudagraph_mm_encoder`, "
            "whose encoder it leaves out; remove one of them"
        )


def context_parallel(a: Arguments) -> Iterator[str]:
    """ParallelConfig._validate_parallel_config: dcp_comm_backend until 0.28, PCP with DP in 0.26 to 0.29."""
    decode, prefill = a.get("decode_context_parallel_size") or 1, a.get("prefill_context_parallel_size") or 1
    if a.until("0.29") and a.given("dcp_comm_backend") == "a2a" and decode <= 1:
        yield (
            "spec.engineArgs.dcp_comm_backend: 'a2a' needs `decode_context_parallel_size` above 1; "
            "raise it, or remove `dcp_comm_backend`"
        )
    if a.since("0.26") and a.until("0.30") and prefill > 1 and a.get("data_parallel_size") > 1:
        yield (
            "spec.engineArgs.prefill_context_parallel_size: above 1 does not go with "
            "`data_parallel_size` above 1 "
            f"in vLLM {a.schema.minor}; set one of them to 1"
        )
    if a.get("enable_hc_sp") and a.get("pipeline_parallel_size") > 1:
        yield "spec.engineArgs.enable_hc_sp: excludes `pipeline_parallel_size` above 1; remove one of them"
