"""What runs is what was accepted: no revision of somebody else's, and no rule that came later, changes it."""

from copy import deepcopy
from typing import Any

import pytest

from integration.conftest import StartOperator
from operatorkit.api import Api
from operatorkit.models import Models
from operatorkit.process import OperatorProcess
from operatorkit.waiting import wait_for

_SETTINGS = "triton-vllm.dev/settings"


@pytest.fixture(scope="module")
def generous(start_operator: StartOperator) -> OperatorProcess:
    """An operator whose administrator allows what later is not allowed any more."""
    return start_operator(ALLOWED_GPU_RESOURCES="*", PERMITTED_ENGINE_ARGS="tokenizer", ALLOWED_ENV="MINE")


def _image(models: Models, name: str) -> str:
    (deployment,) = models.children(name)["deployments"]
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


def _events(api: Api, models: Models, name: str) -> list[str]:
    found = api.list("events", models.namespace)
    return [event["note"] for event in found if event["regarding"]["name"] == name]


def _genuine(models: Models, name: str) -> dict[str, Any]:
    (revision,) = models.children(name)["controllerrevisions"]
    return revision


def _evil(genuine: dict[str, Any], name: str) -> dict[str, Any]:
    data = deepcopy(genuine["data"])
    data["pod_template"]["spec"]["containers"][0]["image"] = data["image"] = "evil.example/miner:1"
    kept = ("namespace", "labels", "annotations", "ownerReferences")
    metadata = {"name": name, **{key: genuine["metadata"][key] for key in kept}}
    return {**genuine, "metadata": metadata, "data": data, "revision": 99}


@pytest.mark.usefixtures("generous")
class TestForged:
    def test_the_status_lists_what_the_operator_wrote(self, models: Models, name: str) -> None:
        models.create(name)
        models.wait_serving(name)
        (entry,) = models.get(name)["status"]["revisions"]
        assert entry["name"] == _genuine(models, name)["metadata"]["name"]
        assert len(entry["sha256"]) == 64
        models.edit(name, probe={"periodSeconds": 6})

        def listed_anew() -> bool:
            (now,) = models.get(name)["status"]["revisions"]
            return bool(now["name"] == entry["name"] and now["sha256"] != entry["sha256"])

        wait_for("other settings have another hash", listed_anew)
        models.wait_serving(name)
        assert len(models.children(name)["configmaps"]) == 1

    def test_a_newer_one_is_an_event_and_runs_nothing(self, models: Models, name: str, api: Api) -> None:
        models.create(name)
        models.wait_serving(name)
        genuine, image = _genuine(models, name), _image(models, name)
        api.create("controllerrevisions", _evil(genuine, f"{name}-0123456789"))
        # Refused, so that the newest stored revision is in force: once it was the forged one.
        models.edit(name, runtime={"image": "not.example/allowed:1"})
        models.wait_condition(name, "Ready", "False", "ImageNotAllowed")
        wait_for("an Event", lambda: any("0123456789 is not used" in e for e in _events(api, models, name)))
        assert _image(models, name) == image
        models.edit(name, runtime={"image": None})
        models.wait_serving(name)
        assert _image(models, name) == image
        assert models.get(name)["status"]["updateRevision"] == genuine["metadata"]["name"]

    def test_one_in_the_place_of_the_genuine_is_replaced(self, models: Models, name: str, api: Api) -> None:
        models.create(name)
        models.wait_serving(name)
        genuine, image = _genuine(models, name), _image(models, name)
        models.edit(name, paused=True)
        models.wait_condition(name, "Ready", "True", "Paused")
        api.delete("controllerrevisions", models.namespace, genuine["metadata"]["name"])
        api.create("controllerrevisions", _evil(genuine, genuine["metadata"]["name"]))
        models.edit(name, paused=False)
        wait_for("it is as it was", lambda: _genuine(models, name)["data"] == genuine["data"])
        models.wait_serving(name)
        assert _image(models, name) == image
        assert any("is not used" in event for event in _events(api, models, name))

    def test_a_config_map_in_the_place_of_the_genuine_is_replaced(
        self, models: Models, name: str, api: Api
    ) -> None:
        models.create(name)
        models.wait_serving(name)
        (genuine,) = models.children(name)["configmaps"]
        models.edit(name, paused=True)
        models.wait_condition(name, "Ready", "True", "Paused")
        api.delete("configmaps", models.namespace, genuine["metadata"]["name"])
        kept = ("name", "namespace", "labels", "ownerReferences")
        forged = {key: genuine["metadata"][key] for key in kept}
        data = {**genuine["data"], "model.json": '{"model": "/source", "trust_remote_code": true}'}
        api.create("configmaps", {"metadata": forged, "immutable": True, "data": data})
        models.edit(name, paused=False)
        wait_for("it is as it was", lambda: models.children(name)["configmaps"][0]["data"] == genuine["data"])
        models.wait_serving(name)

    def test_forged_settings_are_put_right(self, models: Models, name: str, api: Api) -> None:
        models.create(name)
        models.wait_serving(name)
        genuine = _genuine(models, name)
        text = genuine["metadata"]["annotations"][_SETTINGS]
        forged = {
            "metadata": {
                "annotations": {_SETTINGS: text.replace('"period_seconds": 5', '"period_seconds": 0')}
            }
        }
        edited = api.merge("controllerrevisions", models.namespace, genuine["metadata"]["name"], forged)
        assert edited["metadata"]["annotations"][_SETTINGS] != text
        wait_for(
            "they are as they were",
            lambda: _genuine(models, name)["metadata"]["annotations"] == genuine["metadata"]["annotations"],
        )


def test_what_was_accepted_serves_on_under_stricter_rules_with_a_warning(
    models: Models, name: str, generous: OperatorProcess, start_operator: StartOperator, api: Api
) -> None:
    models.create(
        name,
        engineArgs={"tokenizer": "a/b"},
        gpus={"count": 0},
        runtime={"env": [{"name": "MINE", "value": "1"}]},
    )
    models.wait_serving(name)
    before = models.children(name)["deployments"][0]["spec"]
    assert generous.terminate() == 0
    strict = start_operator(POD_NAME="strict-0")
    ready = wait_for(
        "it says so",
        lambda: (
            "accepted" in models.condition(name, "RepositoryReady").get("message", "")
            and models.condition(name)
        ),
        note=lambda: str(models.get(name)["status"]),
    )
    assert (ready["status"], ready["reason"]) == ("True", "Serving")
    message = models.condition(name, "RepositoryReady")["message"]
    assert "spec.engineArgs.tokenizer" in message
    assert "spec.runtime.env[0].name" in message
    assert models.condition(name, "Stalled") == {}
    models.edit(name, replicas=2)
    wait_for("two pods serve", lambda: models.get(name)["status"]["replicaSummary"] == "2/2")
    assert models.children(name)["deployments"][0]["spec"]["template"] == before["template"]
    models.edit(name, engineArgs={"max_model_len": 64})
    models.wait_condition(name, "Stalled", "True")
    assert models.children(name)["deployments"][0]["spec"]["template"] == before["template"]
    assert strict.returncode() is None
