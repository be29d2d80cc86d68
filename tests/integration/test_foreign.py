"""An object that is not ours under a child's name is never touched, whenever it appears."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from integration.conftest import StartOperator
from operatorkit.api import Api
from operatorkit.models import Models
from operatorkit.process import OperatorProcess
from operatorkit.proxy import Proxy, Write
from operatorkit.release import Release
from operatorkit.waiting import wait_for

#: What a stranger might have under each child's name.
_FOREIGN: dict[str, dict[str, Any]] = {
    "services": {"spec": {"ports": [{"port": 80}], "selector": {"app": "shop"}}},
    "configmaps": {"data": {"theirs": "yes"}},
    "controllerrevisions": {"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 7, "data": {}},
    "deployments": {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "shop"}},
            "template": {
                "metadata": {"labels": {"app": "shop"}},
                "spec": {"containers": [{"name": "c", "image": "shop"}]},
            },
        },
    },
}
_KINDS = {
    "services": "Service",
    "configmaps": "ConfigMap",
    "controllerrevisions": "ControllerRevision",
    "deployments": "Deployment",
}


@pytest.fixture(scope="module")
def wire(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Between the module's operator and the API server."""
    with Proxy(release.kubeconfig(), Path(tmp_path_factory.mktemp("wire"))) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def wired_operator(start_operator: StartOperator, wire: Proxy) -> OperatorProcess:
    """The module's operator, which reaches the API server over the wire only."""
    return start_operator(kubeconfig=wire.kubeconfig)


def _foreign(api: Api, plural: str, namespace: str, name: str, **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": {"app": "shop", **labels}}
    return api.create(plural, {**_FOREIGN[plural], "metadata": metadata})


def _is_untouched(api: Api, plural: str, foreign: dict[str, Any]) -> bool:
    metadata = foreign["metadata"]
    now = api.get(plural, metadata["namespace"], metadata["name"])
    if plural == "deployments" and now is not None:
        # The Deployment controller itself reports on it.
        return bool(now["spec"] == foreign["spec"] and now["metadata"]["labels"] == metadata["labels"])
    return now == foreign


@pytest.mark.parametrize("plural", ["services", "deployments"])
@pytest.mark.parametrize(
    "labels", [{}, {"triton-vllm.dev/model": "x", "app.kubernetes.io/managed-by": "vllm-operator"}]
)
def test_a_name_taken_before_leaves_everything_unmade(
    models: Models, name: str, api: Api, plural: str, labels: dict[str, str]
) -> None:
    labels = {key: name if value == "x" else value for key, value in labels.items()}
    foreign = _foreign(api, plural, models.namespace, name, **labels)
    models.create(name)
    condition = models.wait_condition(name, "Ready", "False", "NameConflict")
    assert _KINDS[plural] in condition["message"]
    assert models.condition(name, "Stalled") == {}
    made = [obj["metadata"]["name"] for objects in models.children(name).values() for obj in objects]
    assert made == ([name] if labels else [])
    assert _is_untouched(api, plural, foreign)
    api.delete(plural, models.namespace, name)
    models.wait_serving(name, seconds=40)


@pytest.mark.parametrize("plural", _KINDS)
def test_a_name_taken_between_look_and_create_is_left_alone(
    models: Models, name: str, api: Api, wire: Proxy, plural: str
) -> None:
    made: list[dict[str, Any]] = []

    def be_quicker(stage: Literal["before", "after"], write: Write) -> None:
        creates = write.method == "POST" and stage == "before" and not made
        if creates and write.path.endswith(f"/{plural}") and write.body["metadata"]["name"].startswith(name):
            made.append(_foreign(api, plural, models.namespace, write.body["metadata"]["name"]))

    wire.hook = be_quicker
    try:
        models.create(name)
        condition = models.wait_condition(name, "Ready", "False", "NameConflict")
    finally:
        wire.hook = None
    assert _KINDS[plural] in condition["message"]
    (foreign,) = made
    assert _is_untouched(api, plural, foreign)
    api.delete(plural, models.namespace, foreign["metadata"]["name"])
    models.wait_serving(name, seconds=40)


def test_a_child_replaced_by_a_stranger_is_reported_and_the_rest_goes_on(
    models: Models, name: str, api: Api
) -> None:
    models.create(name)
    models.wait_serving(name)
    models.edit(name, paused=True)
    models.wait_condition(name, "Ready", "True", "Paused")
    api.delete("services", models.namespace, name)
    foreign = _foreign(api, "services", models.namespace, name)
    models.edit(name, paused=False, replicas=2)
    models.wait_condition(name, "Ready", "False", "NameConflict")
    wait_for("it is scaled all the same", lambda: len(models.pods(name)) == 2)
    assert _is_untouched(api, "services", foreign)
    api.delete("services", models.namespace, name)
    models.wait_serving(name, seconds=40)
