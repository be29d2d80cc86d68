"""The full-node profile: pods run, Services answer from this machine, nothing of it is left afterwards."""

import json
import os
import signal
import ssl
import urllib.request
from collections.abc import Iterator

import pytest

from e2e.localcluster.traces import Traces, traces
from localcluster.cluster import Cluster
from localcluster.containerd import PAUSE_IMAGE
from localcluster.errors import LocalClusterError
from localcluster.supervised import wait_until

NAME = "nodetest"
OTHER = "nodetest-other"
END_SECONDS = 30.0


@pytest.fixture
def before() -> Iterator[Traces]:
    """The machine without the clusters of these tests, before and after each test."""
    for name in (NAME, OTHER):
        Cluster(name).down()
    yield traces(NAME)
    for name in (NAME, OTHER):
        Cluster(name).down()


def pod(name: str, **container: object) -> str:
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": PAUSE_IMAGE, **container}],
    }
    metadata = {"name": name, "labels": {"app": name}}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def start_pod(cluster: Cluster, name: str, **container: object) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=pod(name, **container))
    cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def version_through_service(cluster: Cluster) -> str:
    """Ask the API server through its ClusterIP, from this machine."""
    address = cluster.kubectl("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")
    files = cluster.plane_files
    administrator = files.administrator()
    request = urllib.request.Request(f"https://{address}/version")
    request.add_header("Authorization", f"Bearer {administrator.token}")
    trust = ssl.create_default_context(cafile=str(files.authority))
    with urllib.request.urlopen(request, context=trust, timeout=10) as answer:
        version: str = json.load(answer)["gitVersion"]
    return version


def test_a_pod_runs_and_down_leaves_nothing(before: Traces) -> None:
    with Cluster(NAME).up(gpus=1) as cluster:
        start_pod(cluster, "one", resources={"limits": {"nvidia.com/gpu": 1, "memory": "32Mi"}})
        assert version_through_service(cluster) == cluster.version
        during = traces(NAME).beyond(before)
        assert {"processes", "network_namespaces", "interfaces", "routes", "groups", "files"} <= during.keys()
        assert "mounts" not in during, "mounts of the node are visible outside of it"
        assert "packet_filter" not in during, "packet filter rules of the node are in this machine's own"
    assert traces(NAME).beyond(before) == {}


def test_nothing_is_left_after_a_sigkill_of_everything(before: Traces) -> None:
    cluster = Cluster(NAME).up()
    start_pod(cluster, "one")
    everything = [cluster.supervised.pid, *cluster.supervised.inhabitants()]
    assert len(everything) >= 10
    for pid in everything:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    assert wait_until(lambda: cluster.supervised.inhabitants() == [], END_SECONDS)
    assert not cluster.running()
    cluster.down()
    assert traces(NAME).beyond(before) == {}


def test_up_beside_a_leftover_and_up_twice(before: Traces) -> None:
    cluster = Cluster(NAME).up()
    os.kill(cluster.supervised.pid, signal.SIGKILL)
    again = Cluster(NAME).up(gpus=1)
    start_pod(again, "one")
    uid = again.kubectl("get", "pod", "one", "-o", "jsonpath={.metadata.uid}")
    assert Cluster(NAME).up(gpus=2).kubectl("get", "pod", "one", "-o", "jsonpath={.metadata.uid}") == uid
    again.down()
    assert traces(NAME).beyond(before) == {}


def test_two_nodes_side_by_side_do_not_know_of_each_other(before: Traces) -> None:
    with Cluster(NAME).up() as one, Cluster(OTHER).up() as other:
        start_pod(one, "mine")
        start_pod(other, "theirs")
        assert one.kubectl("get", "pods", "-o", "name").split() == ["pod/mine"]
        assert other.kubectl("get", "pods", "-o", "name").split() == ["pod/theirs"]
        assert version_through_service(one) == version_through_service(other) == one.version
        other.down()
        assert one.kubectl("get", "pods", "-o", "name").split() == ["pod/mine"]
    assert traces(NAME).beyond(before) == {}


def test_gpus_are_counted(before: Traces) -> None:
    with Cluster(NAME).up(gpus=1) as cluster:
        gpu = {"limits": {"nvidia.com/gpu": 1}}
        start_pod(cluster, "first", resources=gpu)
        cluster.kubectl("apply", "-f", "-", stdin=pod("second", resources=gpu))
        cluster.kubectl("wait", "--for=condition=PodScheduled=False", "pod/second", "--timeout=30s")
        why = cluster.kubectl("get", "pod", "second", "-o", "jsonpath={.status.conditions[0].message}")
        assert "Insufficient nvidia.com/gpu" in why
        cluster.set_gpus(2)
        cluster.kubectl("wait", "--for=condition=Ready", "pod/second", "--timeout=60s")


def test_an_image_that_is_not_there_is_named() -> None:
    with pytest.raises(LocalClusterError, match="There is no image localhost/nothing:dev in the store"):
        Cluster(NAME).load("localhost/nothing:dev")
