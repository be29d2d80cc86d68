"""Every example is taken by the API server as it is, and by the operator with an administrator's defaults."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from operatorkit.api import Api, path
from vllm_operator.api.v1alpha1 import parse_model
from vllm_operator.desired.policy import warnings
from vllm_operator.desired.revision import accept
from vllm_operator.settings import Settings

EXAMPLES = Path(__file__).parents[3] / "examples"
MODELS = [
    (f"{file.stem}/{document['metadata']['name']}", document)
    for file in sorted(EXAMPLES.glob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text())
    if document["kind"] == "VLLMModel"
]


@pytest.mark.parametrize("obj", [obj for _, obj in MODELS], ids=[name for name, _ in MODELS])
def test_example(api: Api, obj: dict[str, Any]) -> None:
    query = {"dryRun": "All", "fieldValidation": "Strict"}
    stored = api.call("POST", path("vllmmodels", "default"), obj, query=query)
    settings = Settings(
        runtime_image="registry.example.com/triton:1", vllm_versions=("registry.example.com/*=0.32.0",)
    )
    model = parse_model(stored)
    revision = accept(model, settings, current=None)
    assert list(warnings(model, settings, image=revision.image)) == []
