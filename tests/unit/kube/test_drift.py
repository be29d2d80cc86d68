"""What counts as drift, on field records as the API server writes them."""

from copy import deepcopy
from typing import Any

import pytest

from vllm_operator.kube.drift import difference

MANAGER = "vllm-operator"
DESIRED: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "m", "namespace": "ns", "labels": {"app": "m"}},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "m"}},
        "template": {
            "metadata": {"labels": {"app": "m"}},
            "spec": {
                "enableServiceLinks": False,
                "nodeSelector": {"gpu": "a100"},
                "containers": [
                    {
                        "name": "triton",
                        "image": "i",
                        "args": ["a", "b"],
                        "ports": [{"name": "http", "containerPort": 8000}],
                        "resources": {"limits": {"cpu": "1000m", "memory": "1Gi"}},
                        "securityContext": {},
                    }
                ],
            },
        },
    },
}
OWNED = {
    "f:metadata": {"f:labels": {"f:app": {}}},
    "f:spec": {
        "f:replicas": {},
        "f:selector": {},
        "f:template": {
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {
                "f:enableServiceLinks": {},
                "f:nodeSelector": {},
                "f:containers": {
                    'k:{"name":"triton"}': {
                        ".": {},
                        "f:name": {},
                        "f:image": {},
                        "f:args": {},
                        "f:ports": {
                            'k:{"containerPort":8000,"protocol":"TCP"}': {
                                ".": {}, "f:containerPort": {}, "f:name": {}
                            }
                        },
                        "f:resources": {"f:limits": {"f:cpu": {}, "f:memory": {}}},
                        "f:securityContext": {},
                    }
                },
            },
        },
    },
}  # fmt: skip


def live(operation: str = "Apply") -> dict[str, Any]:
    """As the server gives it back: defaults, rewritten quantities, status and others' labels in it."""
    made = deepcopy(DESIRED)
    made["metadata"] |= {
        "uid": "u",
        "resourceVersion": "5",
        "labels": {"app": "m", "argocd.argoproj.io/instance": "x"},
        "managedFields": [
            {"manager": MANAGER, "operation": operation, "fieldsV1": deepcopy(OWNED)},
            {"manager": "argocd", "operation": "Apply", "fieldsV1": {}},
        ],
    }
    made["spec"]["progressDeadlineSeconds"] = 600
    container = made["spec"]["template"]["spec"]["containers"][0]
    container["ports"][0]["protocol"] = "TCP"
    container["resources"]["limits"]["cpu"] = "1"
    container["imagePullPolicy"] = "IfNotPresent"
    made["status"] = {"replicas": 1}
    return made


def _container(obj: dict[str, Any]) -> dict[str, Any]:
    return obj["spec"]["template"]["spec"]["containers"][0]


def test_what_the_server_made_of_it_is_no_drift() -> None:
    assert difference(DESIRED, live(), MANAGER) is None


def test_what_others_add_is_no_drift() -> None:
    obj = live()
    obj["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "now"}
    _container(obj)["env"] = [{"name": "INJECTED", "value": "1"}]
    obj["spec"]["template"]["spec"]["containers"].append({"name": "sidecar", "image": "s"})
    assert difference(DESIRED, obj, MANAGER) is None


@pytest.mark.parametrize(
    ("edit", "path"),
    [
        (lambda o: o["spec"].update(replicas=3), ".spec.replicas"),
        (lambda o: o["metadata"]["labels"].pop("app"), ".metadata.labels.app"),
        (lambda o: _container(o).update(image="other"), "image"),
        (lambda o: _container(o).update(args=["b", "a"]), "args"),
        (lambda o: _container(o)["resources"]["limits"].update(cpu="2"), "cpu"),
        (lambda o: _container(o)["resources"]["limits"].pop("memory"), "memory"),
        (lambda o: o["spec"]["template"]["spec"].update(enableServiceLinks=True), "enableServiceLinks"),
        (lambda o: o["spec"]["template"]["spec"]["nodeSelector"].update(zone="x"), "nodeSelector.zone"),
        (lambda o: o["spec"]["template"]["spec"].update(containers=[]), "triton"),
    ],
)
def test_an_edit_of_ours_is_drift(edit: Any, path: str) -> None:
    obj = live()
    edit(obj)
    found = difference(DESIRED, obj, MANAGER)
    assert found is not None
    assert path in found


def test_a_field_that_somebody_else_took_is_drift_though_the_value_is_right() -> None:
    obj = live()
    del obj["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:nodeSelector"]
    assert difference(DESIRED, obj, MANAGER) == ".spec.template.spec.nodeSelector"


def test_a_field_that_we_no_longer_want_is_drift() -> None:
    wanted = deepcopy(DESIRED)
    del wanted["spec"]["template"]["spec"]["nodeSelector"]
    assert difference(wanted, live(), MANAGER) == ".spec.template.spec.nodeSelector"


def test_defaults_recorded_for_a_post_are_not_surplus() -> None:
    obj = live("Update")
    obj["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:progressDeadlineSeconds"] = {}
    assert difference(DESIRED, obj, MANAGER) is None


def test_an_object_without_any_record_of_ours_is_drift() -> None:
    obj = live()
    obj["metadata"]["managedFields"] = []
    assert difference(DESIRED, obj, MANAGER) is not None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1", "1000m", True),
        ("1Gi", "1073741824", True),
        ("1.5Gi", "1536Mi", True),
        ("1e3", "1k", True),
        ("1", "1Gi", False),
        ("nonsense", "1", False),
    ],
)
def test_quantities(one: str, other: str, same: bool) -> None:
    wanted, obj = deepcopy(DESIRED), live()
    _container(wanted)["resources"]["limits"]["memory"] = one
    _container(obj)["resources"]["limits"]["memory"] = other
    assert (difference(wanted, obj, MANAGER) is None) is same


def test_a_status_alone_is_compared_alone() -> None:
    names = {"name": "m", "namespace": "ns", "uid": "u"}
    fields = {
        "f:status": {"f:replicas": {}, "f:conditions": {'k:{"type":"Ready"}': {"f:type": {}, "f:status": {}}}}
    }
    entry = {"manager": "status", "operation": "Apply", "subresource": "status", "fieldsV1": fields}
    status = {"replicas": 0, "conditions": [{"type": "Ready", "status": "True"}]}
    wanted = {"metadata": names, "status": status}
    obj = {
        "metadata": {**names, "labels": {"a": "b"}, "managedFields": [entry]},
        "spec": {},
        "status": status,
    }
    assert difference(wanted, obj, "status") is None
    gone = {"metadata": names, "status": {"replicas": 0}}
    assert difference(gone, obj, "status") == ".status.conditions"
