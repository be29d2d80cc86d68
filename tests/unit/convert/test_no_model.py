"""What names no model is an error at its line, in every format, and nothing is written for it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from vllm_operator.cli_files import convert, validate

KSERVE = "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: m}\nspec: "
KUBEAI = "apiVersion: kubeai.org/v1\nkind: Model\nmetadata: {name: m}\nspec: "
EMPTY = [
    "vllm serve --tensor-parallel-size 2",
    "vllm serve",
    'vllm serve "" --seed 3',
    "vllm serve --model= --seed 3",
    "vllm serve hf://",
    "vllm serve org/m; vllm serve --seed 3",
    "python -m vllm.entrypoints.openai.api_server --dtype half",
    '{"model": null}',
    '{"model": ""}',
    '{"model": "  ", "dtype": "half"}',
    '{"model": [], "dtype": "half"}',
    f"{KSERVE}{{predictor: {{}}}}",
    f"{KSERVE}{{predictor: {{model: {{modelFormat: {{name: huggingface}}, storageUri: null}}}}}}",
    f"{KSERVE}{{predictor: {{model: {{storageUri: 'pvc://'}}}}}}",
    f"{KSERVE}{{predictor: {{model: {{storageUri: 'oci://'}}}}}}",
    f"{KSERVE}",
    f"{KUBEAI}{{url: null, engine: VLLM}}",
    f"{KUBEAI}{{url: 'hf://'}}",
    f"{KUBEAI}{{url: 'pvc://'}}",
    f"{KUBEAI}{{}}",
    "services: {m: {image: vllm/vllm-openai}}",
    "services: {m: {image: vllm/vllm-openai, command: [--model, '']}}",
]


@pytest.mark.parametrize("text", EMPTY)
def test_it_is_an_error(text: str, tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_text(text)
    judged = CliRunner().invoke(validate, ["--from", "auto", "--vllm-version", "0.33", str(file)])
    assert judged.exit_code == 1, judged.output
    assert judged.output.count("names no model") == 1
    made = CliRunner().invoke(convert, [str(file)])
    assert made.exit_code == 1
    assert "names no model" in made.stderr
    assert made.stdout == ""
