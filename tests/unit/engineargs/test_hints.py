"""A hint leads to what vLLM takes, and never into the next refusal."""
# ruff: noqa: E501

import re
from typing import Any

import pytest

from vllm_operator.engineargs import check, schema
from vllm_operator.engineargs.names import unknown_key
from vllm_operator.engineargs.replaced import KEYS, REPLACED

NEWEST = schema.newest()
ALL = frozenset(name for minor in schema.known_minors() for name in schema.load(minor).arguments)
UNKNOWN = ("is not an argument", "is not a key", "was removed in", "is new in")
#: Every key that some vLLM had below an argument, or that people write there.
KEY_NAMES = sorted({path.partition(".")[2] for path in (*schema.history().keys, *KEYS)})


def said(arguments: dict[str, Any], minor: str = NEWEST.minor) -> list[str]:
    found = check(arguments, vllm_version=f"{minor}.0", permitted=ALL, hub_source=False)
    return [problem.message for problem in found]


def followed(message: str) -> dict[str, Any] | None:
    """The argument that a message tells to write, with any value."""
    if found := re.search(r"write it as `(\w+): \{(\w+)", message):
        return {found[1]: {found[2]: True}}
    if found := re.search(r"(?:did you mean|use|write) `(\w+)`", message):
        return {found[1]: True} if "below `" not in message else None
    return None


@pytest.mark.parametrize("minor", schema.known_minors())
def test_a_key_at_the_top_is_led_to_where_it_is_taken(minor: str) -> None:
    for name in KEY_NAMES:
        for message in said({name: True}, minor):
            if wanted := followed(message):
                wrong = [text for text in said(wanted, minor) if any(words in text for words in UNKNOWN)]
                assert not wrong, (name, message)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("use_cudagraph", "it was a key of `compilation_config`; use `cudagraph_mode`, below"),
        ("kv_rank", "it was a key of `kv_transfer_config`; remove it: ranks are found out"),
        ("kv_ip", "use `kv_connector_extra_config`, below `kv_transfer_config`"),
        ("disable_by_batch_size", "below `speculative_config`"),
        ("normalize", "use `use_activation`, below `pooler_config`"),
        ("logit_bias", "use `logit_mean`, below `pooler_config`"),
        ("cudagraph_mode", "write it as `compilation_config: {cudagraph_mode: ...}`"),
    ],
)  # fmt: skip
def test_a_removed_key_at_the_top_is_answered_with_its_successor(name: str, words: str) -> None:
    (message,) = said({name: True})
    assert words in message


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("batch_size", "max_num_seqs"), ("gpu_mem_util", "gpu_memory_utilization"), ("quant", "quantization"),
        ("gpu_mem_utilization", "gpu_memory_utilization"), ("max_input_len", "max_model_len"),
        ("max_input_length", "max_model_len"), ("tensor_par_size", "tensor_parallel_size"),
        ("max_num_batch_tok", "max_num_batched_tokens"), ("quantize", "quantization"),
        ("enable_chunk_prefill", "enable_chunked_prefill"), ("max_total_tokens", "max_model_len"),
        ("max_batched_tokens", "max_num_batched_tokens"),
    ],
)  # fmt: skip
def test_a_short_or_foreign_name_is_led_to_vllms(name: str, meant: str) -> None:
    (message,) = said({name: 1})
    assert f"`{meant}`" in message


def test_a_removed_argument_is_answered_with_one_that_is_there() -> None:
    for name, remedy in REPLACED.items():
        for word in re.findall(r"^use `([a-z_]+)", remedy):
            assert word in NEWEST.arguments or word == "spec", name


def test_a_removed_key_is_answered_with_one_that_is_there() -> None:
    for class_name, fields in NEWEST.classes.items():
        for key in [path.partition(".")[2] for path in KEYS if path.startswith(f"{class_name}.")]:
            message = unknown_key(f"argument.{key}", class_name, key, True, NEWEST)
            for word in re.findall(r"; use `([a-z_]+)", message):
                assert word in fields, message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"limit_mm_per_prompt": {"image": "two"}}, "a mapping with an integer or a mapping for 'image', not 'two'"),
        ({"limit_mm_per_prompt": {"image": None}}, "a mapping with an integer or a mapping for 'image', not null"),
        ({"limit_mm_per_prompt": {"image": 1, "video": {"count": "x"}}}, "with an integer for 'video.count', not 'x'"),
        ({"limit_mm_per_prompt": "two"}, "must be a mapping, not 'two'"),
        ({"cudagraph_capture_sizes": [1, "x"]}, "must be a list of integers or null, not [1, \"x\"] (item 1)"),
    ],
)  # fmt: skip
def test_what_is_wrong_within_a_mapping_is_told(arguments: dict[str, Any], words: str) -> None:
    (message,) = said(arguments)
    assert words in message
