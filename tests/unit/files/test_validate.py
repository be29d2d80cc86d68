"""`vllm-operator validate` as a user meets it."""
# ruff: noqa: E501

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from vllm_operator.cli import main

HEADER = "apiVersion: triton-vllm.dev/v1alpha1\nkind: VLLMModel\n"
GOOD = HEADER + "metadata: {name: opt}\nspec: {source: {huggingFace: {repository: facebook/opt-125m}}}\n"
BAD = """\
# a comment
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
data: {replicaz: "1"}
---
apiVersion: triton-vllm.dev/v1alpha1
kind: VLLMModel
metadata:
  name: opt
  namespace: team
spec:
  source:
    huggingFace: {repository: facebook/opt-125m}
  replicaz: 3
  engineArgs:
    tensor_paralel_size: 2
    gpu_memory_utilization: 1.5
"""


def run(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(main, ["validate", *arguments], input=text)


def validate(text: str, *arguments: str) -> Result:
    return run("--vllm-version", "0.33", *arguments, "-", text=text)


def test_nothing_wrong() -> None:
    result = validate(GOOD)
    assert (result.exit_code, result.output) == (0, "1 VLLMModel in 1 document: 0 problems, 0 warnings\n")


def test_text_names_the_place_the_reason_and_the_remedy() -> None:
    result = validate(BAD)
    assert result.exit_code == 1
    assert result.output == (
        "<stdin>:15:3: error InvalidSpec (opt): spec.replicaz: is not a field of VLLMModel; did you mean `replicas`?\n"
        "<stdin>:17:5: error InvalidEngineArgs (opt): spec.engineArgs.tensor_paralel_size: is not an argument of "
        "vLLM 0.33; did you mean `tensor_parallel_size`?\n"
        "<stdin>:18:5: error InvalidEngineArgs (opt): spec.engineArgs.gpu_memory_utilization: must be above 0 and at "
        "most 1, not 1.5 (vLLM 0.33 takes 0.92 when it is absent)\n"
        "1 VLLMModel in 2 documents: 3 problems, 0 warnings\n"
    )


def test_json() -> None:
    report = json.loads(validate(BAD, "-o", "json").output)
    assert (report["models"], report["documents"], report["warnings"]) == (1, 2, [])
    assert report["problems"][0] == {
        "file": "<stdin>",
        "line": 15,
        "column": 3,
        "model": "opt",
        "reason": "InvalidSpec",
        "message": "spec.replicaz: is not a field of VLLMModel; did you mean `replicas`?",
    }


def test_sarif(tmp_path: Path) -> None:
    file = tmp_path / "a b.yaml"
    file.write_text(BAD)
    sarif = json.loads(run("-o", "sarif", "--vllm-version", "0.33", str(file)).output)
    assert sarif["version"] == "2.1.0"
    (only,) = sarif["runs"]
    rules = [rule["id"] for rule in only["tool"]["driver"]["rules"]]
    assert rules == ["InvalidEngineArgs", "InvalidSpec"]
    result = only["results"][1]
    assert (result["level"], rules[result["ruleIndex"]]) == ("error", result["ruleId"])
    location = result["locations"][0]["physicalLocation"]
    assert location["region"] == {"startLine": 17, "startColumn": 5}
    assert location["artifactLocation"]["uri"].endswith("/a%20b.yaml")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (HEADER + "metadata: {name: x}\n", "spec: is required"),
        (HEADER + "metadata: {name: x}\nspec: {}\n", "spec.source: is required"),
        (HEADER + "metadata: {name: x}\nspec: {source: {}}\n", "spec.source: must have exactly one of"),
        (HEADER + "spec: {source: {image: {reference: a}}}\n", "metadata: must be an object with a `name`"),
        (HEADER + "metadata: {name: 7b-chat}\nspec: {source: {image: {reference: a}}}\n", "metadata.name` must"),
        (GOOD.replace("v1alpha1", "v1"), "apiVersion: must be 'triton-vllm.dev/v1alpha1'"),
        (GOOD.replace("VLLMModel", "VllmModel"), "kind: must be 'VLLMModel'"),
        (GOOD + "status: {}\nstatsu: {}\n", "statsu: is not a field of VLLMModel; did you mean `status`?"),
        (GOOD.replace("{name: opt}", "{name: opt, labels: {a: 1}}"), "metadata.labels.a: must be a string"),
        (GOOD.replace("{name: opt}", "{name: opt, lables: {}}"), "metadata.lables: is not a field"),
        (GOOD + "spec: {source: {image: {reference: a}}}\n", "spec: is given twice"),
        (HEADER + "metadata: {name: x}\nspec: [1]\n", "spec: must be an object"),
        (HEADER + "metadata: {name: x}\nspec: {source: {image: {reference: a}}, replicas: '2'}\n",
         "spec.replicas: must be an integer"),
        ("a: [", "must be YAML"),
        ("- 1\n---\njust text\n", "0 VLLMModels in 2 documents: 0 problems"),
    ],
)  # fmt: skip
def test_problems_of_every_layer(text: str, part: str) -> None:
    result = validate(text)
    assert part in result.output
    assert result.exit_code == (0 if "0 problems" in part else 1)


