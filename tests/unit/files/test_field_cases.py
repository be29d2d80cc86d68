"""Configurations from the field through `validate`: the right answer, and the words that cure."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from vllm_operator.api.v1alpha1 import parse_model
from vllm_operator.desired import repository
from vllm_operator.files import admin, documents, findings

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "field_cases.yaml").read_text())
CLAIM = {"persistentVolumeClaim": {"claimName": "models", "path": "m"}}


def examined(case: dict[str, Any], tmp_path: Path) -> tuple[findings.Report, dict[str, Any]]:
    settings = tmp_path / "settings.yaml"
    settings.write_text(json.dumps(case.get("settings", {})))
    manifest = {
        "apiVersion": "triton-vllm.dev/v1alpha1",
        "kind": "VLLMModel",
        "metadata": {"name": "m"},
        "spec": {"source": CLAIM} | case["spec"],
    }
    version = f"{case['vllm']}.0" if "vllm" in case else None
    read = documents.parse(yaml.safe_dump(manifest).encode(), "model.yaml")
    return findings.examine(read, admin.load(str(settings), version)), manifest


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_answer_is_right_and_says_what_cures(case: dict[str, Any], tmp_path: Path) -> None:
    report, manifest = examined(case, tmp_path)
    said = "\n".join(finding.message for finding in report.findings)
    got = "refuse" if report.errors else "warn" if case["verdict"] == "warn" and report.findings else "accept"
    assert got == case["verdict"], said
    for words in case.get("says", []):
        assert words in said
    for words in case.get("unsaid", []):
        assert words not in said
    if got == "accept" and "engineArgs" in case["spec"]:
        model = parse_model(manifest)
        rendered = repository.render(model.spec, model.served_name, pickled_weights=True)
        arguments = json.loads(next(text for name, text in rendered.items() if name.endswith("model.json")))
        assert case["spec"]["engineArgs"].items() <= arguments.items()
