"""Pods: what bites. One test for each thing that did."""

from typing import Any

import pytest

from unit.builders import SETTINGS, ModelBuilder, a_model

CLAIM = {"persistentVolumeClaim": {"claimName": "weights", "path": "a/b"}}


def pod(model: ModelBuilder) -> dict[str, Any]:
    spec: dict[str, Any] = model.built().deployment["spec"]["template"]["spec"]
    return spec


def container(model: ModelBuilder) -> dict[str, Any]:
    (found,) = pod(model)["containers"]
    return dict(found)


def env(model: ModelBuilder) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in container(model)["env"]}


def volume(model: ModelBuilder, name: str) -> dict[str, Any]:
    return next(found for found in pod(model)["volumes"] if found["name"] == name)


def test_no_service_links_and_no_token() -> None:
    assert pod(a_model())["enableServiceLinks"] is False
    assert pod(a_model())["automountServiceAccountToken"] is False


def test_the_restricted_pod_security_standard_is_met() -> None:
    security, own = pod(a_model())["securityContext"], container(a_model())["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == security["runAsGroup"] == security["fsGroup"] == 1000
    assert security["fsGroupChangePolicy"] == "OnRootMismatch"
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["allowPrivilegeEscalation"] is False
    assert own["readOnlyRootFilesystem"] is True
    assert own["capabilities"] == {"drop": ["ALL"]}


def test_all_caches_are_on_the_cache_volume() -> None:
    found = env(a_model())
    for name in (
        "HOME", "HF_HOME", "VLLM_CACHE_ROOT", "VLLM_CONFIG_ROOT", "TORCHINDUCTOR_CACHE_DIR",
        "TRITON_CACHE_DIR", "XDG_CACHE_HOME", "CUDA_CACHE_PATH",
    ):  # fmt: skip
        assert found[name].startswith("/cache/"), name


def test_pod_labels_hold_nothing_that_changes() -> None:
    labels = a_model().built().deployment["spec"]["template"]["metadata"]["labels"]
    assert labels == {
        "app.kubernetes.io/name": "vllm-model",
        "app.kubernetes.io/managed-by": "vllm-operator",
        "triton-vllm.dev/model": "opt",
    }
    assert "annotations" not in a_model().built().deployment["spec"]["template"]["metadata"]


def test_the_time_budget_follows_from_one_number() -> None:
    model = a_model().with_runtime(startupTimeoutSeconds=3600, drainSeconds=120)
    probe = container(model)["startupProbe"]
    assert 3600 < probe["periodSeconds"] * probe["failureThreshold"] <= 3600 + 120
    assert model.built().deployment["spec"]["progressDeadlineSeconds"] > 3600 + 600
    assert env(model)["VLLM_ENGINE_READY_TIMEOUT_S"] == "3600"
    assert env(model)["TRITON_VLLM_STARTUP_TIMEOUT_SECONDS"] == "3600"
    assert env(model)["TRITON_VLLM_EXIT_TIMEOUT_SECONDS"] == "120"
    assert pod(model)["terminationGracePeriodSeconds"] == 10 + 120 + 15


def test_readiness_waits_for_the_backend_and_is_no_liveness() -> None:
    found = container(a_model())
    assert found["readinessProbe"]["timeoutSeconds"] >= 6
    # The same for every Triton: the entry point puts together what Triton and the backend say.
    for probe in ("startupProbe", "readinessProbe"):
        assert found[probe]["httpGet"] == {"path": "/ready", "port": "health"}
    assert {"name": "health", "containerPort": 8003, "protocol": "TCP"} in found["ports"]
    assert "health" not in [port["name"] for port in a_model().built().service["spec"]["ports"]]
    assert found["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (a_model(), "1"),
        (a_model().with_engine_args(tensor_parallel_size=2, pipeline_parallel_size=2), "4"),
        (a_model().with_gpus(4), "4"),
        (a_model().with_gpus(0), None),
    ],
    ids=["default", "product of the parallel sizes", "as given", "CPU"],
)
def test_gpus(model: ModelBuilder, count: str | None) -> None:
    assert container(model).get("resources", {}).get("limits", {}).get("nvidia.com/gpu") == count
    assert (env(model).get("NVIDIA_VISIBLE_DEVICES") == "void") is (count is None)


ANYTHING = SETTINGS.model_copy(update={"allowed_gpu_resources": ("*",)})


