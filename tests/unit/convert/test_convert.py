"""Foreign descriptions as VLLMModels: values of the right types, lines kept, and what has no place named."""
# ruff: noqa: E501

import time
from typing import Any

import pytest
from click.testing import CliRunner

from unit.convert.readers import from_yaml, one
from vllm_operator.cli_files import FROM, convert, validate
from vllm_operator.convert import formats
from vllm_operator.convert.serving import object_name

COMMAND = """\
export VLLM_LOGGING_LEVEL=DEBUG
HF_TOKEN=hf_secret vllm serve org/Model-7B \\
  --port 8000 --api-key sk-secret -tp 8 -O3 \\
  --no-enable-prefix-caching --max-model-len 32k \\
  --served-model-name big small --limit-mm-per-prompt image=4,video=0 \\
  --speculative-config '{"method": "mtp",
    "num_speculative_tokens": 3}' --compilation-config.mode 3 \\
  --enable-auto-tool-choice --tool-call-parser hermes --cudagraph-capture-sizes 1 2 4 | tee log
"""


def test_a_command_becomes_a_model() -> None:
    value, places, left = one(COMMAND)
    assert value["spec"] == {
        "source": {"huggingFace": {"repository": "org/Model-7B"}},
        "servedName": "big",
        "engineArgs": {
            "tensor_parallel_size": 8,
            "optimization_level": 3,
            "enable_prefix_caching": False,
            "max_model_len": 32000,
            "limit_mm_per_prompt": {"image": 4, "video": 0},
            "speculative_config": {"method": "mtp", "num_speculative_tokens": 3},
            "compilation_config": {"mode": 3},
            "cudagraph_capture_sizes": [1, 2, 4],
        },
        "runtime": {"env": [{"name": "VLLM_LOGGING_LEVEL", "value": "DEBUG"}]},
    }
    assert places["spec.engineArgs.max_model_len"] == (4, 30)
    assert [message.split("`")[1] for message in left] == [
        "port", "api_key", "enable_auto_tool_choice", "tool_call_parser", "served_model_name", "HF_TOKEN"
    ]  # fmt: skip
    assert "secret" not in repr((value, left))


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ("--max-model-len auto", {"max_model_len": -1}),
        ("--max-model-len=1.5M", {"max_model_len": 1572864}),
        ("--enable-chunked-prefill False", {"enable_chunked_prefill": False}),
        ("--enforce-eager --seed 3", {"enforce_eager": True, "seed": 3}),
        ("--gpu-memory-utilization .9", {"gpu_memory_utilization": 0.9}),
        ("--gpu_memory_utilization 0.9", {"gpu_memory_utilization": 0.9}),
        ("--quantization None", {"quantization": None}),
        ("--no-such-option 3 --other", {"no_such_option": 3, "other": True}),
        ("--speculative-config.method ngram", {"speculative_config": {"method": "ngram"}}),
        (
            "--gpu-memory-util 0.9 --max-num-batched-token 8",
            {"gpu_memory_utilization": 0.9, "max_num_batched_tokens": 8},
        ),
        ("--max-lora-rank 64", {"max_lora_rank": 64}),
    ],
)
def test_values_have_the_types_of_vllm(options: str, arguments: dict[str, Any]) -> None:
    assert one(f"vllm serve org/m {options}")[0]["spec"]["engineArgs"] == arguments


def test_the_older_module_and_a_script_with_other_commands() -> None:
    text = "pip install vllm\npython3 -m vllm.entrypoints.openai.api_server --model org/m --dtype half\necho done\n"
    assert one(text)[0]["spec"]["engineArgs"] == {"dtype": "half"}
    assert list(formats.from_text("vllm bench serve --model org/m\necho 'vllm'")) == []


def test_a_path_needs_a_claim() -> None:
    value, _, left = one("vllm serve /models/llama")
    assert value["spec"]["source"] == {
        "persistentVolumeClaim": {"claimName": "models", "path": "models/llama"}
    }
    assert "put it into a claim or an image" in left[0]


def test_compose() -> None:
    spec, left = from_yaml(
        "services:\n  llm:\n    image: vllm/vllm-openai:v0.30.0\n    command: --model org/m --max-model-len 4096\n"
        "    environment: [VLLM_LOGGING_LEVEL=INFO]\n    shm_size: 16gb\n    ports: ['8000:8000']\n"
        "    deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 2}]}}}\n"
    )
    assert spec["source"] == {"huggingFace": {"repository": "org/m"}}
    assert spec["engineArgs"] == {"max_model_len": 4096}
    assert spec["gpus"] == {"count": 2}
    assert spec["sharedMemory"] == {"sizeLimit": "16Gi"}
    assert spec["runtime"]["env"] == [{"name": "VLLM_LOGGING_LEVEL", "value": "INFO"}]
    assert {message.split("`")[1] for message in left} == {"ports", "image"}


