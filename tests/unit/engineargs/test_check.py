"""engineargs.check: each kind of mistake, its sentence and its remedy."""
# ruff: noqa: E501

from typing import Any

import pytest

from vllm_operator.api.conditions import Reason
from vllm_operator.engineargs import check, schema, warnings

NEWEST = f"{schema.known_minors()[-1]}.0"
ALL = frozenset(schema.newest().arguments)


def messages(arguments: dict[str, Any], **options: Any) -> list[str]:
    options = {"vllm_version": NEWEST, "permitted": ALL} | options
    return [problem.message for problem in check(arguments, **options)]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"max_model_len": 4096, "dtype": "bfloat16", "gpu_memory_utilization": 0.9},
        {"gpu_memory_utilization": "0.3", "enforce_eager": "true", "max_num_seqs": "8"},
        {"max_model_len": -1},
        {"max_model_len": None, "quantization": None, "enable_prefix_caching": None},
        {"quantization": "AWQ", "attention_backend": "flash_attn"},
        {"compilation_config": {"mode": 3, "cudagraph_mode": "full_decode_only"}},
        {"compilation_config": {"pass_config": {"fuse_norm_quant": True}}},
        {"speculative_config": {"method": "ngram", "num-speculative-tokens": 3}},
        {"limit_mm_per_prompt": {"image": 2, "video": {"count": 1, "num_frames": 8}}},
        {"hf_overrides": {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}},
        {"cpu_offload_params": ["a", "b"], "ignore_patterns": "*.bin"},
        {"ir_op_priority": {"rms_norm": "native"}},
        {"optimization_level": 2},
    ],
)
def test_what_vllm_takes_is_good(arguments: dict[str, Any]) -> None:
    assert messages(arguments) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tensor_paralel_size": 2}, "tensor_paralel_size: is not an argument of vLLM 0.33; did you mean `tensor_parallel_size`?"),
        ({"max-model-len": 8}, "did you mean `max_model_len`?"),
        ({"qqqqqq": 8}, "qqqqqq: is not an argument of vLLM 0.33; remove it"),
        ({"swap_space": 4}, "swap_space: was removed in vLLM 0.18; remove it: the V1 engine has no CPU swap space"),
        ({"api_server_count": 4}, "use `spec.runtime.frontEnds`"),
        ({"guided_decoding_backend": "outlines"}, "use `structured_outputs_config: {backend: ...}`"),
        ({"gpu_memory_utilization": 0}, "must be above 0 and at most 1, not 0"),
        ({"gpu_memory_utilization": 1.5}, "must be above 0 and at most 1, not 1.5"),
        ({"gpu_memory_utilization": -5}, "must be above 0 and at most 1, not -5"),
        ({"max_num_seqs": "many"}, "must be an integer or null, not 'many'"),
        ({"max_model_len": "8k"}, "must be an integer or null, not '8k'; write 8000"),
        ({"max_model_len": "8K"}, "write 8192"),
        ({"max_model_len": 0}, "must be -1 (what fits) or above zero, not 0"),
        ({"seed": 1.5}, "must be an integer, not 1.5"),
        ({"dtype": "fp16"}, "must be one of 'auto', 'half', 'float16', 'bfloat16', 'float', 'float32', not 'fp16'"),
        ({"dtype": "float61"}, "did you mean 'float16'?"),
        ({"max_lora_rank": 24}, "must be one of 1, 8, 16, 32"),
        ({"enable_lora": "false"}, "must be true or false, not 'false'; write false without quotes"),
        ({"compilation_config": "{}"}, "must be a mapping, not '{}'; write it as YAML, not as a JSON string"),
        ({"compilation_config": {"levle": 3}}, "compilation_config.levle: is not a key that vLLM 0.33 knows"),
        ({"speculative_config": {"method": "ngram", "num_speculative_tokens": 0}},
         "speculative_config.num_speculative_tokens: must be above 0, not 0"),
        ({"compilation_config": {"pass_config": {"fuse_norm_quant": "x"}}},
         "compilation_config.pass_config.fuse_norm_quant: must be true or false or null, not 'x'"),
        ({"distributed_executor_backend": "ray"}, "must not be 'ray', which spans several pods"),
        ({"distributed_executor_backend": "tcp"}, "must be 'mp', 'uni' or absent, not 'tcp'"),
        ({"data_parallel_backend": "ray"}, "must be 'mp': 'ray' spans several pods"),
        ({"load_format": "pt"}, "'pt' reads pickle files, which can run code; use 'auto' or 'safetensors'"),
        ({"nnodes": 2}, "nnodes: cannot be set"),
        ({"model": "x"}, "model: is set by the operator; use `spec.source` instead"),
        ({"served_model_name": "x"}, "use `spec.servedName` instead"),
        ({"revision": "main"}, "use `spec.source.huggingFace.revision` instead"),
        ({"hf_token": "hf_secret"}, "use `spec.source.huggingFace.tokenSecretKeyRef` instead"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_remedy(arguments: dict[str, Any], message: str) -> None:
    found = messages(arguments)
    assert len(found) == 1
    assert found[0].startswith("spec.engineArgs.")
    assert message in found[0]


def test_a_secret_is_never_repeated() -> None:
    assert "hf_secret" not in " ".join(messages({"hf_token": "hf_secret"}, permitted=frozenset()))


def test_all_problems_come_at_once_in_the_order_of_the_arguments() -> None:
    found = messages({"dtype": "x", "gpu_memory_utilization": 2, "nope": 1, "max_num_seqs": 0})
    assert [text.split(":")[0].removeprefix("spec.engineArgs.") for text in found] == [
        "dtype", "gpu_memory_utilization", "nope", "max_num_seqs"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trust_remote_code", True), ("tokenizer", "x/y"), ("worker_cls", "a.B"), ("logits_processors", ["a.B"]),
        ("hf_overrides", {"a": 1}), ("kv_transfer_config", {}), ("allowed_local_media_path", "/"),
        ("io_processor_plugin", "x"), ("reasoning_parser_plugin", "x"), ("tokenizer_mode", "custom"),
        ("distributed_executor_backend", "a.B"), ("scheduler_cls", "a.B"), ("worker_extension_cls", "a.B"),
        ("kv_events_config", {"publisher": "zmq"}), ("model_class_overrides", {"A": "b:C"}),
    ],
)  # fmt: skip
def test_what_loads_code_or_a_second_artifact_needs_permission(name: str, value: Any) -> None:
    options = {"hub_source": False, "vllm_version": NEWEST}
    refused = check({name: value}, permitted=frozenset(), **options)  # type: ignore[arg-type]
    assert [problem.reason for problem in refused] == [Reason.ENGINE_ARG_NOT_PERMITTED]
    assert f"'{name}' added to the operator's `permittedEngineArgs`" in refused[0].message
    assert check({name: value}, permitted=frozenset({name}), **options) == ()  # type: ignore[arg-type]
    assert check({name: value}, permitted=frozenset(), **options | {"vllm_version": None})  # type: ignore[arg-type]