@pytest.mark.parametrize(
    "resource", ["amd.com/gpu", "rdma/hca", "nvidia.com.example/gpu", "example.com/nvidia.com"]
)
def test_a_pod_that_is_given_no_nvidia_gpu_sees_none_whatever_else_it_asks_for(resource: str) -> None:
    revision = a_model().with_gpus(2, resourceName=resource).accepted(ANYTHING)
    (found,) = revision.pod_template["spec"]["containers"]
    assert found["resources"]["limits"] == {resource: "2"}
    assert {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"} in found["env"]


@pytest.mark.parametrize("resource", ["nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-1g.10gb"])
def test_a_pod_that_is_given_nvidia_gpus_sees_those(resource: str) -> None:
    assert "NVIDIA_VISIBLE_DEVICES" not in env(a_model().with_gpus(1, resourceName=resource))


def test_resources_are_no_second_way_to_a_device() -> None:
    model = (
        a_model()
        .with_gpus(0)
        .with_spec(
            resources={"limits": {"nvidia.com/gpu": "1", "memory": "1Gi"}, "requests": {"rdma/hca": "1"}}
        )
    )
    assert container(model)["resources"] == {"limits": {"memory": "1Gi"}}
    assert env(model)["NVIDIA_VISIBLE_DEVICES"] == "void"


def test_the_token_is_a_reference_and_only_the_administrator_names_the_hub() -> None:
    source = {"repository": "a/b", "tokenSecretKeyRef": {"name": "hub", "key": "token"}}
    model = a_model().with_source(huggingFace=source)
    token = next(variable for variable in container(model)["env"] if variable["name"] == "HF_TOKEN")
    assert token == {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}
    assert "HF_ENDPOINT" not in env(a_model())
    revision = a_model().accepted(SETTINGS.model_copy(update={"hub_endpoint": "https://hub.example.com"}))
    variables = revision.pod_template["spec"]["containers"][0]["env"]
    assert {"name": "HF_ENDPOINT", "value": "https://hub.example.com"} in variables


def test_a_claim_is_mounted_read_only_and_its_path_is_in_model_json() -> None:
    model = a_model().with_source(**CLAIM)
    assert volume(model, "source")["persistentVolumeClaim"] == {"claimName": "weights", "readOnly": True}
    mount = next(mount for mount in container(model)["volumeMounts"] if mount["name"] == "source")
    assert mount == {"name": "source", "mountPath": "/source", "readOnly": True}
    assert '"model": "/source/a/b"' in model.built().config_map["data"]["model.json"]


def test_every_claim_that_is_only_read_is_a_read_only_volume() -> None:
    model = (
        a_model()
        .with_source(**CLAIM)
        .with_spec(
            adapters=[{"name": "x", "source": CLAIM}], cache={"persistentVolumeClaim": {"claimName": "cache"}}
        )
    )
    assert volume(model, "source")["persistentVolumeClaim"]["readOnly"] is True
    assert volume(model, "adapter-0")["persistentVolumeClaim"]["readOnly"] is True
    assert volume(model, "cache")["persistentVolumeClaim"] == {"claimName": "cache"}


def test_a_claim_that_is_the_cache_as_well_stays_writable() -> None:
    both = {"persistentVolumeClaim": {"claimName": "weights"}}
    model = a_model().with_source(**CLAIM).with_spec(cache=both)
    assert volume(model, "source")["persistentVolumeClaim"] == {"claimName": "weights"}
    mounts = {mount["name"]: mount.get("readOnly") for mount in container(model)["volumeMounts"]}
    assert (mounts["source"], mounts["cache"]) == (True, None)


def test_the_repository_is_mounted_by_items() -> None:
    model = a_model().with_spec(servedName="Big.Model", adapters=[{"name": "x", "source": CLAIM}])
    mount = next(mount for mount in container(model)["volumeMounts"] if mount["name"] == "repository")
    assert mount["mountPath"] == "/models/Big.Model"
    items = {item["key"]: item["path"] for item in volume(model, "repository")["configMap"]["items"]}
    assert items == {
        "config.pbtxt": "config.pbtxt",
        "model.json": "1/model.json",
        "multi_lora.json": "1/multi_lora.json",
    }
    assert set(items) == set(model.built().config_map["data"])


def test_the_order_of_adapters_does_not_restart() -> None:
    adapters = [{"name": name, "source": CLAIM} for name in ("b", "a")]
    first = a_model().with_spec(adapters=adapters).accepted()
    assert a_model().with_spec(adapters=adapters[::-1]).accepted().hash == first.hash


@pytest.mark.parametrize(
    ("limits", "size"), [({}, "2Gi"), ({"memory": "16Gi"}, "2Gi"), ({"memory": "1Gi"}, "1Gi")]
)
def test_shared_memory_fits_the_memory_limit(limits: dict[str, str], size: str) -> None:
    model = a_model().with_spec(resources={"limits": limits})
    assert volume(model, "shared-memory")["emptyDir"] == {"medium": "Memory", "sizeLimit": size}


def test_the_tenant_cannot_displace_the_contract() -> None:
    assert env(a_model().with_runtime(env=[{"name": "NCCL_DEBUG", "value": "INFO"}]))["NCCL_DEBUG"] == "INFO"
    names = [variable["name"] for variable in container(a_model())["env"]]
    assert len(names) == len(set(names))
