"""Good input at the API server: nothing is pruned, only defaults are added, and all of it is explained."""

import json
import sys
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from integration.api.tables import model
from localcluster.controlplane import ControlPlane
from localcluster.errors import LocalClusterError
from operatorkit.api import Api, Refused, path
from unit.builders import SETTINGS, a_model
from unit.desired.test_goldens import MODELS
from unit.specs import SPECS
from vllm_operator.api.v1alpha1 import parse_model
from vllm_operator.desired.decision import decide

STRICT = {"dryRun": "All", "fieldValidation": "Strict"}


def stored(api: Api, spec: dict[str, Any]) -> dict[str, Any]:
    """What the server would store of a spec."""
    return api.call("POST", path("vllmmodels", "default"), model({"spec": spec}, "default"), query=STRICT)


def without_defaults(given_part: Any, stored_part: Any) -> Any:
    """The stored value, without members that were not given."""
    if isinstance(given_part, dict) and isinstance(stored_part, dict):
        return {
            key: without_defaults(given_part[key], stored_part[key])
            for key in given_part
            if key in stored_part
        }
    if isinstance(given_part, list) and isinstance(stored_part, list):
        return [without_defaults(*pair) for pair in zip(given_part, stored_part, strict=True)]
    return stored_part


def test_every_valid_spec_comes_back_as_it_was_given(api: Api) -> None:
    @given(spec=SPECS)
    @settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
    def check(spec: dict[str, Any]) -> None:
        answer = stored(api, spec)
        assert without_defaults(spec, answer["spec"]) == spec
        # What the server filled in changes no pod.
        as_given = a_model().with_spec(**spec).accepted()
        as_stored = a_model().with_spec(**answer["spec"]).accepted()
        assert as_stored.hash == as_given.hash
        assert as_stored.accepted_from == as_given.accepted_from

    check()


def test_a_new_object_has_a_status_at_once(api: Api) -> None:
    status = stored(api, {"source": {"image": {"reference": "a:1"}}})["status"]
    assert status["observedGeneration"] == -1
    (condition,) = status["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Ready", "Unknown", "Pending")


@pytest.mark.parametrize("kind", ["vllm", "vllm.spec", "vllm.status"])
def test_explain_has_no_empty_line(control_plane: ControlPlane, kind: str, api: Api) -> None:
    control_plane.kubectl("explain", kind, "--recursive")
    schema = json.loads(control_plane.kubectl("get", "--raw", "/openapi/v3/apis/triton-vllm.dev/v1alpha1"))
    root = schema["components"]["schemas"]["dev.triton-vllm.v1alpha1.VLLMModel"]["properties"]
    section = kind.partition(".")[2]
    empty = list(undescribed(root[section] if section else {"properties": root}, kind))
    assert [name for name in empty if not name.startswith("vllm.metadata")] == []


def undescribed(node: dict[str, Any], where: str) -> list[str]:
    found = []
    for name, child in (node.get("properties") or {}).items():
        if not child.get("description"):
            found.append(f"{where}.{name}")
        found += undescribed(child, f"{where}.{name}")
        found += undescribed(child.get("items") or {}, f"{where}.{name}[]")
    return found


def test_both_kinds_of_apply_give_the_same_object(
    api: Api, control_plane: ControlPlane, namespace: str
) -> None:
    specs = {}
    for name, words in (("client", ()), ("server", ("--server-side",))):
        obj = model({"object": {"metadata": {"name": name}, "spec": dict(a_model().spec)}}, namespace)
        for _ in range(2):
            control_plane.kubectl("apply", *words, "-f", "-", stdin=yaml.safe_dump(obj))
        found = api.get("vllmmodels", namespace, name)
        assert found is not None
        assert found["metadata"]["generation"] == 1
        specs[name] = found["spec"]
    assert specs["client"] == specs["server"]


def test_two_appliers_cannot_leave_two_sources(api: Api, namespace: str) -> None:
    where = path("vllmmodels", namespace, "shared")
    sources = ({"huggingFace": {"repository": "a/b"}}, {"persistentVolumeClaim": {"claimName": "c"}})
    for manager, source in zip(("first", "second"), sources, strict=True):
        obj = model({"object": {"metadata": {"name": "shared"}, "spec": {"source": source}}}, namespace)
        query = {"fieldManager": manager, "force": "true"}
        answer = api.call("PATCH", where, obj, query=query, content_type="application/apply-patch+yaml")
    assert answer["spec"]["source"] == sources[1]


def test_scale(api: Api, control_plane: ControlPlane, namespace: str) -> None:
    api.create("vllmmodels", model({"object": {"metadata": {"name": "scaled"}}}, namespace))
    control_plane.kubectl("scale", "vllm/scaled", "--replicas=3", "-n", namespace)
    found = api.get("vllmmodels", namespace, "scaled")
    assert found is not None
    assert found["spec"]["replicas"] == 3