def test_permission_below_an_argument() -> None:
    arguments = {"speculative_config": {"method": "eagle", "model": "a/b", "num_speculative_tokens": 2}}
    assert "'speculative_config.model' added" in messages(arguments, permitted=frozenset())[0]
    for permitted in ("speculative_config.model", "speculative_config"):
        assert messages(arguments, permitted=frozenset({permitted})) == []


def test_a_value_that_changes_nothing_needs_no_permission() -> None:
    arguments = {"trust_remote_code": False, "tokenizer": None, "worker_cls": "auto", "nnodes": 1}
    assert messages(arguments, permitted=frozenset()) == []


@pytest.mark.parametrize(
    ("hub", "revision", "good"),
    [
        (True, None, False),
        (True, "main", False),
        (True, "A" * 40, False),
        (True, "a" * 40, True),
        (False, None, True),
    ],
)
def test_remote_code_needs_a_commit(hub: bool, revision: str | None, good: bool) -> None:
    found = messages({"trust_remote_code": True}, hub_source=hub, source_revision=revision)
    assert (found == []) is good
    assert good or "40-character commit id" in found[0]


@pytest.mark.parametrize(("gpus", "good"), [(None, True), (0, True), (4, True), (8, True), (2, False)])
def test_parallel_sizes_against_the_gpus(gpus: int | None, good: bool) -> None:
    found = messages({"tensor_parallel_size": 2, "pipeline_parallel_size": 2}, gpus=gpus)
    assert (found == []) is good
    assert good or "needs 4 GPUs (`tensor_parallel_size` 2 x `pipeline_parallel_size` 2)" in found[0]


