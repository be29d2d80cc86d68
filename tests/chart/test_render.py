"""The chart renders valid objects, the same ones each time."""

import re
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from chart.rendering import (
    CHART,
    CLUSTER_SCOPED,
    NAMESPACE,
    ROOT,
    VARIANTS,
    Manifest,
    of_kind,
    one,
    pod_specs,
    rendered,
    rendered_text,
    run_helm,
    template,
)

GENERATED_CRD = ROOT / "crds" / "triton-vllm.dev_vllmmodels.yaml"


def test_lint_is_strict_and_clean() -> None:
    result = run_helm("lint", "--strict", str(CHART), "--values", str(CHART / "ci" / "test-values.yaml"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "[WARNING]" not in result.stdout
    assert "[ERROR]" not in result.stdout


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_two_renders_are_the_same_byte_for_byte(variant: str) -> None:
    assert rendered_text(VARIANTS[variant]) == rendered_text(VARIANTS[variant])


def test_templates_use_nothing_that_changes_between_renders() -> None:
    for path in (CHART / "templates").rglob("*"):
        if path.is_file():
            found = re.findall(
                r"\b(lookup|now|date|rand\w+|uuidv4|genSelfSigned\w*|genCA|IsUpgrade|Revision)\b",
                path.read_text(),
            )
            assert not found, f"{path.name} uses {found}"


def test_every_object_is_valid_kubernetes(objects: list[Manifest]) -> None:
    for each in objects:
        # A PodMonitor is no part of Kubernetes; its own test is below.
        if each["kind"] != "PodMonitor":
            kubernetes_validate.validate(each, "1.37", strict=True)


def test_every_object_names_its_namespace(objects: list[Manifest]) -> None:
    for each in objects:
        assert ("namespace" in each["metadata"]) == (each["kind"] not in CLUSTER_SCOPED), each["metadata"]


def test_no_two_objects_share_a_name(objects: list[Manifest]) -> None:
    keys = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    assert len(keys) == len(set(keys))


def test_nothing_of_the_chart_looks_like_a_models_child(objects: list[Manifest]) -> None:
    """The operator finds its children by this label; it must never see the chart's objects among them."""
    for each in of_kind(objects, "Service", "Deployment"):
        assert each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_the_definition_is_the_generated_one_and_is_kept() -> None:
    crd = one(rendered(), "CustomResourceDefinition")
    assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert crd == yaml.safe_load((CHART / "files" / "crd.yaml").read_text())


def test_the_charts_definition_is_the_repositorys() -> None:
    assert GENERATED_CRD.is_file(), f"{GENERATED_CRD.name} is missing: run `make generate`"
    assert yaml.safe_load((CHART / "files" / "crd.yaml").read_text()) == yaml.safe_load(
        GENERATED_CRD.read_text()
    )


def test_the_definition_can_be_left_out_or_not_kept() -> None:
    assert not of_kind(rendered({"crds": {"enabled": False}}), "CustomResourceDefinition")
    crd = one(rendered({"crds": {"keep": False}}), "CustomResourceDefinition")
    assert "annotations" not in crd["metadata"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image": {"repository": ""}}, "image.repository must be set"),
        ({"runtime": {"image": {"repository": ""}}}, "runtime.image.repository must be set"),
        ({"runtime": {"image": {"tag": ""}}}, "runtime.image.tag or runtime.image.digest must be set"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name must be set"),
        ({"networkPolicy": {"models": {"enabled": True}}}, "networkPolicy.models.namespaces must name"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(values: dict[str, object], message: str) -> None:
    result = template(values)
    assert result.returncode != 0
    assert message in result.stderr


def test_images_can_be_pinned_by_digest() -> None:
    digest = "sha256:" + "0123456789abcdef" * 4
    objects = rendered({"image": {"digest": digest}, "runtime": {"image": {"digest": digest}}})
    deployment = one(objects, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example/vllm-operator@{digest}"
    settings = {e["name"]: e.get("value") for e in container["env"]}
    assert settings["VLLM_OPERATOR_RUNTIME_IMAGE"] == f"registry.example/triton-vllm@{digest}"


def test_no_image_is_latest(objects: list[Manifest]) -> None:
    for name, spec in pod_specs(objects).items():
        for container in spec["containers"]:
            assert not container["image"].endswith(":latest"), name
            assert ":" in container["image"].rsplit("/", 1)[-1] or "@sha256:" in container["image"], name


def test_selectors_do_not_change_with_the_chart(tmp_path: Path) -> None:
    """A Deployment's selector is immutable: a version in it would break every `helm upgrade`."""
    deployment = one(rendered(), "Deployment")
    assert deployment["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "vllm-operator",
        "app.kubernetes.io/instance": "vllm-operator",
    }


def test_services_policies_and_monitors_select_the_operators_pods(objects: list[Manifest]) -> None:
    labels = one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [one(objects, "Service")["spec"]["selector"]]
    for kind in ("PodDisruptionBudget", "PodMonitor"):
        found = [o for o in of_kind(objects, kind) if not o["metadata"]["name"].endswith("-models")]
        selectors += [o["spec"]["selector"]["matchLabels"] for o in found]
    for policy in of_kind(objects, "NetworkPolicy"):
        if not policy["metadata"]["name"].endswith("-models"):
            selectors.append(policy["spec"]["podSelector"]["matchLabels"])
    for selector in selectors:
        assert selector.items() <= labels.items()


def test_two_replicas_survive_a_drain() -> None:
    objects = rendered()
    assert one(objects, "Deployment")["spec"]["replicas"] == 2
    assert one(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert not of_kind(rendered({"replicas": 1}), "PodDisruptionBudget")


def test_pod_monitors_are_a_switch() -> None:
    assert not of_kind(rendered(), "PodMonitor")
    monitors = of_kind(rendered({"podMonitor": {"enabled": True, "labels": {"release": "p"}}}), "PodMonitor")
    assert [m["metadata"]["name"] for m in monitors] == ["vllm-operator", "vllm-operator-models"]
    assert all(m["apiVersion"] == "monitoring.coreos.com/v1" for m in monitors)
    assert all(m["metadata"]["labels"]["release"] == "p" for m in monitors)
    assert [m["spec"]["podMetricsEndpoints"][0]["port"] for m in monitors] == ["http", "metrics"]
    assert monitors[1]["spec"]["namespaceSelector"] == {"any": True}


def test_notes_tell_the_next_command() -> None:
    # `helm install --dry-run=client` prints the notes without a cluster.
    result = run_helm(
        "install", "vllm-operator", str(CHART), "--namespace", NAMESPACE, "--dry-run=client",
        "--values", str(CHART / "ci" / "test-values.yaml"),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    notes = result.stdout.split("NOTES:", 1)[1]
    assert f"helm test vllm-operator --namespace {NAMESPACE}" in notes
    assert "kubectl get vllm" in notes
    manifest = yaml.safe_load(notes.split("<<EOF\n", 1)[1].split("EOF", 1)[0])
    assert manifest["kind"] == "VLLMModel"
