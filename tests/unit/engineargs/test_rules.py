"""Rules about combinations by version: one set that is refused, and what makes it good."""
# ruff: noqa: E501

from typing import Any

import pytest

from vllm_operator.engineargs import check, schema, warnings
from vllm_operator.engineargs.explain import hint
from vllm_operator.engineargs.likeness import nearest

ALL = frozenset(name for minor in schema.known_minors() for name in schema.load(minor).arguments)
NGRAM = {"method": "ngram", "num_speculative_tokens": 4}
EAGLE = {"method": "eagle3", "model": "a/b", "num_speculative_tokens": 4}
NIXL = {"kv_connector": "NixlConnector", "kv_role": "kv_both"}
SEGMENTS = {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}

Set = dict[str, Any]
REFUSED: list[tuple[str, Set, dict[str, str], str, Set]] = [
    ("0.27", {"max_model_len": 4096, "long_prefill_token_threshold": 4800}, {}, "4800 must be at most `max_model_len` (4096)", {"max_model_len": 8192}),
    ("0.28", {"async_scheduling": True, "speculative_config": NGRAM}, {}, "async_scheduling: does not go with `speculative_config.method: ngram`", {"speculative_config": EAGLE}),
    ("0.33", {"async_scheduling": True, "speculative_config": NGRAM}, {"VLLM_USE_V2_MODEL_RUNNER": "0"}, "async_scheduling: does not go with", {"async_scheduling": None}),
    ("0.30", {"async_scheduling": True, "speculative_config": EAGLE | {"disable_padded_drafter_batch": True}}, {}, "disable_padded_drafter_batch", {"speculative_config": EAGLE}),
    ("0.26", {"max_num_batched_tokens": 2048, "max_num_seqs": 256, "speculative_config": {"method": "dflash", "model": "a/b", "num_speculative_tokens": 16}}, {}, "2048 must be above 3840", {"max_num_seqs": 64}),
    ("0.30", {"max_num_batched_tokens": 8, "speculative_config": {"method": "dflash", "model": "a/b", "num_speculative_tokens": 7}}, {}, "8 must be above 8", {"max_num_batched_tokens": 9}),
    ("0.24", {"kv_transfer_config": NIXL}, SEGMENTS, "does not go with `PYTORCH_CUDA_ALLOC_CONF", {"enable_cumem_allocator": True}),
    ("0.29", {"language_model_only": True, "compilation_config": {"cudagraph_mm_encoder": True}}, {}, "language_model_only: does not go with", {"compilation_config": {}}),
    ("0.25", {"kv_sharing_fast_prefill": True, "speculative_config": EAGLE}, {}, "kv_sharing_fast_prefill: does not go with", {"speculative_config": NGRAM}),
    ("0.28", {"enable_eplb": True, "enable_expert_parallel": True, "tensor_parallel_size": 2, "eplb_config": {"use_async": True, "communicator": "pynccl"}}, {}, "'pynccl' does not go with asynchronous balancing", {"eplb_config": {"use_async": False, "communicator": "pynccl"}}),
    ("0.26", {"dcp_comm_backend": "a2a"}, {}, "'a2a' needs `decode_context_parallel_size` above 1", {"tensor_parallel_size": 2, "decode_context_parallel_size": 2}),
    ("0.31", {"all2all_backend": "moonep", "quantization": "fp8"}, {}, "'moonep' takes unquantized models only", {"quantization": None}),
    ("0.30", {"enable_return_routed_experts": True, "kv_transfer_config": NIXL}, {}, "does not go with the KV connector 'NixlConnector'", {"kv_transfer_config": None}),
    ("0.32", {"speculative_config": NGRAM | {"synthetic_acceptance_length": 2}}, {}, "needs `rejection_sample_method: synthetic`", {"speculative_config": NGRAM}),
    ("0.33", {"speculative_config": EAGLE | {"rejection_sample_method": "fly", "fly_window_size": 4}}, {}, "4 must be below `num_speculative_tokens` (4)", {"speculative_config": EAGLE | {"rejection_sample_method": "fly"}}),
    ("0.30", {"compilation_config": {"custom_ops": ["all", "none"]}}, {}, "takes one of 'all' and 'none'", {"compilation_config": {"custom_ops": ["all", "-silu_and_mul"]}}),
    ("0.32", {"custom_histogram_buckets": {"e2e": [2, 1]}}, {}, "bounds must rise", {"custom_histogram_buckets": {}}),
    ("0.30", {"watermark_config": {"key": 1}, "speculative_config": EAGLE}, {}, "draft_sample_method: probabilistic", {"speculative_config": EAGLE | {"draft_sample_method": "probabilistic"}}),
    ("0.28", {"kv_transfer_config": NIXL | {"kv_connector": "nixl"}}, {}, "'nixl' is not registered in vLLM 0.28; did you mean 'NixlConnector'?", {"kv_transfer_config": NIXL}),
    ("0.28", {"kv_transfer_config": NIXL | {"kv_connector": "Own"}}, {}, "'Own' is not registered", {"kv_transfer_config": NIXL | {"kv_connector": "Own", "kv_connector_module_path": "a.b"}}),
    ("0.24", {"kv_transfer_config": {"kv_connector": "MultiConnector", "kv_role": "kv_both", "kv_connector_extra_config": {"connectors": [{"kv_connector": "P2pNcclConnector"}]}}}, {}, "connectors[0].kv_connector: 'P2pNcclConnector' was removed in vLLM 0.24; use 'NixlConnector'", {"kv_transfer_config": NIXL}),
    ("0.31", {"tokenizer_mode": "slow"}, {}, "'slow' was removed in vLLM 0.31; use 'auto'", {"tokenizer_mode": "auto"}),
    ("0.31", {"numa_bind": True, "numa_bind_cpus": ["3-0"]}, {}, "'3-0' must be CPUs such as", {"numa_bind_cpus": ["0-3"]}),
]  # fmt: skip


