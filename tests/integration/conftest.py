"""A real control plane with the CRD, one schedulable Node, and operators under the chart's own rights."""

import itertools
import secrets
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from localcluster.controlplane import ControlPlane
from localcluster.pytest_plugin import control_plane  # noqa: F401 - a fixture
from operatorkit.api import Api
from operatorkit.kubelet import Kubelet, ready
from operatorkit.models import Models
from operatorkit.plane import connect
from operatorkit.process import OperatorProcess
from operatorkit.proxy import Proxy
from operatorkit.release import Release
from operatorkit.waiting import wait_for
from tritonstandin import TritonStandIn

StartOperator = Callable[..., OperatorProcess]


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> Api:  # noqa: F811
    """The administrator's client; the CRD is served."""
    return connect(control_plane)


@pytest.fixture(scope="session")
def healthy_triton() -> Iterator[TritonStandIn]:
    """The Triton of every pod of which a test says nothing else."""
    with TritonStandIn() as server:
        yield server


@pytest.fixture(scope="session")
def kubelet(api: Api, healthy_triton: TritonStandIn) -> Iterator[Kubelet]:
    """One Node; pods become ready at once unless a test says otherwise."""
    with Kubelet(api, ready(healthy_triton.address)) as running:
        yield running


@pytest.fixture(scope="session")
def new_namespace(api: Api) -> Callable[[str], str]:
    """Makes namespaces that enforce restricted Pod Security."""

    def make(prefix: str) -> str:
        name = f"{prefix}-{secrets.token_hex(3)}"
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        api.create("namespaces", {"metadata": {"name": name, "labels": labels}})
        wait_for("the namespace has its ServiceAccount", lambda: api.get("serviceaccounts", name, "default"))
        return name

    return make


@pytest.fixture(scope="module")
def namespace(new_namespace: Callable[[str], str], api: Api) -> Iterator[str]:
    """The module's namespace."""
    name = new_namespace("test")
    yield name
    api.delete("namespaces", "", name)


@pytest.fixture(scope="module")
def release(control_plane: ControlPlane, api: Api, namespace: str, kubelet: Kubelet) -> Release:  # noqa: F811
    """The chart installed into the module's namespace, serving that namespace only."""
    return Release(control_plane, api, namespace=namespace, watch=(namespace,))


@pytest.fixture(scope="module")
def models(api: Api, namespace: str) -> Models:
    """VLLMModels of the module's namespace."""
    return Models(api, namespace)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name for the test's model, its own within the module."""
    names = request.session.stash.setdefault(_NAMES, itertools.count(1))
    return f"llama-{next(names)}"


_NAMES: pytest.StashKey[Iterator[int]] = pytest.StashKey()


@pytest.fixture(scope="module")
def start_operator(control_plane: ControlPlane, release: Release) -> Iterator[StartOperator]:  # noqa: F811
    """Starts operators of the release that end with the module; a request they may not make is a failure."""
    since = control_plane.audit.position()
    with ExitStack() as running:

        def start(*, kubeconfig: Path | None = None, lead: bool = True, **settings: str) -> OperatorProcess:
            process = OperatorProcess(kubeconfig or release.kubeconfig(), release.settings(**settings))
            running.enter_context(process)
            _RUNNING.append(process)
            running.callback(_RUNNING.remove, process)
            if lead:
                process.wait_until_leading()
            return process

        yield start
    assert refused(control_plane, release, since) == []


_RUNNING: list[OperatorProcess] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the last lines of the operators that run."""
    report = yield
    if report.failed:
        for number, process in enumerate(_RUNNING):
            report.sections.append((f"log of operator {number}", process.log_text()[-8000:]))
    return report


def refused(plane: ControlPlane, release: Release, since: int) -> list[str]:
    """Requests of the operator that its role does not allow."""
    return [event.what for event in plane.audit.events(user=release.user, since=since) if not event.permitted]


@pytest.fixture(scope="module")
def operator(start_operator: StartOperator) -> OperatorProcess:
    """A running operator for the module's namespace."""
    return start_operator()


@pytest.fixture
def proxy(release: Release, tmp_path: Path) -> Iterator[Proxy]:
    """A wire to the API server under the release's ServiceAccount."""
    with Proxy(release.kubeconfig(), tmp_path) as running:
        yield running


@pytest.fixture
def triton() -> Iterator[TritonStandIn]:
    """A Triton of the test's own, to misbehave."""
    with TritonStandIn() as server:
        yield server