def test_model_json() -> None:
    spec, _ = from_yaml('{"model": "org/m", "gpu_memory_utilization": 0.5, "revision": "main"}')
    assert spec["source"] == {"huggingFace": {"repository": "org/m", "revision": "main"}}
    assert spec["engineArgs"] == {"gpu_memory_utilization": 0.5}


def test_kserve() -> None:
    spec, left = from_yaml(
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: qwen}\nspec:\n"
        "  predictor:\n    minReplicas: 2\n    maxReplicas: 4\n    nodeSelector: {pool: gpu}\n    model:\n"
        "      modelFormat: {name: huggingface}\n"
        "      args: [--model_name=qwen, --max-model-len=8192, --backend=vllm]\n      storageUri: pvc://claim/qwen\n"
        "      resources: {limits: {cpu: '6', memory: 24Gi, nvidia.com/gpu: '2'}}\n"
        "      env: [{name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hf, key: token}}}]\n"
    )
    assert spec["source"] == {"persistentVolumeClaim": {"claimName": "claim", "path": "qwen"}}
    assert spec["servedName"] == "qwen"
    assert spec["engineArgs"] == {"max_model_len": 8192}
    assert spec["replicas"] == 2
    assert spec["gpus"] == {"count": 2}
    assert spec["resources"] == {"limits": {"cpu": "6", "memory": "24Gi"}}
    assert spec["scheduling"] == {"nodeSelector": {"pool": "gpu"}}
    assert [message.split("`")[1] for message in left] == ["backend", "maxReplicas"]


def test_kubeai() -> None:
    spec, left = from_yaml(
        "apiVersion: kubeai.org/v1\nkind: Model\nmetadata: {name: m}\nspec:\n  url: hf://org/m\n  engine: VLLM\n"
        "  args: [--max-model-len=8192, --swap-space=8]\n  env: {VLLM_LOGGING_LEVEL: INFO}\n"
        "  resourceProfile: nvidia-gpu-l4:2\n  minReplicas: 1\n  adapters: [{name: a, url: 'hf://org/a'}]\n"
    )
    assert spec["source"] == {"huggingFace": {"repository": "org/m"}}
    assert spec["engineArgs"] == {"max_model_len": 8192}
    assert spec["gpus"] == {"count": 2}
    assert spec["adapters"] == [{"name": "a", "source": {"huggingFace": {"repository": "org/a"}}}]
    assert [message.split("`")[1] for message in left] == ["resourceProfile", "swap_space"]


def test_another_engine_is_named() -> None:
    _, left = from_yaml(
        "apiVersion: kubeai.org/v1\nkind: Model\nmetadata: {name: m}\nspec: {url: 'ollama://q', engine: OLlama}"
    )
    assert "'OLlama' is not vLLM" in left[0]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("org/Qwen3-8B", "qwen3-8b"),
        ("7b", "m-7b"),
        ("", "model"),
        ("a/" + "x" * 99, "x" * 52),
        ("ключ", "model"),
    ],
)
def test_object_names(text: str, name: str) -> None:
    assert object_name(text) == name or (text in ("", "ключ") and object_name(text)[0].isalpha())


def test_the_cli_names_file_and_line(tmp_path: Any) -> None:
    file = tmp_path / "run.sh"
    file.write_text("vllm serve org/m \\\n  --tensor-paralel-size 2 \\\n  --port 8000\n")
    judged = CliRunner().invoke(validate, ["--from", "serve", "--vllm-version", "0.33", str(file)])
    assert judged.exit_code == 1
    assert f"{file}:2:3: error InvalidEngineArgs (m): spec.engineArgs.tensor_paralel_size" in judged.output
    assert f"{file}:3:3: warning Warning (m): no place for `port`" in judged.output
    made = CliRunner().invoke(convert, [str(file)])
    assert made.exit_code == 0
    assert "repository: org/m" in made.output
    empty = CliRunner().invoke(convert, [str(tmp_path / "none.sh")])
    assert empty.exit_code == 2


def test_the_cli_offers_every_format() -> None:
    assert FROM == formats.FORMATS


def test_an_open_quote_costs_no_time() -> None:
    started = time.process_time()
    list(formats.from_text("vllm serve 'org/m \n" + "x y z\n" * 5000))
    assert time.process_time() - started < 5
