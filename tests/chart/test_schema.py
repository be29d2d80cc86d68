"""values.schema.json refuses what the chart does not know."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from chart.rendering import CHART, deep_merge, refusal, rendered

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())

#: Where any name is right: Kubernetes' own objects, and what Helm itself sets.
OPEN = {"global", "nodeAffinity", "podAffinity", "podAntiAffinity"}


def object_schemas(schema: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield name, schema
        for key, value in schema.items():
            yield from object_schemas(value, key)
    elif isinstance(schema, list):
        for value in schema:
            yield from object_schemas(value, name)


def paths(values: dict[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from paths(value, (*prefix, key))


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def test_every_object_is_closed() -> None:
    for name, schema in object_schemas(SCHEMA):
        if name not in OPEN:
            # Maps of labels have a schema for every value instead.
            assert schema.get("additionalProperties") in (False, {"type": "string"}), name


def test_the_schema_knows_exactly_the_values() -> None:
    def names(schema: dict[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        for key, value in schema.get("properties", {}).items():
            yield (*prefix, key)
            yield from names(value, (*prefix, key))

    known = set(names(SCHEMA))
    documented = set(paths(VALUES))
    assert documented <= known, documented - known
    optional = {path for path in known - documented if path[0] not in {"global", "resources", "affinity"}}
    assert not optional, f"no default and no comment in values.yaml: {optional}"


@pytest.mark.parametrize("path", [p for p in paths(VALUES) if p[0] not in {"nodeSelector"}], ids=".".join)
def test_a_typo_in_any_name_is_refused(path: tuple[str, ...]) -> None:
    typo = (*path[:-1], path[-1] + "z")
    if path[:-1] and path[:-1][-1] in {"annotations", "podLabels", "podAnnotations", "labels"}:
        pytest.fail("a map of free names has no defaults")
    assert f"'{path[-1]}z' not allowed" in refusal(nested(typo, "x"))


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": "2"},
        {"replicas": -1},
        {"image": {"pullPolicy": "Sometimes"}},
        {"image": {"repository": "Upper/Case"}},
        {"image": {"digest": "sha256:abc"}},
        {"runtime": {"upgrade": "automatic"}},
        {"runtime": {"allowedImages": ["a,b"]}},
        {"runtime": {"vllmVersions": [{"image": "x"}]}},
        {"policy": {"permittedEngineArgs": ["--trust-remote-code"]}},
        {"policy": {"allowedGPUResources": ["gpu"]}},
        {"policy": {"allowedClaims": "models"}},
        {"policy": {"allowedSecrets": ["a,b"]}},
        {"policy": {"allowedModelImages": [""]}},
        {"policy": {"allowPickledWeights": "yes"}},
        {"policy": {"hubEndpoint": "hub.example"}},
        {"watch": {"namespaces": "team-a"}},
        {"watch": {"namespaces": ["Team_A"]}},
        {"operator": {"resyncSeconds": 0}},
        {"operator": {"log": {"level": "verbose"}}},
        {"resources": {"limits": {"nvidia.com/gpu": 1}}},
        {"resources": {"limits": {"memory": "lots"}}},
        {"tolerations": [{"kye": "a"}]},
        {"networkPolicy": {"operator": {"apiServerPorts": []}}},
        {"networkPolicy": {"models": {"clientsFrom": [{"podSelecter": {}}]}}},
        {"podMonitor": {"interval": "30"}},
    ],
    ids=json.dumps,
)
def test_wrong_values_are_refused(values: dict[str, Any]) -> None:
    assert "values don't meet the specifications of the schema" in refusal(values)


def test_a_parent_chart_may_set_globals() -> None:
    assert rendered(deep_merge({}, {"global": {"anything": 1}}))