def test_fields_by_which_models_are_selected(api: Api, control_plane: ControlPlane, namespace: str) -> None:
    spec = {"source": {"image": {"reference": "a:1"}}, "paused": True}
    api.create("vllmmodels", model({"object": {"metadata": {"name": "asleep"}, "spec": spec}}, namespace))
    found = control_plane.kubectl(
        "get", "vllm", "-n", namespace, "--field-selector", "spec.paused=true", "-o", "name"
    )
    assert found.split() == ["vllmmodel.triton-vllm.dev/asleep"]


class TestServedName:
    """The effective served name is for ever; it may be written out or left out while it stays the same."""

    @pytest.mark.parametrize(
        ("before", "after", "allowed"),
        [(None, "m", True), ("m", None, True), (None, "x", False), ("x", None, False), ("x", "y", False)],
    )
    def test_change(
        self, api: Api, namespace: str, before: str | None, after: str | None, allowed: bool
    ) -> None:
        api.delete("vllmmodels", namespace, "m")
        obj = model({}, namespace)
        obj["spec"] = {**obj["spec"], **({"servedName": before} if before else {})}
        api.create("vllmmodels", obj)
        if allowed:
            api.merge("vllmmodels", namespace, "m", {"spec": {"servedName": after}})
            return
        with pytest.raises(Refused) as caught:
            api.merge("vllmmodels", namespace, "m", {"spec": {"servedName": after}})
        assert "spec.servedName" in caught.value.body
        assert "may not be changed" in caught.value.body


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_pods_are_admitted_where_the_restricted_standard_is_enforced(
    api: Api, namespace: str, name: str
) -> None:
    for obj in MODELS[name].built().objects:
        del obj["metadata"]["ownerReferences"]
        obj["metadata"]["namespace"] = namespace
        plural = f"{obj['kind'].lower()}s"
        api.call("POST", path(plural, namespace), obj, query=STRICT)
        if obj["kind"] == "Deployment":
            template = obj["spec"]["template"]
            pod = {"metadata": {**template["metadata"], "generateName": "x-"}, "spec": template["spec"]}
            pod["spec"].pop("priorityClassName", None)
            api.call("POST", path("pods", namespace), pod, query=STRICT)


def test_unknown_fields_are_dropped_for_clients_that_do_not_ask_for_strictness(api: Api) -> None:
    obj = model({"spec": {"source": {"image": {"reference": "a:1"}}, "replicaz": 2}}, "default")
    answer = api.call("POST", path("vllmmodels", "default"), obj, query={"dryRun": "All"})
    assert "replicaz" not in answer["spec"]


def test_engine_arguments_keep_what_only_vllm_knows(api: Api) -> None:
    arguments = {
        "max_model_len": -1,
        "hf_overrides": {"a": [{"b": None}, 1.5]},
        "text": "$(reboot); `reboot`\u0000",
    }
    answer = stored(api, {"source": {"image": {"reference": "a:1"}}, "engineArgs": arguments})
    assert answer["spec"]["engineArgs"] == arguments
    assert parse_model(answer).spec.engine_args.values() == arguments  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("depth", "by"), [(50, "engineArgs"), (1000, "spec"), (9900, "spec"), (20000, "the API server")]
)
def test_deep_arguments_are_refused_by_someone(api: Api, depth: int, by: str) -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        nested: Any = 1
        for _ in range(depth):
            nested = {"a": nested}
        spec = {"source": {"image": {"reference": "a:1"}}, "engineArgs": {"hf_overrides": nested}}
        if by == "the API server":
            with pytest.raises(Refused, match="depth"):
                stored(api, spec)
            return
        allowing = SETTINGS.model_copy(update={"permitted_engine_args": ("hf_overrides",)})
        decision = decide(stored(api, spec), (), allowing)
    finally:
        sys.setrecursionlimit(limit)
    (problem,) = decision.problems
    assert problem.message.startswith({"spec": "spec: ", "engineArgs": "spec.engineArgs.hf_overrides"}[by])
    assert "nested" in problem.message


def test_columns(control_plane: ControlPlane, namespace: str, api: Api) -> None:
    api.create("vllmmodels", model({"object": {"metadata": {"name": "shown"}}}, namespace))
    narrow = control_plane.kubectl("get", "vllm", "shown", "-n", namespace).splitlines()[0].split()
    wide = (
        control_plane.kubectl("get", "vllm", "shown", "-n", namespace, "-o", "wide").splitlines()[0].split()
    )
    assert narrow == ["NAME", "READY", "REASON", "MODEL", "REPLICAS", "GPUS", "AGE"]
    assert wide == [*narrow, "IMAGE", "ENDPOINT", "REVISION"]


def test_kubectl_says_which_field(control_plane: ControlPlane) -> None:
    obj = model({"spec": {"source": {"huggingFace": {"repository": "https://x"}}}}, "default")
    with pytest.raises(LocalClusterError, match=r"spec\.source\.huggingFace\.repository: Invalid value"):
        control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(obj))
