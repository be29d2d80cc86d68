"""One full local cluster for the session: operator from the chart, two models, restricted Pod Security."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from demo.conditions import wait_for
from demo.install import ROOT, Images, install, make_namespace
from demo.kubectl import Kubectl
from demo.local import (
    OPERATOR,
    RUNTIME,
    LocalKubernetes,
    build_images,
    load_changed,
    running_cluster,
)
from e2e.models import TINY_IMAGE, Served
from localcluster.imagestore import Target

NAMESPACE: Final = "models"
GPUS: Final = 4
CLAIM: Final = "claimed"

#: Cheap ones first; the operator is removed last, beneath models that serve.
ORDER: Final = ("test_examples", "test_models", "test_hang", "test_operator")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files in an order in which they can share models."""
    items.sort(key=lambda item: ORDER.index(item.path.stem) if item.path.stem in ORDER else -1)


@pytest.fixture(scope="session")
def local() -> Iterator[LocalKubernetes]:
    """A cluster of the tests' own, gone afterwards."""
    local = running_cluster("e2e", gpus=GPUS)
    try:
        yield local
    finally:
        local.cluster.down()


@pytest.fixture(scope="session")
def kubectl(local: LocalKubernetes) -> Kubectl:
    return local.kubectl


@pytest.fixture(scope="session")
def installed(local: LocalKubernetes) -> Images:
    """The operator, installed by helm from the chart."""
    images = Images(build=local.operator_build)
    install(local.kubectl, images)
    return images


@pytest.fixture(scope="session")
def tiny(kubectl: Kubectl, installed: Images) -> Served:
    """The model that most tests share: from an OCI image, one replica, one (counted) GPU."""
    make_namespace(kubectl, NAMESPACE)
    model = Served(kubectl, "tiny", NAMESPACE)
    model.apply({"image": {"reference": TINY_IMAGE}}, gpus={"count": 1})
    return model


@pytest.fixture(scope="session")
def claimed(kubectl: Kubectl, tiny: Served, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A second model, from a PersistentVolumeClaim that holds a copy of the model's files; on CPUs."""
    fill_claim(kubectl, tmp_path_factory.mktemp("volume"))
    model = Served(kubectl, "claimed", NAMESPACE)
    model.apply({"persistentVolumeClaim": {"claimName": CLAIM, "path": "models/tiny"}}, gpus={"count": 0})
    return model


@pytest.fixture(autouse=True, scope="session")
def both_load_at_once(request: pytest.FixtureRequest) -> None:
    """Apply both models before the first test that needs one: they load side by side."""
    if any("claimed" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("claimed")


@pytest.fixture
def gpus(local: LocalKubernetes) -> Iterator[Callable[[int], None]]:
    """Set how many GPUs the node offers, until the end of the test."""
    yield local.cluster.set_gpus
    local.cluster.set_gpus(GPUS)


@pytest.fixture(scope="session")
def next_images(local: LocalKubernetes, tmp_path_factory: pytest.TempPathFactory) -> Images:
    """An operator that renders otherwise, and a default image that does not exist: nothing may pull it."""
    tree = tmp_path_factory.mktemp("next") / "tree"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", ".cache", ".device*", "tests", "__pycache__", ".*_cache"
    )
    shutil.copytree(ROOT, tree, ignore=ignored, symlinks=True)
    rendering = tree / "operator" / "vllm_operator" / "desired" / "pod.py"
    before = rendering.read_text()
    after = before.replace('"USER": "triton",', '"USER": "triton",\n        "RENDERED_BY": "next",')
    assert after != before, "the place where the rendering is changed is gone"
    rendering.write_text(after)
    target = Target(OPERATOR.name, "localhost/vllm-operator:next")
    (record,) = build_images(local.cluster.cache, [target], context=tree)
    load_changed(local.cluster, [record])
    return Images(operator=target.tag, runtime=RUNTIME.tag.replace(":dev", ":next"), build=record.digest)


def fill_claim(kubectl: Kubectl, folder: Path) -> None:
    """A volume on the node with a claim for it, filled by a pod from the model's OCI image."""
    folder.chmod(0o777)
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": CLAIM},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteMany"],
                "storageClassName": "",
                "hostPath": {"path": str(folder), "type": "Directory"},
                "claimRef": {"name": CLAIM, "namespace": NAMESPACE},
            },
        }
    )
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": CLAIM, "namespace": NAMESPACE},
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "storageClassName": "",
                "volumeName": CLAIM,
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
    )
    kubectl.apply(_copying_pod())

    def copied() -> bool:
        pod = kubectl.get("pod", "fill", NAMESPACE)
        assert pod is not None
        assert pod["status"]["phase"] != "Failed", kubectl.run("logs", "fill", "--namespace", NAMESPACE)
        return bool(pod["status"]["phase"] == "Succeeded")

    wait_for("the model's files to be copied", copied, timeout=90)
    kubectl.delete("pod", "fill", NAMESPACE)


def _copying_pod() -> dict[str, object]:
    copy = "import shutil; shutil.copytree('/from', '/to/models/tiny', copy_function=shutil.copyfile)"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "fill", "namespace": NAMESPACE},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "copy",
                    "image": OPERATOR.tag,
                    "command": ["python3", "-c", copy],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [
                        {"name": "from", "mountPath": "/from", "readOnly": True},
                        {"name": "to", "mountPath": "/to"},
                    ],
                }
            ],
            "volumes": [
                {"name": "from", "image": {"reference": TINY_IMAGE, "pullPolicy": "IfNotPresent"}},
                {"name": "to", "persistentVolumeClaim": {"claimName": CLAIM}},
            ],
        },
    }
