"""Combinations that vLLM refuses: the same sets that the cross-check puts to a real vLLM."""
# ruff: noqa: E501

from typing import Any

import pytest

from backend.engineargs_sets import COMBINATIONS
from vllm_operator.engineargs import check, schema

PERMITTED = frozenset(schema.newest().arguments)


def found(arguments: dict[str, Any], version: str = "0.32.0") -> list[str]:
    return [p.message for p in check(arguments, vllm_version=version, permitted=PERMITTED)]


@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_good_one_is_good_and_the_bad_one_is_one_problem(name: str) -> None:
    good, bad = COMBINATIONS[name]
    assert found(good) == []
    assert len(found(bad)) == 1


@pytest.mark.parametrize(
    ("arguments", "version", "part"),
    [
        ({"kv_cache_dtype": "float16", "dtype": "bfloat16"}, "0.33.0", "must equal `dtype` (bfloat16)"),
        ({"max_num_partial_prefills": 2, "enable_chunked_prefill": False}, "0.26.0", "needs chunked prefill"),
        ({"max_long_partial_prefills": 2}, "0.26.0", "must be at most `max_num_partial_prefills`"),
        (
            {"max_num_partial_prefills": 2, "long_prefill_token_threshold": 90, "max_model_len": 80},
            "0.24.0",
            "must be at most `max_model_len`",
        ),
        (
            {"tensor_parallel_size": 2, "prefill_context_parallel_size": 2, "decode_context_parallel_size": 3},
            "0.33.0",
            "must be one of 1, 2, 4",
        ),
        (
            {"enable_lora": True, "max_num_batched_tokens": 32, "max_num_seqs": 16,
             "speculative_config": {"method": "ngram", "num_speculative_tokens": 4}},
            "0.33.0",
            "must be at least 80 with LoRA and 4 speculative tokens",
        ),
        ({"enable_batch_sharded_sampling": True, "tensor_parallel_size": 4, "max_num_seqs": 2}, "0.33.0", "must be at least"),
        ({"enable_batch_sharded_sampling": True, "tensor_parallel_size": 4, "max_logprobs": -1}, "0.33.0", "max_logprobs"),
        ({"mm_tensor_ipc": "torch_shm", "tensor_parallel_size": 2}, "0.33.0", "works with one GPU only"),
        ({"enable_eplb": True, "enable_expert_parallel": True}, "0.33.0", "needs more than one GPU"),
        (
            {"speculative_config": {"method": "ngram", "num_speculative_tokens": 2, "draft_tensor_parallel_size": 3}},
            "0.33.0",
            "must be 1 or `tensor_parallel_size` (1)",
        ),
        ({"mm_encoder_fp8_scale_path": "/a"}, "0.33.0", "needs `mm_encoder_attn_dtype: fp8`"),
        (
            {"mm_encoder_fp8_scale_path": "/a", "mm_encoder_fp8_scale_save_path": "/b", "mm_encoder_attn_dtype": "fp8"},
            "0.33.0",
            "excludes `mm_encoder_fp8_scale_path`",
        ),
    ],
)  # fmt: skip
def test_rules_of_one_version(arguments: dict[str, Any], version: str, part: str) -> None:
    (message,) = found(arguments, version)
    assert part in message


@pytest.mark.parametrize("minor", schema.known_minors())
def test_no_rule_stumbles_over_an_older_version(minor: str) -> None:
    for pair in COMBINATIONS.values():
        for arguments in pair:
            found(arguments, f"{minor}.0")
    assert found({}, f"{minor}.0") == []
