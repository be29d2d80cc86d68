"""Watches that end for good, namespaces that may not be watched, deletions that nobody tells.

The others go on, and what was missed is found within seconds.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from integration.conftest import StartOperator
from localcluster.controlplane import ControlPlane
from operatorkit.api import Api
from operatorkit.kubelet import Kubelet
from operatorkit.models import Models
from operatorkit.process import OperatorProcess
from operatorkit.proxy import Asked, Proxy, Refusal
from operatorkit.release import Release
from operatorkit.waiting import wait_for

#: Back-off of at most 15 s, a list, and a reconcile, on a busy machine.
_SECONDS = 45

_REFUSALS = {
    "410": Refusal(410),
    "410-in-stream": Refusal(410, in_stream=True),
    "404": Refusal(404),
    "400": Refusal(400),
    "500-in-stream": Refusal(500, in_stream=True),
}


@pytest.fixture(scope="module")
def wire(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Between the module's operator and the API server."""
    with Proxy(release.kubeconfig(), Path(tmp_path_factory.mktemp("wire"))) as running:
        yield running


@pytest.fixture(scope="module")
def wired(start_operator: StartOperator, wire: Proxy) -> OperatorProcess:
    """No resync within a test: what it finds its watches and lists have found."""
    return start_operator(kubeconfig=wire.kubeconfig)


@pytest.fixture
def operator(wired: OperatorProcess, wire: Proxy) -> Iterator[OperatorProcess]:
    """It still runs after each test: nothing here is a reason to end."""
    yield wired
    wire.fault = None
    assert wired.returncode() is None, "the operator ended"
    assert wired.get("/healthz") == (200, "ok\n")


def _lose_watches(wire: Proxy, plural: str, refusal: Refusal) -> None:
    """All watches end, as when an API server restarts, and those of one kind are refused from then on."""

    def fault(asked: Asked) -> Refusal | None:
        return refusal if asked.is_watch and asked.path.endswith(f"/{plural}") else None

    wire.fault = fault
    wire.break_watches()


def _delete_service(models: Models, name: str) -> Callable[[], bool]:
    """Delete a model's Service; returns whether it is there again."""
    (service,) = models.children(name)["services"]
    models.api.delete("services", models.namespace, name)

    def back() -> bool:
        found = models.children(name)["services"]
        return bool(found) and found[0]["metadata"]["uid"] != service["metadata"]["uid"]

    return back


@pytest.mark.parametrize("how", _REFUSALS)
def test_one_kind_of_children_is_watched_no_more(
    operator: OperatorProcess, wire: Proxy, models: Models, name: str, how: str
) -> None:
    models.create(name)
    models.wait_serving(name)
    _lose_watches(wire, "services", _REFUSALS[how])
    wait_for("the Service is back", _delete_service(models, name), _SECONDS)
    # The other watches go on as if nothing were.
    models.edit(name, engineArgs={"max_model_len": 77})
    models.wait_serving(name, seconds=_SECONDS)


@pytest.mark.parametrize("how", _REFUSALS)
def test_vllmmodels_are_watched_no_more(
    operator: OperatorProcess, wire: Proxy, models: Models, name: str, how: str
) -> None:
    gone = f"{name}-gone"
    for each in (name, gone):
        models.create(each)
        models.wait_serving(each)
    _lose_watches(wire, "vllmmodels", _REFUSALS[how])
    wait_for("the Service is back", _delete_service(models, name), _SECONDS)
    models.edit(name, engineArgs={"max_model_len": 77})
    models.api.delete("vllmmodels", models.namespace, gone)
    models.wait_serving(name, seconds=_SECONDS)

    def forgotten() -> bool:
        return f'name="{gone}"' not in operator.get("/metrics")[1]

    wait_for("the deletion that no watch told of is known", forgotten, _SECONDS)
    made = [line for line in operator.log() if line.get("object") == f"Deployment {models.namespace}/{gone}"]
    assert len(made) == 1, "children of a deleted model are not made again"


def test_a_service_that_is_deleted_while_another_write_is_slow_comes_back(
    operator: OperatorProcess, wire: Proxy, models: Models, name: str
) -> None:
    models.create(name)
    models.wait_serving(name)
    slow: list[str] = []

    def fault(asked: Asked) -> Refusal | None:
        if asked.method == "POST" and asked.path.endswith("/controllerrevisions"):
            slow.append(asked.path)
            return Refusal(0, seconds=5)
        return None

    wire.fault = fault
    models.edit(name, engineArgs={"max_model_len": 77})
    wait_for("the reconcile has read, and waits for its first write", lambda: slow)
    wait_for("the Service is back", _delete_service(models, name), 20)


def test_a_namespace_that_may_not_be_watched_stops_nobody_and_is_picked_up(
    control_plane: ControlPlane,
    api: Api,
    kubelet: Kubelet,
    new_namespace: Callable[[str], str],
    tmp_path: Path,
) -> None:
    home, lost = new_namespace("home"), "lost-namespace"
    with ExitStack() as stack:
        api.create("namespaces", {"metadata": {"name": lost}})
        release = Release(control_plane, api, namespace=home, watch=(home, lost))
        api.delete("namespaces", "", lost)
        wait_for("the other namespace is gone", lambda: api.get("namespaces", "", lost) is None)
        wire = stack.enter_context(Proxy(release.kubeconfig(), tmp_path))
        # At its start the operator also meets one 429 for each kind.
        once: set[str] = set()

        def fault(asked: Asked) -> Refusal | None:
            if asked.is_lease or asked.path in once:
                return None
            once.add(asked.path)
            return Refusal(429, retry_after="1")

        wire.fault = fault
        operator = stack.enter_context(OperatorProcess(wire.kubeconfig, release.settings()))
        operator.wait_until_leading()
        here, there = Models(api, home), Models(api, lost)
        here.create("llama")
        here.wait_serving("llama")
        assert operator.get("/healthz") == (200, "ok\n")
        assert (
            'vllm_operator_watch_failures_total{kind="Pod",namespace="lost-namespace"}'
            in (operator.get("/metrics")[1])
        )
        api.create("namespaces", {"metadata": {"name": lost}})
        Release(control_plane, api, namespace=home, watch=(home, lost))
        wait_for("its ServiceAccount", lambda: api.get("serviceaccounts", lost, "default"))
        there.create("llama")
        there.wait_serving("llama", seconds=60)
        # Forbidden while it is watched: its models are not taken for gone, the others go on.
        for plural in ("rolebindings", "roles"):
            for obj in api.list(plural, lost):
                api.delete(plural, lost, obj["metadata"]["name"])
        wire.break_watches()
        here.edit("llama", engineArgs={"max_model_len": 77})
        here.wait_serving("llama", seconds=_SECONDS)
        serves = 'namespace="lost-namespace",reason="Serving",status="True",type="Ready"'
        assert serves in operator.get("/metrics")[1]
        Release(control_plane, api, namespace=home, watch=(home, lost))
        there.edit("llama", engineArgs={"max_model_len": 77})
        there.wait_serving("llama", seconds=60)
        assert operator.returncode() is None
        api.delete("namespaces", "", lost)
        api.delete("namespaces", "", home)
