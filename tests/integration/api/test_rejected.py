"""Bad input at the operator: reason and words are exact, nothing is created, nothing that runs is changed."""

import os
from typing import Any

import pytest
import yaml

from integration.api.tables import FOLDER, rows
from operatorkit.api import Api
from operatorkit.models import Models
from operatorkit.process import OperatorProcess
from operatorkit.waiting import wait_for

ROWS = rows("rejected.yaml")
WORDS = FOLDER / "rejections.yaml"


@pytest.fixture(scope="module")
def serving(models: Models, operator: OperatorProcess) -> str:
    """A model that serves, and that bad specs then try to change."""
    models.create("good")
    models.wait_serving("good")
    return "good"


def children(models: Models, name: str) -> dict[str, list[tuple[str, Any]]]:
    return {
        kind: [(obj["metadata"]["uid"], obj.get("spec", obj.get("data"))) for obj in objects]
        for kind, objects in models.children(name).items()
    }


def verdict(models: Models, name: str) -> list[str]:
    """Reason and message of the refusal of the current generation."""
    ready = models.wait_condition(name, "Stalled", "True")
    return [ready["reason"], ready["message"]]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_a_bad_spec_changes_nothing_of_what_serves(models: Models, serving: str, row: dict[str, Any]) -> None:
    before = children(models, serving)
    models.edit(serving, **row["spec"])
    said = verdict(models, serving)
    if os.environ.get("UPDATE_ANSWERS"):
        record(row["name"], said)
    expected = yaml.safe_load(WORDS.read_text())[row["name"]]
    assert said == expected
    assert models.condition(serving)["status"] == "False"
    assert models.condition(serving, "Available")["status"] == "True"
    assert models.condition(serving, "Reconciling") == {}
    assert children(models, serving) == before
    undo = dict.fromkeys(row["spec"])
    models.edit(serving, **undo)
    models.wait_serving(serving)
    assert children(models, serving) == before


def record(name: str, said: list[str]) -> None:
    known = yaml.safe_load(WORDS.read_text()) if WORDS.exists() else {}
    ordered = {row["name"]: {**known, name: said}.get(row["name"]) for row in ROWS}
    text = yaml.safe_dump({key: words for key, words in ordered.items() if words}, sort_keys=False, width=110)
    WORDS.write_text(text)


def test_a_bad_new_model_gets_no_children_and_heals_when_corrected(
    models: Models, operator: OperatorProcess, api: Api, name: str
) -> None:
    models.create(name, engineArgs={"tensor_paralel_size": 2})
    assert verdict(models, name)[0] == "InvalidEngineArgs"
    assert not any(models.children(name).values())
    events = wait_for("an Event says so", lambda: events_of(api, models, name))
    assert [event["reason"] for event in events] == ["InvalidEngineArgs"]
    models.edit(name, engineArgs={"tensor_paralel_size": None})
    models.wait_serving(name)


def events_of(api: Api, models: Models, name: str) -> list[dict[str, Any]]:
    found = api.list("events", models.namespace)
    return [event for event in found if event.get("regarding", {}).get("name") == name]


@pytest.fixture
def quota(api: Api, namespace: str) -> Any:
    """No pod may be created while the test runs."""
    body = {"metadata": {"name": "none", "namespace": namespace}, "spec": {"hard": {"pods": "0"}}}
    api.create("resourcequotas", body)
    wait_for("the quota is known", lambda: (api.get("resourcequotas", namespace, "none") or {}).get("status"))
    yield
    api.delete("resourcequotas", namespace, "none")


class TestWhatOnlyTheClusterKnows:
    """The real scheduler's and the real quota's words, quoted; it heals by itself."""

    def test_memory_that_no_node_has(self, models: Models, operator: OperatorProcess, name: str) -> None:
        models.create(name, resources={"requests": {"memory": "465458732Gi"}})
        ready = models.wait_condition(name, "Ready", "False", "Unschedulable")
        assert "Insufficient memory" in ready["message"]
        assert models.condition(name, "Stalled") == {}
        models.edit(name, resources=None)
        models.wait_serving(name)

    def test_a_gpu_of_unknown_kind(self, models: Models, operator: OperatorProcess, name: str) -> None:
        models.create(name, gpus={"count": 1, "resourceName": "nvidia.com/mig-9g.99gb"})
        ready = models.wait_condition(name, "Ready", "False", "Unschedulable")
        assert "Insufficient nvidia.com/mig-9g.99gb" in ready["message"]

    def test_a_claim_that_comes_later(
        self, models: Models, operator: OperatorProcess, api: Api, name: str
    ) -> None:
        models.create(name, source={"persistentVolumeClaim": {"claimName": f"weights-{name}"}})
        ready = models.wait_condition(name, "Ready", "False", "PersistentVolumeClaimNotFound")
        assert f'persistentvolumeclaim "weights-{name}" not found' in ready["message"]
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": f"weights-{name}", "namespace": models.namespace},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "",
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
        api.create("persistentvolumeclaims", claim)
        models.wait_condition(name, "Ready", "False", "PersistentVolumeClaimNotBound", seconds=90)

    @pytest.mark.usefixtures("quota")
    def test_a_quota(self, models: Models, operator: OperatorProcess, api: Api, name: str) -> None:
        models.create(name)
        ready = models.wait_condition(name, "Ready", "False", "AdmissionRejected")
        assert "exceeded quota: none, requested: pods=1" in ready["message"]
        assert f"{name}-" not in ready["message"].partition("Remedy")[0].replace("replicasets", "")
        assert models.condition(name, "Stalled") == {}


def test_every_row_has_its_words() -> None:
    assert set(yaml.safe_load(WORDS.read_text())) == {row["name"] for row in ROWS}