@pytest.mark.parametrize(("minor", "arguments", "environment", "words", "change"), REFUSED)
def test_a_rule_refuses_and_its_remedy_is_good(
    minor: str, arguments: Set, environment: dict[str, str], words: str, change: Set
) -> None:
    def said(values: Set) -> list[str]:
        options = {"vllm_version": f"{minor}.0", "permitted": ALL, "environment": environment}
        return [problem.message for problem in check(values, **options)]  # type: ignore[arg-type]

    assert any(words in message for message in said(arguments)), said(arguments)
    assert said(arguments | change) == []


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"max_loras": 4}, "max_loras"),
        ({"eplb_config": {"window_size": 10}}, "eplb_config"),
        ({"dbo_decode_token_threshold": 64}, "dbo_decode_token_threshold"),
        ({"enforce_eager": True, "cudagraph_capture_sizes": [1]}, "cudagraph_capture_sizes"),
        ({"language_model_only": True, "limit_mm_per_prompt": {"image": 1}}, "limit_mm_per_prompt"),
    ],
)
def test_what_does_nothing_is_a_warning(arguments: Set, name: str) -> None:
    (said,) = warnings(arguments, vllm_version="0.30.0")
    assert said.startswith(f"spec.engineArgs.{name}: does nothing")


def test_adapters_turn_lora_on() -> None:
    assert warnings({"max_loras": 4}, vllm_version="0.30.0", adapters=True) == ()
    assert warnings({"max_loras": 1}, vllm_version="0.30.0") == (), "vLLM's default says nothing"


@pytest.mark.parametrize(
    ("value", "kind", "name", "wanted"),
    [
        ("32K", "int | None", "max_model_len", "write 32768"),
        ("32k", "int | None", "max_model_len", "write 32000"),
        ("8GiB", "int | None", "kv_cache_memory_bytes", "write 8589934592"),
        ("10GB", "float", "cpu_offload_gb", "write 10"),
        ("90%", "float", "gpu_memory_utilization", "write 0.9"),
        ("2", "int", "tensor_parallel_size", "write 2 without quotes"),
        ("true", "bool", "enable_lora", "write true without quotes"),
        (1, "bool", "enable_lora", "write true"),
        ("auto", "int | None", "max_model_len", "write -1"),
        ("None", "int | None", "seed", "remove it"),
        ("image=4,video=1", "dict", "limit_mm_per_prompt", "write `{image: 4, video: 1}`"),
        ('{"a": {"b": 1}}', "dict", "hf_overrides", "`{a: {b: 1}}`"),
        ("ngram", "SpeculativeConfig", "speculative_config", "write `{method: ngram}`"),
        (3, "CompilationConfig", "compilation_config", "write `{mode: 3}`"),
        (float("nan"), "int", "seed", "it is not a number"),
        ("1,2", "list[int]", "cudagraph_capture_sizes", "write [1,2] as a YAML list"),
        (8, "list[int]", "cudagraph_capture_sizes", "write [8]"),
        (4, "str", "dtype", 'write "4" in quotes'),
        ("many", "int", "seed", ""),
    ],
)
def test_the_right_spelling_of_a_value(value: Any, kind: str, name: str, wanted: str) -> None:
    said = hint(value, kind, name)
    assert wanted in said
    assert bool(said) is bool(wanted)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("tensor_paralel_size", "tensor_parallel_size"),
        ("enable_chunk_prefill", "enable_chunked_prefill"),
        ("enable_prefix_cache", "enable_prefix_caching"),
        ("Max-Num-Seqs", "max_num_seqs"),
        ("enable_metrics", None),
        ("disable_prefix_caching", None),
        ("enable_custom_all_reduce", None),
        ("no_enable_prefix_caching", None),
    ],
)
def test_no_hint_turns_the_meaning_round(written: str, meant: str | None) -> None:
    assert nearest(written, schema.newest().arguments) == meant
