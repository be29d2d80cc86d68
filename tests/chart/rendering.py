"""Renders the chart with the real helm and gives its objects to the tests."""

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from localcluster.binaries import helm_binary
from localcluster.cache import Cache

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "vllm-operator"
RELEASE = "vllm-operator"
NAMESPACE = "vllm-system"

#: Kinds that have no namespace.
CLUSTER_SCOPED = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}

Manifest = dict[str, Any]
Values = Mapping[str, Any]


@cache
def helm() -> str:
    """The helm binary: $HELM, or the one that hack/localcluster builds."""
    if explicit := os.environ.get("HELM"):
        return explicit
    return str(helm_binary(Cache.default()))


def run_helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs helm without the user's own repositories and plugins."""
    return subprocess.run(
        [helm(), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def deep_merge(base: Values, over: Values) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = (
            deep_merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
        )
    return merged


def required_values() -> dict[str, Any]:
    """The values without a default, as the chart's own lint uses them."""
    loaded = yaml.safe_load((CHART / "ci" / "test-values.yaml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def template(values: Values | None = None, *, namespace: str = NAMESPACE) -> subprocess.CompletedProcess[str]:
    """`helm template` with the required values and `values` on top."""
    merged = deep_merge(required_values(), values or {})
    return run_helm(
        "template", RELEASE, str(CHART), "--namespace", namespace, "--set-json", _set_json(merged)
    )


def _set_json(values: Values) -> str:
    return ",".join(f"{key}={json.dumps(value)}" for key, value in values.items())


def rendered_text(values: Values | None = None, **options: Any) -> str:
    result = template(values, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout


def rendered(values: Values | None = None, **options: Any) -> list[Manifest]:
    """All objects of one render."""
    return [doc for doc in yaml.safe_load_all(rendered_text(values, **options)) if doc]


def refusal(values: Values) -> str:
    """What helm says to values that it must refuse."""
    result = template(values)
    assert result.returncode != 0, f"helm rendered {values}"
    return result.stderr


def of_kind(objects: Iterable[Manifest], *kinds: str) -> list[Manifest]:
    return [each for each in objects if each["kind"] in kinds]


def one(objects: Iterable[Manifest], kind: str, name: str | None = None) -> Manifest:
    found = [each for each in of_kind(objects, kind) if name is None or each["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} objects of kind {kind} named {name or 'anything'}"
    return found[0]


def pod_specs(objects: Iterable[Manifest]) -> dict[str, Manifest]:
    """The pod specs of all objects that make pods, by `kind/name`."""
    specs = {}
    for each in objects:
        key = f"{each['kind']}/{each['metadata']['name']}"
        if each["kind"] == "Pod":
            specs[key] = each["spec"]
        elif "template" in each.get("spec", {}):
            specs[key] = each["spec"]["template"]["spec"]
    return specs


#: Renders that differ in what they contain; the tests that hold for every object run over all of them.
VARIANTS: dict[str, Values] = {
    "default": {},
    "namespaced": {"watch": {"namespaces": ["team-a", "team-b"]}},
    "everything": {
        "networkPolicy": {
            "operator": {"metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]},
            "models": {
                "enabled": True,
                "namespaces": ["team-a"],
                "clientsFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
                "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
            },
        },
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "podAnnotations": {"example.org/a": "b"},
        "podLabels": {"example.org/team": "ml"},
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "system", "operator": "Exists", "effect": "NoSchedule"}],
        "priorityClassName": "system-cluster-critical",
        "serviceAccount": {"annotations": {"example.org/a": "b"}},
        "affinity": {"nodeAffinity": {}},
        "policy": {
            "permittedEngineArgs": ["trust_remote_code", "tokenizer"],
            "allowedEnv": ["NCCL_DEBUG"],
            "allowedPriorityClasses": ["models"],
            "allowedRuntimeClasses": ["nvidia"],
            "hubEndpoint": "https://hub.example",
        },
        "runtime": {
            "upgrade": "Automatic",
            "allowedImages": ["registry.example/triton-vllm*"],
            "vllmVersions": [{"image": "registry.example/own:*", "version": "0.32"}],
        },
    },
    "single, without extras": {
        "replicas": 1,
        "crds": {"enabled": False},
        "rbac": {"userRoles": False},
        "networkPolicy": {"operator": {"enabled": False}},
        "podDisruptionBudget": {"enabled": False},
    },
}
