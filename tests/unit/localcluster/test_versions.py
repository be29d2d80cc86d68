"""The Kubernetes version as one parameter."""

import pytest

from localcluster.errors import LocalClusterError
from localcluster.kubernetesmodule import kubernetes_version, render_go_mod
from localcluster.toolsets import KUBERNETES_MODULE, kubernetes, required_version

UPSTREAM = """\
module k8s.io/kubernetes

go 1.24.0

godebug default=go1.24

require (
	go.etcd.io/etcd/api/v3 v3.6.4
	k8s.io/api v0.0.0
	k8s.io/klog/v2 v2.130.1
	k8s.io/kubelet v0.0.0
	k8s.io/utils v0.0.0-20250604170112-4c0f3b243397
)
"""


def test_the_default_is_what_the_committed_module_requires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_VERSION", raising=False)
    assert kubernetes_version() == required_version(KUBERNETES_MODULE, "k8s.io/kubernetes")


def test_the_environment_overrides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_VERSION", "1.34.4")
    assert kubernetes_version() == "v1.34.4"


def test_nonsense_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_VERSION", "latest")
    with pytest.raises(LocalClusterError, match=r"KUBERNETES_VERSION must look like v1\.\d+\.\d+"):
        kubernetes_version()


def test_another_version_gets_a_module_with_every_staging_module_replaced() -> None:
    rendered = render_go_mod(UPSTREAM, "v1.34.4")
    assert "require k8s.io/kubernetes v1.34.4" in rendered
    assert "godebug default=go1.24" in rendered
    assert "\tk8s.io/api => k8s.io/api v0.34.4" in rendered
    assert "\tk8s.io/kubelet => k8s.io/kubelet v0.34.4" in rendered
    assert "k8s.io/utils" not in rendered
    assert "k8s.io/klog" not in rendered


def test_the_committed_module_is_the_rendered_one_tidied() -> None:
    committed = (KUBERNETES_MODULE / "go.mod").read_text()
    version = required_version(KUBERNETES_MODULE, "k8s.io/kubernetes")
    staged = version.replace("v1.", "v0.", 1)
    replaced = [line.split() for line in committed.splitlines() if " => " in line]
    assert replaced
    assert all(line[0] == line[2] and line[3] == staged for line in replaced)


def test_the_binary_is_told_its_version() -> None:
    variables = kubernetes(KUBERNETES_MODULE, "v1.34.4").variables
    assert variables["k8s.io/component-base/version.gitVersion"] == "v1.34.4"
    assert variables["k8s.io/component-base/version.gitMinor"] == "34"
