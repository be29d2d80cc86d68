"""The control-plane profile: a real API server, several side by side, gone when they end."""

import json
import os
import signal
import urllib.error
from collections.abc import Iterator

import pytest

from localcluster.auditlog import service_account
from localcluster.controlplane import ControlPlane
from localcluster.errors import LocalClusterError
from localcluster.kubernetesmodule import kubernetes_version

ADMINISTRATOR = "localcluster-admin"


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as running:
        yield running


def test_it_is_the_kubernetes_that_was_asked_for(plane: ControlPlane) -> None:
    versions = json.loads(plane.kubectl("version", "-o", "json"))
    assert versions["serverVersion"]["gitVersion"] == kubernetes_version()
    assert versions["clientVersion"]["gitVersion"] == kubernetes_version()


def test_controllers_act(plane: ControlPlane) -> None:
    plane.kubectl("create", "deployment", "web", "--image=localhost/web:dev", "--replicas=2")
    plane.kubectl("wait", "--for=jsonpath={.status.replicas}=2", "deployment/web", "--timeout=30s")
    plane.kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=30s")
    assert plane.kubectl("get", "replicasets,pods", "-o", "name") == ""


def test_a_pod_that_no_node_takes_is_said_to_be_unschedulable(plane: ControlPlane) -> None:
    plane.kubectl("run", "lonely", "--image=localhost/web:dev")
    plane.kubectl("wait", "--for=condition=PodScheduled=False", "pod/lonely", "--timeout=30s")
    plane.kubectl("delete", "pod", "lonely", "--force")


def test_the_audit_log_tells_whose_write_it_was(plane: ControlPlane) -> None:
    mark = plane.audit.position()
    plane.kubectl("create", "configmap", "counted", "--from-literal=a=b")
    plane.kubectl("get", "configmaps")
    plane.kubectl("delete", "configmap", "counted")
    writes = [event.what for event in plane.audit.writes(user=ADMINISTRATOR, since=mark)]
    assert writes == ["create configmaps default/counted", "delete configmaps default/counted"]
    reads = plane.audit.events(user=ADMINISTRATOR, verbs={"list"}, resource="configmaps", since=mark)
    assert len(reads) == 1


def test_a_service_account_may_do_what_its_roles_allow_and_no_more(plane: ControlPlane) -> None:
    plane.kubectl("create", "serviceaccount", "reader")
    plane.kubectl("create", "rolebinding", "reader", "--clusterrole=view", "--serviceaccount=default:reader")
    kubeconfig = plane.service_account_kubeconfig("default", "reader")
    mark = plane.audit.position()
    assert "kube-root-ca.crt" in plane.kubectl("get", "configmaps", kubeconfig=kubeconfig)
    with pytest.raises(LocalClusterError, match="cannot create resource"):
        plane.kubectl("create", "configmap", "refused", kubeconfig=kubeconfig)
    (refused,) = plane.audit.writes(user=service_account("default", "reader"), since=mark)
    assert refused.code == 403


def test_the_api_server_can_be_stopped_killed_and_paused(plane: ControlPlane) -> None:
    administrator = plane.files.administrator()
    plane.kubectl("create", "configmap", "kept")
    for end in (plane.apiserver.stop, plane.apiserver.kill):
        end()
        assert not plane.apiserver.running
        with pytest.raises(urllib.error.URLError):
            administrator.get("/version")
        plane.apiserver.start()
    plane.apiserver.pause()
    try:
        with pytest.raises(OSError, match="timed out"):
            administrator.get("/version")
    finally:
        plane.apiserver.resume()
    plane.wait_ready()
    assert administrator.get("/api/v1/namespaces/default/configmaps/kept") is not None


def test_a_component_that_ends_unasked_is_named() -> None:
    with ControlPlane() as own:
        os.kill(own.supervised.state()["running"]["etcd"], signal.SIGKILL)
        with pytest.raises(LocalClusterError, match="etcd exited with -9"):
            own.supervised.wait("nothing", lambda: False, 30)


def test_namespaces_made_for_a_test_are_the_only_ones_removed(plane: ControlPlane) -> None:
    plane.kubectl("create", "namespace", "theirs")
    plane.make_namespace("ours", {"purpose": "test"})
    with pytest.raises(LocalClusterError, match="theirs exists and was not made by this project"):
        plane.make_namespace("theirs")
    assert plane.made_namespaces() == ["ours"]
    plane.remove_namespaces()
    assert plane.made_namespaces() == []
    assert "theirs" in plane.kubectl("get", "namespaces", "-o", "name")
