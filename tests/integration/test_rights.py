"""The operator under the chart's own roles, cluster-wide too: it needs all they give and asks for no more."""

from collections.abc import Callable

import pytest

from integration.conftest import refused
from localcluster.controlplane import ControlPlane
from operatorkit.kubelet import Kubelet, ready
from operatorkit.models import Models
from operatorkit.plane import connect
from operatorkit.process import OperatorProcess
from operatorkit.release import Release
from operatorkit.waiting import wait_for
from tritonstandin import TritonStandIn


def test_cluster_wide_it_serves_every_namespace_within_its_role(healthy_triton: TritonStandIn) -> None:
    """On a control plane of its own: a cluster-wide operator would see the other tests' models."""
    with ControlPlane() as plane:
        api = connect(plane)
        for namespace in ("operator", "team-a", "team-b"):
            api.create("namespaces", {"metadata": {"name": namespace}})
        teams = [Models(api, "team-a"), Models(api, "team-b")]
        with Kubelet(api, ready(healthy_triton.address)):
            release = Release(plane, api, namespace="operator")
            with OperatorProcess(release.kubeconfig(), release.settings()) as operator:
                operator.wait_until_leading()
                for models in teams:
                    models.create("llama", engineArgs={"max_model_len": 64})
                    models.wait_serving("llama", seconds=60)
                # Rolls, so that it applies and prunes; crashes of a name, so that it posts an Event.
                for length in (65, 66, 67, 68):
                    teams[0].edit("llama", engineArgs={"max_model_len": length})
                    teams[0].wait_serving("llama", seconds=60)
                wait_for("the oldest are pruned", lambda: len(teams[0].children("llama")["configmaps"]) == 3)
                assert operator.terminate() == 0
        assert refused(plane, release, 0) == []
        used = {(event.verb, event.resource) for event in plane.audit.events(user=release.user)}
        assert {("create", "events"), ("delete", "configmaps"), ("patch", "deployments")} <= used
        assert not {resource for _, resource in used} & {"secrets", "namespaces", "nodes"}
        assert not [verb for verb, resource in used if resource == "pods" and verb not in ("list", "watch")]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"WORKERS": "none"}, "VLLM_OPERATOR_WORKERS"),
        ({"LEASE_RENEW_DEADLINE_SECONDS": "60"}, "retry period < renew deadline < duration"),
    ],
)
def test_wrong_settings_end_it_with_one_line(
    start_operator: Callable[..., OperatorProcess], settings: dict[str, str], says: str
) -> None:
    operator = start_operator(lead=False, **settings)
    assert operator.wait(20) != 0
    (line,) = operator.log_text().splitlines()
    assert says in line


def test_without_rights_it_ends_with_one_line(
    control_plane: ControlPlane, release: Release, namespace: str
) -> None:
    kubeconfig = control_plane.service_account_kubeconfig(namespace, "default")
    with OperatorProcess(kubeconfig, release.settings(POD_NAME="nobody")) as operator:
        assert operator.wait(20) == 1
        last = operator.log()[-1]
        assert last["event"] == "the operator ends"
        assert "403" in last["problem"]