def test_names_against_the_version() -> None:
    since = "spec.engineArgs.custom_histogram_buckets: is new in vLLM 0.32 and the image runs 0.26"
    assert messages({"custom_histogram_buckets": {}}, vllm_version="0.26.0")[0].startswith(since)
    assert messages({"calculate_kv_scales": True}, vllm_version="0.26.0") == []
    assert "was removed in vLLM 0.28" in messages({"calculate_kv_scales": True}, vllm_version="0.28.1")[0]


@pytest.mark.parametrize("version", [None, "", "0.99.0", "main", "0"])
def test_an_unknown_version_refuses_no_value_and_warns(version: str | None) -> None:
    arguments = {"gpu_memory_utilization": 7, "max_num_seqs": "x"}
    assert check(arguments, vllm_version=version) == ()
    assert len(warnings(arguments, vllm_version=version)) == 1
    assert warnings({}, vllm_version=version) == ()


def test_an_older_version_is_judged_by_history() -> None:
    good = {
        "max_model_len": 8192,
        "swap_space": 4,
        "kv_cache_dtype": "fp8",
        "limit_mm_per_prompt": {"image": 1},
    }
    assert check(good, vllm_version="0.14.1") == ()
    assert warnings(good, vllm_version="0.14.1") == ()
    late = {
        "compilation_config": {"cudagraph_mm_encoder": True}, "kv_cache_dtype": "nvfp4", "device_ids": ["0"],
        "swap_space": 4, "tensor_paralel_size": 2,
    }  # fmt: skip
    said = warnings(late, vllm_version="0.18.1")
    for text, start in zip(
        said,
        (
            "compilation_config.cudagraph_mm_encoder: is new in vLLM 0.19 and the image runs 0.18",
            "kv_cache_dtype: 'nvfp4' is new in vLLM 0.20",
            "device_ids: is new in vLLM 0.24",
            "swap_space: was removed in vLLM 0.18",
            "tensor_paralel_size: is in no vLLM from 0.13 on, and the image runs 0.18; did you mean `tensor_parallel_size`?",
        ),
        strict=True,
    ):
        assert text.startswith(f"spec.engineArgs.{start}")


def test_a_name_of_no_version_needs_permission_where_the_version_is_not_known() -> None:
    (problem,) = check({"tensor_paralel_size": 2}, vllm_version=None)
    assert problem.reason is Reason.ENGINE_ARG_NOT_PERMITTED
    assert "did you mean `tensor_parallel_size`?" in problem.message
    assert check({"brand_new": 2}, vllm_version=None, permitted=frozenset({"brand_new"})) == ()


def test_known_versions_warn_of_nothing() -> None:
    assert warnings({"dtype": "auto"}, vllm_version="v0.32.1+cu130") == ()


@pytest.mark.parametrize("depth", [30, 5000])
def test_nesting_is_bounded(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    assert messages({"additional_config": value}) == [
        "spec.engineArgs.additional_config: must be nested at most 20 levels deep; flatten it"
    ]


def test_a_flood_of_problems_is_cut() -> None:
    assert len(messages({f"nope_{n}": n for n in range(500)})) == 50


@pytest.mark.parametrize("name", ["\0", "a\nb", "x" * 10_000, "ключ", "`; rm -rf /"])
def test_hostile_names_stay_on_one_short_line(name: str) -> None:
    (message,) = messages({name: 1})
    assert message.isprintable()
    assert len(message) < 300
