"""`render` and `plan` against a real API server and operator: what they say is what happens."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcluster.controlplane import ControlPlane
from operatorkit.api import Api
from operatorkit.models import SPEC, Models
from operatorkit.process import OperatorProcess
from operatorkit.release import Release
from vllm_operator.files.render import NO_UID
from vllm_operator.kube.drift import difference

VERSIONS = "registry.example/*=0.32.0"
MODEL = {"apiVersion": "triton-vllm.dev/v1alpha1", "kind": "VLLMModel"}


@pytest.fixture(scope="module")
def operator(start_operator: Callable[..., OperatorProcess]) -> OperatorProcess:
    """A running operator for the module's namespace."""
    return start_operator(VLLM_VERSIONS=VERSIONS)


@pytest.fixture
def command(control_plane: ControlPlane, release: Release, tmp_path: Path) -> Callable[..., str]:
    """Runs `vllm-operator` with the operator's own settings, as the administrator of the cluster."""
    settings = {f"VLLM_OPERATOR_{k}": v for k, v in release.settings(VLLM_VERSIONS=VERSIONS).items()}

    def run(name: str, obj: Mapping[str, Any], *arguments: str, code: int = 0) -> str:
        file = tmp_path / "model.yaml"
        file.write_text(yaml.safe_dump(dict(obj)))
        environment = os.environ | settings | {"KUBECONFIG": str(control_plane.kubeconfig)}
        done = subprocess.run(
            [sys.executable, "-m", "vllm_operator.cli", name, str(file), *arguments],
            capture_output=True, text=True, env=environment, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout

    return run


def manifest(name: str, namespace: str, **spec: Any) -> dict[str, Any]:
    return MODEL | {"metadata": {"name": name, "namespace": namespace}, "spec": {**SPEC, **spec}}


def test_rendered_is_what_the_operator_applied(
    api: Api, models: Models, operator: OperatorProcess, command: Callable[..., str], name: str
) -> None:
    created = models.create(
        name,
        engineArgs={
            "max_model_len": 512,
            "gpu_memory_utilization": 0.5,
            "override_generation_config": {"x": "<&> \U0001f600 ключ\x7f"},
        },
    )
    models.wait_serving(name)
    rendered = command("render", manifest(name, models.namespace, **created["spec"]), "-o", "json")
    objects = [json.loads(line) for line in rendered.replace(NO_UID, created["metadata"]["uid"]).splitlines()]
    assert [obj["kind"] for obj in objects] == ["ControllerRevision", "ConfigMap", "Service", "Deployment"]
    for obj in objects:
        live = api.get(f"{obj['kind'].lower()}s", models.namespace, obj["metadata"]["name"])
        assert live is not None, f"the operator made no {obj['kind']} {obj['metadata']['name']}"
        # The operator's own comparison: nothing that it would have to apply again.
        assert difference(obj, live, "vllm-operator") is None


def test_plan_says_which_change_restarts_and_the_operator_does_so(
    api: Api, models: Models, operator: OperatorProcess, command: Callable[..., str], name: str
) -> None:
    models.create(name)
    models.wait_serving(name)
    revision = models.get(name)["status"]["currentRevision"]
    same = command("plan", manifest(name, models.namespace))
    assert same == f"VLLMModel {models.namespace}/{name}: no change\n"

    probed = {"probe": {**SPEC["probe"], "failureThreshold": 5}}
    text = command("plan", manifest(name, models.namespace, **probed), "--no-diff")
    assert text.startswith(f"VLLMModel {models.namespace}/{name}: changes, no pod restarts\n")
    models.edit(name, **probed)
    models.wait_serving(name)
    assert models.get(name)["status"]["currentRevision"] == revision

    longer = probed | {"engineArgs": {"max_model_len": 1024}}
    text = command("plan", manifest(name, models.namespace, **longer))
    assert text.startswith(f"VLLMModel {models.namespace}/{name}: its pod restarts as `spec.rollout` says\n")
    planned = [line.split()[-1] for line in text.splitlines() if line.startswith(f"+  name: {name}-")]
    models.edit(name, **longer)
    models.wait_serving(name)
    assert models.get(name)["status"]["currentRevision"] == planned[0] != revision


def test_plan_keeps_what_an_autoscaler_set(
    models: Models, operator: OperatorProcess, command: Callable[..., str], name: str
) -> None:
    models.create(name, replicas=2)
    models.wait_serving(name)
    assert "no change" in command("plan", manifest(name, models.namespace))
    assert "spec.replicas: 2 -> 1" in command("plan", manifest(name, models.namespace, replicas=1))


def test_plan_of_a_new_and_of_a_refused_object(
    models: Models, command: Callable[..., str], name: str
) -> None:
    assert "is created" in command("plan", manifest(name, models.namespace))
    command("plan", manifest(name, models.namespace, engineArgs={"dtype": "fp16"}), code=1)


def test_plan_writes_nothing(
    control_plane: ControlPlane,
    models: Models,
    operator: OperatorProcess,
    command: Callable[..., str],
    name: str,
) -> None:
    models.create(name)
    models.wait_serving(name)
    since = control_plane.audit.position()
    command("plan", manifest(name, models.namespace, replicas=3))
    writes = control_plane.audit.writes(since=since)
    assert [
        write.what for write in writes if "lease" not in write.what and "system:admin" in write.user
    ] == []
