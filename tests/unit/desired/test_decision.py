"""What was accepted stays accepted: each rule that can get stricter, against a spec that runs."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from unit.builders import SETTINGS, ModelBuilder, a_model
from vllm_operator.api import v1alpha1
from vllm_operator.api.base import Rule
from vllm_operator.api.conditions import Problem, Reason
from vllm_operator.api.spec import VLLMModelSpec
from vllm_operator.desired.anchor import listing
from vllm_operator.desired.decision import Decision, decide
from vllm_operator.settings import Settings

Object = dict[str, Any]
#: Everything that a list of the administrator is about.
GENEROUS = SETTINGS.model_copy(
    update={
        "allowed_images": ("other.example.com/",),
        "allowed_env": ("MY_VARIABLE",),
        "allowed_gpu_resources": ("*",),
        "allowed_priority_classes": ("high",),
        "allowed_runtime_classes": ("kata",),
        "permitted_engine_args": ("tokenizer",),
        "vllm_versions": (),
    }
)


def serving(model: ModelBuilder, settings: Settings) -> tuple[ModelBuilder, tuple[Object, ...]]:
    """The model with its revision accepted and the status that says so."""
    decision = decide(model.object(), (), settings)
    assert decision.problems == ()
    assert decision.revision is not None
    stored = (dict(decision.controller_revision or {}),)
    status: Object = {
        "observedGeneration": model.generation,
        "updateRevision": decision.revision.name(model.name),
        "runtime": {"image": decision.revision.image},
        "revisions": listing(stored, decision.trusted, decision.controller_revision),
        "conditions": [{"type": "Ready", "status": "True", "reason": "Serving"}],
    }
    return model.with_status(status), stored


def tightened(name: str, value: Any = ()) -> Callable[[ModelBuilder], tuple[ModelBuilder, Settings]]:
    return lambda model: (model, GENEROUS.model_copy(update={name: value}))


def reported(version: str) -> Callable[[ModelBuilder], tuple[ModelBuilder, Settings]]:
    """The pods say which vLLM they run, which nobody knew before."""

    def change(model: ModelBuilder) -> tuple[ModelBuilder, Settings]:
        runtime = {**model.status["runtime"], "vllm": version}
        return model.with_status({**model.status, "runtime": runtime}), GENEROUS

    return change


CASES: Mapping[str, tuple[ModelBuilder, Callable[[ModelBuilder], tuple[ModelBuilder, Settings]]]] = {
    "pods report a vLLM without the argument": (
        a_model().with_engine_args(dp_sync_interval=8),
        reported("0.24.0"),
    ),
    "pods report a vLLM that refuses the value": (
        a_model().with_engine_args(gpu_memory_utilization=1.5),
        reported("0.32.0"),
    ),
    "the administrator says which vLLM it is": (
        a_model().with_engine_args(gpu_memory_utilization=1.5),
        tightened("vllm_versions", ("*=0.32.0",)),
    ),
    "images": (a_model().with_runtime(image="other.example.com/t:1"), tightened("allowed_images")),
    "environment": (
        a_model().with_runtime(env=[{"name": "MY_VARIABLE", "value": "x"}]),
        tightened("allowed_env"),
    ),
    "GPUs": (a_model().with_gpus(1, resourceName="rdma/hca"), tightened("allowed_gpu_resources", ("a/b",))),
    "priority classes": (
        a_model().with_spec(scheduling={"priorityClassName": "high"}),
        tightened("allowed_priority_classes"),
    ),
    "runtime classes": (
        a_model().with_spec(scheduling={"runtimeClassName": "kata"}),
        tightened("allowed_runtime_classes"),
    ),
    "claims": (
        a_model().with_source(persistentVolumeClaim={"claimName": "weights"}),
        tightened("allowed_claims", ("other",)),
    ),
    "Secrets": (
        a_model().with_runtime(imagePullSecrets=[{"name": "pull"}]),
        tightened("allowed_secrets", ("other",)),
    ),
    "images of models": (
        a_model().with_source(image={"reference": "registry.example.com/w:1"}),
        tightened("allowed_model_images", ("other",)),
    ),
    "engine arguments": (a_model().with_engine_args(tokenizer="a/b"), tightened("permitted_engine_args")),
    "a default image whose vLLM refuses the arguments": (
        a_model().with_engine_args(gpu_memory_utilization=1.5),
        lambda model: (
            model,
            GENEROUS.model_copy(
                update={
                    "runtime_image": "new.example.com/t:2",
                    "runtime_upgrade": "Automatic",
                    "vllm_versions": ("new.example.com/*=0.32.0",),
                }
            ),
        ),
    ),
}


def goes_on(decision: Decision, stored: tuple[Object, ...]) -> bool:
    return decision.problems == () and decision.controller_revision == stored[0]


@pytest.mark.parametrize("name", CASES)
def test_a_stricter_rule_is_a_warning_for_what_runs(name: str) -> None:
    model, change = CASES[name]
    running, stored = serving(model, GENEROUS)
    running, settings = change(running)
    decision = decide(running.object(), stored, settings)
    assert goes_on(decision, stored)
    assert any("would be refused if it were new: spec." in warning for warning in decision.warnings)


@pytest.mark.parametrize("name", CASES)
def test_scaling_and_probing_otherwise_are_no_edit_of_what_was_accepted(name: str) -> None:
    model, change = CASES[name]
    running, stored = serving(model, GENEROUS)
    running, settings = change(running)
    scaled = running.at_generation(2).with_replicas(3).with_probe(periodSeconds=30)
    decision = decide(scaled.object(), stored, settings)
    assert decision.problems == ()
    assert decision.revision is not None
    assert decision.revision.name(model.name) == stored[0]["metadata"]["name"]
    assert decision.revision.probe.period_seconds == 30


@pytest.mark.parametrize("name", CASES)
def test_an_edit_is_judged_by_the_rules_of_today(name: str) -> None:
    model, change = CASES[name]
    running, stored = serving(model, GENEROUS)
    running, settings = change(running)
    edited = running.at_generation(2).with_engine_args(max_model_len=128)
    decision = decide(edited.object(), stored, settings)
    assert decision.problems
    assert decision.revision is not None
    assert decision.revision.name(model.name) == stored[0]["metadata"]["name"]
    # Taken back, it is the accepted one again.
    assert goes_on(decide(running.at_generation(3).object(), stored, settings), stored)


@pytest.mark.parametrize("name", CASES)
def test_a_new_model_of_the_same_spec_is_refused(name: str) -> None:
    model, change = CASES[name]
    running, _ = serving(model, GENEROUS)
    running, settings = change(running)
    assert decide(running.named("other").object(), (), settings).problems


def test_weights_that_were_accepted_are_loaded_as_before() -> None:
    running, stored = serving(a_model(), GENEROUS.model_copy(update={"allow_pickled_weights": True}))
    decision = decide(running.object(), stored, GENEROUS)
    assert goes_on(decision, stored)
    assert decision.revision is not None
    assert "load_format" not in decision.revision.repository["model.json"]


SINCE: Mapping[str, Rule] = {
    "a rule over fields": Rule("", "must be otherwise", lambda spec: False, ".gpus.count"),
}


@pytest.mark.parametrize("name", SINCE)
def test_a_spec_that_a_newer_operator_finds_invalid_goes_on(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, stored = serving(a_model(), SETTINGS)
    monkeypatch.setattr(VLLMModelSpec, "rules", (*VLLMModelSpec.rules, SINCE[name]))
    for model in (running, running.at_generation(2).with_replicas(3)):
        decision = decide(model.object(), stored, SETTINGS)
        assert goes_on(decision, stored)
        assert "must be otherwise" in decision.warnings[0]
    edited = running.at_generation(2).with_engine_args(seed=1)
    assert decide(edited.object(), stored, SETTINGS).problems
    assert decide(a_model().object(), (), SETTINGS).problems


def test_a_spec_that_a_newer_operator_cannot_read_at_all_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    running, stored = serving(a_model(), SETTINGS)

    def strict(obj: Any) -> Any:
        raise v1alpha1.SpecInvalid((Problem(Reason.INVALID_SPEC, "spec.source: must be otherwise"),))

    monkeypatch.setattr("vllm_operator.desired.decision.parse_model", strict)
    assert goes_on(decide(running.object(), stored, SETTINGS), stored)
    refused = {**running.status, "conditions": [{"type": "Stalled", "status": "True"}]}
    for model in (running.at_generation(2), running.with_status(refused), running.with_status({})):
        assert decide(model.object(), stored, SETTINGS).problems


def test_a_change_of_a_part_that_reaches_no_pod_is_an_edit_all_the_same() -> None:
    running, stored = serving(a_model(), SETTINGS)
    edited = running.at_generation(2).with_probe(generate={}, embed={})
    decision = decide(edited.object(), stored, SETTINGS)
    assert [problem.reason for problem in decision.problems] == [Reason.INVALID_SPEC]
    assert decision.controller_revision == stored[0]
