"""`vllm-operator plan --against DIR`: what changes, and which pods restart."""
# ruff: noqa: E501

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from unit.builders import SETTINGS, a_model
from vllm_operator.cli import main
from vllm_operator.desired.effects import Restart
from vllm_operator.desired.revision import Revision, accept
from vllm_operator.files.plan import changed

BASE: dict[str, Any] = {
    "apiVersion": "triton-vllm.dev/v1alpha1",
    "kind": "VLLMModel",
    "metadata": {"name": "opt"},
    "spec": {
        "source": {"huggingFace": {"repository": "facebook/opt-125m"}},
        "engineArgs": {"max_model_len": 512},
    },
}


def plan(tmp_path: Path, old: dict[str, Any] | None, new: dict[str, Any], *arguments: str) -> Result:
    for name, spec in (("old", old), ("new", new)):
        (tmp_path / name).mkdir()
        objects = [] if spec is None else [BASE | {"spec": spec}]
        (tmp_path / name / "models.yaml").write_text(yaml.safe_dump_all(objects) or "# none\n")
    command = ["plan", "--vllm-version", "0.32.0", "--against", str(tmp_path / "old"), *arguments]
    return CliRunner().invoke(main, [*command, str(tmp_path / "new")])


def test_no_change(tmp_path: Path) -> None:
    result = plan(tmp_path, BASE["spec"], BASE["spec"])
    assert (result.exit_code, result.output) == (0, "VLLMModel default/opt: no change\n")


def test_a_default_that_is_written_out_is_no_change(tmp_path: Path) -> None:
    result = plan(tmp_path, BASE["spec"], BASE["spec"] | {"replicas": 1, "paused": False})
    assert result.output == "VLLMModel default/opt: no change\n"


def test_a_new_object(tmp_path: Path) -> None:
    result = plan(tmp_path, None, BASE["spec"])
    assert result.exit_code == 0
    assert result.output.startswith("VLLMModel default/opt: is created\n--- now\n+++ planned\n")
    assert "+kind: Deployment" in result.output


def test_what_restarts_and_what_does_not(tmp_path: Path) -> None:
    new = BASE["spec"] | {
        "engineArgs": {"max_model_len": 1024},
        "replicas": 3,
        "probe": {"periodSeconds": 30},
    }
    result = plan(tmp_path, BASE["spec"], new, "--no-diff")
    assert result.output == (
        "VLLMModel default/opt: its 3 pods restart as `spec.rollout` says\n"
        "  spec.engineArgs.max_model_len: 512 -> 1024\n"
        "      restarts the pods: A new revision with another `model.json`.\n"
        "  spec.probe.periodSeconds: 15 -> 30\n"
        "      no restart: The operator probes in the new way from the next probe on.\n"
        "  spec.replicas: 1 -> 3\n"
        "      no restart: Pods are added or taken away; those that stay go on.\n"
    )


def test_only_what_does_not_restart(tmp_path: Path) -> None:
    result = plan(tmp_path, BASE["spec"], BASE["spec"] | {"replicas": 3})
    assert result.output.startswith("VLLMModel default/opt: changes, no pod restarts\n")
    assert "-  replicas: 1\n+  replicas: 3\n" in result.output


def test_paused(tmp_path: Path) -> None:
    result = plan(tmp_path, BASE["spec"], BASE["spec"] | {"paused": True}, "--no-diff")
    assert "nothing of this reaches the children" in result.output


def test_the_served_name_stays(tmp_path: Path) -> None:
    result = plan(tmp_path, BASE["spec"], BASE["spec"] | {"servedName": "other"})
    assert result.exit_code == 1
    assert "would be refused" in result.output
    assert "may not be changed" in result.output


def test_a_spec_that_would_be_refused(tmp_path: Path) -> None:
    result = plan(tmp_path, BASE["spec"], BASE["spec"] | {"engineArgs": {"max_model_len": "8k"}})
    assert result.exit_code == 1
    assert "spec.engineArgs.max_model_len: must be" in result.output


def test_an_image_that_comes_along_is_named() -> None:
    old = a_model().parsed()
    before = accept(old, SETTINGS, current=None)
    settings = SETTINGS.model_copy(update={"runtime_image": "registry.example.com/triton:2"})
    kept = changed(old, a_model().with_replicas(2).parsed(), settings, before, live=True)
    assert (kept.restarts, kept.brings) == (False, ())
    rolled = changed(old, a_model().with_engine_args(max_model_len=9).parsed(), settings, before, live=True)
    assert rolled.restarts
    assert rolled.brings == (
        "the administrator's image, now 'registry.example.com/triton:2'; the pods run 'registry.example.com/triton:1'",
    )


def test_a_revision_from_the_api_server_with_its_keys_sorted_is_no_change() -> None:
    model = a_model().parsed()
    revision = accept(model, SETTINGS, current=None)
    stored = json.loads(json.dumps(revision.to_object(model.identity, 1), sort_keys=True))
    plan = changed(model, model, SETTINGS, Revision.from_object(stored), live=True)
    assert (plan.changes, plan.restarts, plan.diff) == ((), False, "")


def test_replicas_that_the_file_does_not_give_stay_as_an_autoscaler_set_them() -> None:
    scaled = a_model().with_replicas(7).parsed()
    before = accept(scaled, SETTINGS, current=None)
    assert changed(scaled, a_model().parsed(), SETTINGS, before, live=True).changes == ()
    assert changed(scaled, a_model().parsed(), SETTINGS, None, live=False).changes != ()


@pytest.mark.parametrize(
    "change",
    [
        {"replicas": 2}, {"paused": True}, {"probe": {"failureThreshold": 5}}, {"rollout": {"type": "Recreate"}},
        {"engineArgs": {"dtype": "half"}}, {"gpus": {"count": 2}}, {"resources": {"limits": {"cpu": "4"}}},
        {"runtime": {"drainSeconds": 60}}, {"runtime": {"logLevel": "debug"}}, {"sharedMemory": {"sizeLimit": "4Gi"}},
        {"scheduling": {"nodeSelector": {"a": "b"}}}, {"source": {"image": {"reference": "a"}}},
        {"runtime": {"frontEnds": 4}},
    ],
)  # fmt: skip
def test_the_table_and_the_revisions_agree(change: dict[str, Any]) -> None:
    old, new = a_model().parsed(), a_model().with_spec(**change).parsed()
    plan = changed(old, new, SETTINGS, accept(old, SETTINGS, current=None), live=True)
    assert plan.changes
    assert plan.restarts is any(c.effect.restart is Restart.ROLLS for c in plan.changes)