def test_an_unknown_vllm_is_a_warning_and_what_the_newest_would_refuse_too() -> None:
    text = GOOD.replace("spec: {", "spec: {engineArgs: {gpu_memory_utilization: 7}, ")
    result = run("-", text=text)
    assert result.exit_code == 0
    assert "warning Warning (opt): The vLLM version of the image is not known" in result.output
    assert "warning InvalidEngineArgs (opt): spec.engineArgs.gpu_memory_utilization" in result.output


def test_settings_come_from_a_file(tmp_path: Path) -> None:
    text = GOOD.replace(
        "spec: {", "spec: {engineArgs: {tokenizer: a/b}, runtime: {image: 'registry.io/x:1'}, "
    )
    refused = validate(text)
    assert "ImageNotAllowed" in refused.output
    assert "EngineArgNotPermitted" in refused.output
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "permittedEngineArgs: [tokenizer]\nVLLM_OPERATOR_ALLOWED_IMAGES: registry.io/\n"
        "vllm_versions: registry.io/*=0.32.0\n"
    )
    result = run("--settings", str(settings), "-", text=text)
    assert (result.exit_code, result.output) == (0, "1 VLLMModel in 1 document: 0 problems, 0 warnings\n")


def test_a_file_says_what_a_spec_may_refer_to(tmp_path: Path) -> None:
    text = HEADER + (
        "metadata: {name: opt}\n"
        "spec:\n"
        "  source: {image: {reference: evil.example.com/weights:1}}\n"
        "  cache: {persistentVolumeClaim: {claimName: secret-data}}\n"
        "  gpus: {count: 1, resourceName: rdma/hca}\n"
        "  runtime: {imagePullSecrets: [{name: database}]}\n"
    )
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "allowedClaims: [cache-*]\n"
        "allowedSecrets: [pull-*]\n"
        "allowedModelImages: [registry.example.com]\n"
        "allowedGPUResources: [nvidia.com/gpu]\n"
        "allowPickledWeights: true\n"
    )
    result = run("--settings", str(settings), "-", text=text)
    assert result.exit_code == 1
    for setting in ("allowedClaims", "allowedSecrets", "allowedModelImages", "allowedGPUResources"):
        assert f"(`{setting}`)" in result.output
    assert "error InvalidSpec" in result.output
    assert len([line for line in result.output.splitlines() if ": error " in line]) == 4


@pytest.mark.parametrize(
    ("settings", "part"),
    [("nope: 1", "'nope' is not a setting"), ("[1]", "must be a mapping"), ("a: [", "cannot be read"),
     ("workers: 0", "workers"), ("vllmVersions: [x]", "must be <image glob>=<version>")],
)  # fmt: skip
def test_bad_settings_mean_that_it_could_not_run(tmp_path: Path, settings: str, part: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(settings)
    result = run("--settings", str(file), "-", text=GOOD)
    assert result.exit_code == 2
    assert part in result.output
    assert result.output.count("\n") == 1


def test_a_missing_file_means_that_it_could_not_run(tmp_path: Path) -> None:
    result = run(str(tmp_path / "missing.yaml"))
    assert (result.exit_code, "missing.yaml: No such file" in result.output) == (2, True)


def test_engine_arguments_are_checked_beside_what_the_api_server_refuses() -> None:
    text = GOOD.replace("spec: {", "spec: {replicas: '2', engineArgs: {max_model_len: 8k, dtype: fp16}, ")
    paths = [line.split(": ")[2] for line in validate(text).output.splitlines()[:-1]]
    assert paths == ["spec.replicas", "spec.engineArgs.max_model_len", "spec.engineArgs.dtype"]


def test_a_list_and_generate_name() -> None:
    items: list[Any] = [
        {"apiVersion": "triton-vllm.dev/v1alpha1", "kind": "VLLMModel", "metadata": metadata,
         "spec": {"source": {"image": {"reference": "a"}}}}
        for metadata in ({"generateName": "opt-"}, {"name": "b"})
    ]  # fmt: skip
    result = validate(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    assert result.output == "2 VLLMModels in 2 documents: 0 problems, 0 warnings\n"


def test_it_starts_without_what_it_does_not_need() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from vllm_operator.cli import main\n"
        "result = CliRunner().invoke(main, ['validate', '-'], input=sys.argv[1])\n"
        "heavy = {'kopf', 'kubernetes', 'tritonclient', 'aiohttp', 'grpc', 'google.protobuf', 'structlog'}\n"
        "print(result.exit_code, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, GOOD], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "0 []\n"
