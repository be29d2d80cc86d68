"""Pods of the chart meet the restricted Pod Security Standard, and get the settings that the values say."""

from typing import Any

import pytest

from chart.rendering import NAMESPACE, VARIANTS, Manifest, of_kind, one, pod_specs, rendered

#: Volume types that the restricted standard allows.
RESTRICTED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected",
    "secret",
}  # fmt: skip


def restricted_violations(spec: Manifest) -> list[str]:
    """What the restricted Pod Security Standard (baseline included) would say of a pod spec."""
    found = [f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    pod = spec.get("securityContext", {})
    if "sysctls" in pod:
        found.append("sysctls are set")
    for volume in spec.get("volumes", []):
        found += [
            f"volume type {kind}" for kind in volume if kind != "name" and kind not in RESTRICTED_VOLUMES
        ]
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        own = container.get("securityContext", {})
        checks = {
            "privileged": not own.get("privileged", False),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "runAsNonRoot": own.get("runAsNonRoot", pod.get("runAsNonRoot")) is True,
            "runAsUser": own.get("runAsUser", pod.get("runAsUser")) != 0,
            "seccompProfile": own.get("seccompProfile", pod.get("seccompProfile", {})).get("type")
            in {"RuntimeDefault", "Localhost"},
            "capabilities": own.get("capabilities", {}).get("drop") == ["ALL"]
            and set(own.get("capabilities", {}).get("add", [])) <= {"NET_BIND_SERVICE"},
            "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
            "procMount": own.get("procMount", "Default") == "Default",
        }
        found += [f"{container['name']}: {check}" for check, passed in checks.items() if not passed]
    return found


def settings(values: dict[str, Any] | None = None) -> dict[str, str]:
    (container,) = one(rendered(values), "Deployment")["spec"]["template"]["spec"]["containers"]
    return {e["name"].removeprefix("VLLM_OPERATOR_"): e["value"] for e in container["env"] if "value" in e}


def test_the_check_itself_sees_a_violation() -> None:
    assert restricted_violations({"containers": [{"name": "a"}]}) == [
        "a: allowPrivilegeEscalation", "a: runAsNonRoot", "a: seccompProfile", "a: capabilities",
    ]  # fmt: skip
    assert "volume type hostPath" in restricted_violations(
        {"containers": [], "volumes": [{"name": "h", "hostPath": {}}]}
    )


def test_every_pod_meets_the_restricted_standard(objects: list[Manifest]) -> None:
    specs = pod_specs(objects)
    assert set(specs) == {"Deployment/vllm-operator", "Pod/vllm-operator-test"}
    for name, spec in specs.items():
        assert restricted_violations(spec) == [], name


def test_every_container_has_a_read_only_root_and_bounds(objects: list[Manifest]) -> None:
    for spec in pod_specs(objects).values():
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert "memory" in container["resources"]["limits"]
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()


def test_only_the_operator_gets_a_token(objects: list[Manifest]) -> None:
    assert one(objects, "ServiceAccount")["automountServiceAccountToken"] is False
    specs = pod_specs(objects)
    assert specs["Deployment/vllm-operator"]["automountServiceAccountToken"] is True
    assert specs["Pod/vllm-operator-test"]["automountServiceAccountToken"] is False


def test_the_operators_environment_is_its_settings_alone(objects: list[Manifest]) -> None:
    """A Service of the same name would otherwise set variables that begin like the operator's own."""
    assert pod_specs(objects)["Deployment/vllm-operator"]["enableServiceLinks"] is False


def test_helms_test_asks_the_charts_own_service(objects: list[Manifest]) -> None:
    (container,) = pod_specs(objects)["Pod/vllm-operator-test"]["containers"]
    service = one(objects, "Service")["metadata"]["name"]
    assert container["args"][-1] == service.upper().replace("-", "_") + "_SERVICE_HOST"


def test_probes_ask_health_and_readiness() -> None:
    (container,) = one(rendered(), "Deployment")["spec"]["template"]["spec"]["containers"]
    asked = {
        probe: container[probe]["httpGet"]["path"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert asked == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert {container[probe]["httpGet"]["port"] for probe in asked} == {"http"}


def test_default_settings() -> None:
    assert settings() == {
        "NAMESPACES": "",
        "RUNTIME_IMAGE": "registry.example/triton-vllm:26.07",
        "RUNTIME_UPGRADE": "OnSpecChange",
        "ALLOWED_IMAGES": "",
        "VLLM_VERSIONS": "",
        "PERMITTED_ENGINE_ARGS": "",
        "ALLOWED_ENV": "",
        "ALLOWED_GPU_RESOURCES": "nvidia.com/gpu,nvidia.com/gpu.shared,nvidia.com/mig-*,amd.com/gpu,"
        "gpu.intel.com/i915,gpu.intel.com/xe,habana.ai/gaudi,google.com/tpu,aws.amazon.com/neuron*",
        "ALLOWED_PRIORITY_CLASSES": "",
        "ALLOWED_RUNTIME_CLASSES": "",
        "ALLOWED_CLAIMS": "",
        "ALLOWED_SECRETS": "",
        "ALLOWED_MODEL_IMAGES": "",
        "ALLOW_PICKLED_WEIGHTS": "false",
        "HUB_ENDPOINT": "",
        "WORKERS": "4",
        "RESYNC_SECONDS": "3600",
        "REQUEST_TIMEOUT_SECONDS": "10",
        "PROBE_CONCURRENCY": "16",
        "REVISION_HISTORY_LIMIT": "2",
        "LEASE_NAME": "vllm-operator",
        "LEASE_DURATION_SECONDS": "15",
        "LEASE_RENEW_DEADLINE_SECONDS": "10",
        "LEASE_RETRY_PERIOD_SECONDS": "2",
        "HTTP_PORT": "8080",
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "info",
    }


def test_the_values_that_repeat_a_default_of_the_operator_repeat_all_of_it() -> None:
    from vllm_operator.settings import GPU_RESOURCES, Settings

    assert settings()["ALLOWED_GPU_RESOURCES"] == ",".join(GPU_RESOURCES)
    # `helm upgrade --reuse-values` from a chart without the value gives an empty variable.
    nothing = settings({"policy": {"allowedGPUResources": None}})["ALLOWED_GPU_RESOURCES"]
    assert Settings(allowed_gpu_resources=nothing).allowed_gpu_resources == GPU_RESOURCES


def test_settings_follow_the_values() -> None:
    found = settings(dict(VARIANTS["everything"]))
    assert found["PERMITTED_ENGINE_ARGS"] == "trust_remote_code,tokenizer"
    assert found["VLLM_VERSIONS"] == "registry.example/own:*=0.32"
    assert found["ALLOWED_IMAGES"] == "registry.example/triton-vllm*"
    assert found["RUNTIME_UPGRADE"] == "Automatic"
    assert settings(dict(VARIANTS["namespaced"]))["NAMESPACES"] == "team-a,team-b"


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_the_operator_accepts_the_settings_that_the_chart_gives(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm_operator.settings import load

    for name, value in settings(dict(VARIANTS[variant])).items():
        monkeypatch.setenv(f"VLLM_OPERATOR_{name}", value)
    monkeypatch.setenv("VLLM_OPERATOR_POD_NAME", "pod")
    monkeypatch.setenv("VLLM_OPERATOR_LEASE_NAMESPACE", NAMESPACE)
    load()


def test_every_setting_of_the_operator_is_reachable_from_the_chart() -> None:
    from vllm_operator.settings import Settings

    fields = {name.upper() for name in Settings.model_fields}
    given = set(settings()) | {"POD_NAME", "LEASE_NAMESPACE"}
    assert given <= fields, f"the operator does not know {given - fields}"
    assert fields <= given, f"the chart does not set {fields - given}"


def test_the_operators_policy_lets_only_health_and_metrics_in() -> None:
    policy = one(rendered(), "NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    (ingress,) = policy["spec"]["ingress"]
    assert ingress["ports"] == [{"protocol": "TCP", "port": "http"}]
    ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    assert ports == {53, 443, 6443, 8001}


def test_the_models_policy_lets_clients_and_the_operator_in() -> None:
    objects = rendered({"watch": {"namespaces": ["team-a"]}, "networkPolicy": {"models": {"enabled": True}}})
    (policy,) = [o for o in of_kind(objects, "NetworkPolicy") if o["metadata"]["name"].endswith("-models")]
    assert policy["metadata"]["namespace"] == "team-a"
    clients, operator, metrics = policy["spec"]["ingress"]
    assert clients["from"] == [{"podSelector": {}}]
    assert operator["from"][0]["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": NAMESPACE
    }
    assert [p["port"] for p in operator["ports"]] == [8001]
    assert [p["port"] for p in metrics["ports"]] == [8002]
    closed = rendered(
        {
            "watch": {"namespaces": ["team-a"]},
            "networkPolicy": {"models": {"enabled": True, "egressPorts": []}},
        }
    )
    (policy,) = [o for o in of_kind(closed, "NetworkPolicy") if o["metadata"]["name"].endswith("-models")]
    assert [[p["port"] for p in rule["ports"]] for rule in policy["spec"]["egress"]] == [[53, 53]]


def test_the_models_policy_selects_what_the_operator_labels() -> None:
    from vllm_operator.api import meta

    objects = rendered({"watch": {"namespaces": ["team-a"]}, "networkPolicy": {"models": {"enabled": True}}})
    (policy,) = [o for o in of_kind(objects, "NetworkPolicy") if o["metadata"]["name"].endswith("-models")]
    labels = policy["spec"]["podSelector"]["matchLabels"]
    assert labels["app.kubernetes.io/name"] == "vllm-model"
    assert labels[meta.MANAGED_BY_LABEL] == meta.MANAGED_BY
