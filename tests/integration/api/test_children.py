"""The rendered children at the API server: taken, kept as rendered, and changed into one another."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from operatorkit.api import Api, Refused
from unit.builders import SETTINGS, ModelBuilder, a_model
from unit.desired.test_effects import CHANGES, PERMISSIVE
from unit.specs import SPECS
from vllm_operator.desired.revision import accept
from vllm_operator.desired.state import build
from vllm_operator.kube.drift import difference
from vllm_operator.settings import Settings


def children(model: ModelBuilder, namespace: str, settings: Settings = SETTINGS) -> list[dict[str, Any]]:
    """The children without pods: replicas are 0, and there is no owner."""
    revision = accept(model.parsed(), settings, current=None)
    objects = [
        *build(model.identity(), revision, replicas=0).objects,
        revision.to_object(model.identity(), 1),
    ]
    for obj in objects:
        del obj["metadata"]["ownerReferences"]
        obj["metadata"]["namespace"] = namespace
    return objects


def applied(api: Api, objects: list[dict[str, Any]]) -> None:
    """Apply twice: the second time must change nothing, and the operator must see no difference."""
    for obj in objects:
        plural = f"{obj['kind'].lower()}s"
        first = api.apply(plural, obj)
        second = api.apply(plural, obj)
        # The version of a Deployment also moves when its controller writes the status.
        mark = "generation" if "generation" in first["metadata"] else "resourceVersion"
        assert second["metadata"][mark] == first["metadata"][mark]
        assert difference(obj, second, "test") is None


@pytest.mark.parametrize("path", sorted(set(CHANGES) - {"servedName", "replicas", "paused"}))
def test_every_change_can_be_applied(api: Api, namespace: str, path: str) -> None:
    before, after = (model.named("changing") for model in CHANGES[path])
    applied(api, children(before, namespace, PERMISSIVE))
    applied(api, children(after, namespace, PERMISSIVE))
    # And back: what the change set must be gone.
    applied(api, children(before, namespace, PERMISSIVE))


def test_every_valid_spec_makes_children_that_stay_as_they_are(api: Api, namespace: str) -> None:
    @given(spec=SPECS)
    @settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
    def check(spec: dict[str, Any]) -> None:
        applied(api, children(a_model().named("any").with_spec(**spec), namespace))

    check()


def test_a_config_map_cannot_be_edited(api: Api, namespace: str) -> None:
    objects = children(a_model().named("fixed"), namespace)
    applied(api, objects)
    name = objects[0]["metadata"]["name"]
    with pytest.raises(Refused, match="immutable"):
        api.merge("configmaps", namespace, name, {"data": {"model.json": "{}"}})
