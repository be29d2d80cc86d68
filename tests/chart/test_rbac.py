"""What the chart lets the operator and people do, asserted right by right."""

from collections.abc import Iterable, Iterator

import pytest

from chart.rendering import NAMESPACE, Manifest, of_kind, one, rendered

Right = tuple[str, str, str]

#: Children that go with their model by garbage collection, and those that the operator prunes.
KEPT = {("", "services"), ("apps", "deployments")}
PRUNED = {("", "configmaps"), ("apps", "controllerrevisions")}


def rights(rules: Iterable[Manifest]) -> Iterator[Right]:
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield group, resource, verb


def expected_model_rights() -> set[Right]:
    wanted = {("triton-vllm.dev", "vllmmodels", verb) for verb in ("get", "list", "watch")}
    wanted |= {("triton-vllm.dev", "vllmmodels/status", "patch")}
    wanted |= {(*child, verb) for child in KEPT | PRUNED for verb in ("get", "list", "watch", "create")}
    wanted |= {(*child, "patch") for child in KEPT | {("apps", "controllerrevisions")}}
    wanted |= {(*child, "delete") for child in PRUNED}
    wanted |= {
        (group, kind, verb)
        for group, kind in (("apps", "replicasets"), ("", "pods"))
        for verb in ("list", "watch")
    }
    wanted |= {("events.k8s.io", "events", verb) for verb in ("create", "list")}
    return wanted


def test_no_role_holds_a_wildcard_or_a_dangerous_right(objects: list[Manifest]) -> None:
    for role in of_kind(objects, "Role", "ClusterRole"):
        for group, resource, verb in rights(role["rules"]):
            assert "*" not in (group, resource, verb), role["metadata"]["name"]
            assert not resource.startswith("secrets")
            assert resource not in {
                "pods/log",
                "pods/exec",
                "pods/attach",
                "pods/portforward",
                "pods/ephemeralcontainers",
            }
            assert resource != "serviceaccounts/token"
            assert group != "rbac.authorization.k8s.io"
            assert verb not in {"escalate", "bind", "impersonate"}
            assert "nonResourceURLs" not in role


def test_pods_are_only_read(objects: list[Manifest]) -> None:
    for role in of_kind(objects, "Role", "ClusterRole"):
        verbs = {verb for _, resource, verb in rights(role["rules"]) if resource.split("/")[0] == "pods"}
        assert verbs <= {"get", "list", "watch"}


def test_cluster_wide_rights_are_exactly_these() -> None:
    objects = rendered()
    role = one(objects, "ClusterRole", "vllm-operator")
    assert set(rights(role["rules"])) == expected_model_rights()
    binding = one(objects, "ClusterRoleBinding")
    assert binding["roleRef"]["name"] == "vllm-operator"
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "vllm-operator", "namespace": NAMESPACE}
    ]


def test_the_operator_does_not_write_a_models_spec(objects: list[Manifest]) -> None:
    for role in of_kind(objects, "Role", "ClusterRole"):
        if "-models-" in role["metadata"]["name"]:
            continue  # for people
        written = {
            r
            for g, r, v in rights(role["rules"])
            if g == "triton-vllm.dev" and v not in {"get", "list", "watch"}
        }
        assert written <= {"vllmmodels/status"}


def test_nobody_but_the_operator_writes_a_status(objects: list[Manifest]) -> None:
    """What the status says of revisions is trusted."""
    for role in of_kind(objects, "Role", "ClusterRole"):
        if "-models-" in role["metadata"]["name"]:
            verbs = {v for _, resource, v in rights(role["rules"]) if resource == "vllmmodels/status"}
            assert verbs <= {"get"}


def test_configmaps_are_not_changed() -> None:
    role = one(rendered(), "ClusterRole", "vllm-operator")
    assert ("", "configmaps", "patch") not in set(rights(role["rules"]))


def test_namespaced_rights_are_the_same_in_each_namespace_and_nowhere_else() -> None:
    objects = rendered({"watch": {"namespaces": ["team-a", "team-b"]}, "rbac": {"userRoles": False}})
    assert not of_kind(objects, "ClusterRole", "ClusterRoleBinding")
    for namespace in ("team-a", "team-b"):
        (role,) = [o for o in of_kind(objects, "Role") if o["metadata"]["namespace"] == namespace]
        assert set(rights(role["rules"])) == expected_model_rights()
        (binding,) = [o for o in of_kind(objects, "RoleBinding") if o["metadata"]["namespace"] == namespace]
        assert binding["subjects"][0]["namespace"] == NAMESPACE
    assert {o["metadata"]["namespace"] for o in of_kind(objects, "Role")} == {"team-a", "team-b", NAMESPACE}


def test_watching_its_own_namespace_needs_no_name_twice() -> None:
    objects = rendered({"watch": {"namespaces": [NAMESPACE]}})
    assert [o["metadata"]["name"] for o in of_kind(objects, "Role")] == [
        "vllm-operator",
        "vllm-operator-lease",
    ]


def test_only_its_own_lease_is_written() -> None:
    objects = rendered()
    role = one(objects, "Role", "vllm-operator-lease")
    assert role["metadata"]["namespace"] == NAMESPACE
    create, change = role["rules"]
    assert create == {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]}
    (container,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    name = next(e["value"] for e in container["env"] if e["name"] == "VLLM_OPERATOR_LEASE_NAME")
    assert change["resourceNames"] == [name]
    assert change["verbs"] == ["get", "update"]


@pytest.mark.parametrize(
    ("role", "audience"), [("view", {"view", "edit", "admin"}), ("edit", {"edit", "admin"})]
)
def test_people_get_their_rights_by_aggregation(role: str, audience: set[str]) -> None:
    found = one(rendered(), "ClusterRole", f"vllm-operator-models-{role}")
    labels = found["metadata"]["labels"]
    assert {
        k.removeprefix("rbac.authorization.k8s.io/aggregate-to-") for k in labels if "aggregate-to-" in k
    } == audience
    assert {group for group, _, _ in rights(found["rules"])} == {"triton-vllm.dev"}


def test_viewers_change_nothing_and_nobody_writes_a_status() -> None:
    objects = rendered()
    view = set(rights(one(objects, "ClusterRole", "vllm-operator-models-view")["rules"]))
    edit = set(rights(one(objects, "ClusterRole", "vllm-operator-models-edit")["rules"]))
    assert {verb for _, _, verb in view} == {"get", "list", "watch"}
    assert not {right for right in view | edit if right[1] == "vllmmodels/status" and right[2] != "get"}
    assert ("triton-vllm.dev", "vllmmodels/scale", "patch") in edit


def test_roles_can_be_left_to_somebody_else() -> None:
    objects = rendered({"rbac": {"create": False, "userRoles": False}})
    assert not of_kind(objects, "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
