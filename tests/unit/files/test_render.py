"""`vllm-operator render`: what the operator applies, but for the owner's UID."""

import json
from pathlib import Path

import yaml
from click.testing import CliRunner, Result

from unit.builders import SETTINGS
from vllm_operator.api.v1alpha1 import parse_model
from vllm_operator.cli import main
from vllm_operator.desired.revision import accept
from vllm_operator.desired.state import build
from vllm_operator.files.render import NO_UID

MODEL = {
    "apiVersion": "triton-vllm.dev/v1alpha1",
    "kind": "VLLMModel",
    "metadata": {"name": "opt", "namespace": "team"},
    "spec": {
        "source": {"huggingFace": {"repository": "facebook/opt-125m", "revision": "main"}},
        "engineArgs": {"max_model_len": 4096, "gpu_memory_utilization": 0.85},
        "replicas": 2,
    },
}
SETTINGS_FILE = "runtimeImage: registry.example.com/triton:1\nvllmVersions: registry.example.com/*=0.32.0\n"


def render(model: object, tmp_path: Path, *arguments: str) -> Result:
    settings = tmp_path / "settings.yaml"
    settings.write_text(SETTINGS_FILE)
    command = ["render", "--settings", str(settings), *arguments, "-"]
    return CliRunner().invoke(main, command, input=json.dumps(model))


def test_it_is_what_the_operator_applies_with_the_uid_filled_in(tmp_path: Path) -> None:
    uid = "5a2c8e51-0000-4000-8000-000000000001"
    model = parse_model(
        MODEL | {"metadata": {"name": "opt", "namespace": "team", "uid": uid, "generation": 1}}
    )
    revision = accept(model, SETTINGS, current=None)
    applied = [
        revision.to_object(model.identity, 1),
        *build(model.identity, revision, replicas=model.spec.replicas).objects,
    ]
    result = render(MODEL, tmp_path)
    assert result.exit_code == 0
    rendered = list(yaml.safe_load_all(result.output.replace(NO_UID, uid)))
    assert rendered == applied
    lines = render(MODEL, tmp_path, "-o", "json").output.replace(NO_UID, uid).splitlines()
    assert lines == [json.dumps(manifest) for manifest in applied]


def test_the_namespace_is_that_of_the_file_or_of_the_option(tmp_path: Path) -> None:
    nameless = MODEL | {"metadata": {"name": "opt"}}
    for model, arguments, namespace in (
        (MODEL, ("-n", "other"), "team"),
        (nameless, ("-n", "other"), "other"),
        (nameless, (), "default"),
    ):
        rendered = yaml.safe_load_all(render(model, tmp_path, *arguments).output)
        assert {manifest["metadata"]["namespace"] for manifest in rendered} == {namespace}


def test_a_refused_spec_renders_nothing(tmp_path: Path) -> None:
    bad = MODEL | {"spec": {**MODEL["spec"], "engineArgs": {"dtype": "fp16"}}}  # type: ignore[dict-item]
    result = render(bad, tmp_path)
    assert result.exit_code == 1
    assert result.output.startswith("error: team/opt: spec.engineArgs.dtype: must be one of")
    assert "kind:" not in result.output


def test_other_kinds_are_left_out(tmp_path: Path) -> None:
    assert render({"apiVersion": "v1", "kind": "Service"}, tmp_path).output == ""


def test_models_of_one_file_are_independent(tmp_path: Path) -> None:
    both = {"apiVersion": "v1", "kind": "List", "items": [MODEL, MODEL | {"metadata": {"name": "b"}}]}
    kinds = [m["kind"] for m in yaml.safe_load_all(render(both, tmp_path).output)]
    assert kinds == ["ControllerRevision", "ConfigMap", "Service", "Deployment"] * 2


def test_the_builders_settings_are_those_of_the_file() -> None:
    """The comparison above means something only while both say the same."""
    assert (SETTINGS.runtime_image, SETTINGS.vllm_versions) == (
        "registry.example.com/triton:1",
        ("registry.example.com/*=0.32.0",),
    )
