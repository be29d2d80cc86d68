"""CLUSTER=current: the user's own context, named by the user, and nothing touched but our namespaces."""

from collections.abc import Iterator

import pytest

from localcluster.controlplane import ControlPlane
from localcluster.current import CurrentCluster, selected_cluster
from localcluster.errors import LocalClusterError


@pytest.fixture(scope="module")
def theirs() -> Iterator[ControlPlane]:
    """A cluster that stands for the user's own."""
    with ControlPlane() as plane:
        yield plane


@pytest.fixture
def asked(theirs: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("CLUSTER", "current")
    monkeypatch.setenv("KUBECONFIG", str(theirs.kubeconfig))
    monkeypatch.delenv("CONFIRM_CONTEXT", raising=False)
    return monkeypatch


@pytest.mark.parametrize("confirmed", ["", "another-context"])
def test_the_context_has_to_be_named(theirs: ControlPlane, asked: pytest.MonkeyPatch, confirmed: str) -> None:
    asked.setenv("CONFIRM_CONTEXT", confirmed)
    with pytest.raises(LocalClusterError, match=f"say CONFIRM_CONTEXT={theirs.name} if that is the cluster"):
        selected_cluster()


def test_only_namespaces_that_it_made_are_removed(theirs: ControlPlane, asked: pytest.MonkeyPatch) -> None:
    asked.setenv("CONFIRM_CONTEXT", theirs.name)
    cluster = selected_cluster()
    assert isinstance(cluster, CurrentCluster)
    theirs.kubectl("create", "namespace", "production")
    cluster.make_namespace("trial")
    cluster.down()
    namespaces = theirs.kubectl("get", "namespaces", "-o", "name").split()
    assert "namespace/production" in namespaces
    assert "namespace/trial" not in namespaces


def test_another_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER", "mine")
    with pytest.raises(LocalClusterError, match="CLUSTER is local or current, and is mine"):
        selected_cluster()
