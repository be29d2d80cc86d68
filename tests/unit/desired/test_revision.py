"""Revisions: what is accepted, what is kept, what is refused."""

import json
from dataclasses import replace
from typing import Any

import pytest

from unit.builders import SETTINGS, ModelBuilder, a_model
from vllm_operator.api.conditions import Reason
from vllm_operator.desired.policy import image_allowed, problems, vllm_version, warnings
from vllm_operator.desired.revision import (
    SETTINGS_ANNOTATION,
    Revision,
    RevisionUnreadable,
    SpecRejected,
    accept,
)  # fmt: skip
from vllm_operator.settings import Settings

OTHER_IMAGE = SETTINGS.model_copy(update={"runtime_image": "registry.example.com/triton:2"})
AUTOMATIC = OTHER_IMAGE.model_copy(update={"runtime_upgrade": "Automatic"})


def with_settings(**update: Any) -> Settings:
    return SETTINGS.model_copy(update=update)


def test_an_operator_upgrade_restarts_nothing() -> None:
    model, first = a_model().parsed(), a_model().accepted()
    # As if an older operator had rendered it: another template, from the same spec.
    older = replace(first, pod_template={**first.pod_template, "older": True})
    assert accept(model, OTHER_IMAGE, current=older) == older


def test_a_change_that_reaches_no_pod_keeps_the_old_rendering() -> None:
    first = a_model().accepted()
    second = accept(
        a_model().with_replicas(3).with_probe(periodSeconds=60).parsed(), OTHER_IMAGE, current=first
    )
    assert second.hash == first.hash
    assert second.image == SETTINGS.runtime_image
    assert second.probe.period_seconds == 60


def test_a_change_that_reaches_pods_takes_the_new_image_along() -> None:
    first = a_model().accepted()
    second = accept(a_model().with_engine_args(max_model_len=64).parsed(), OTHER_IMAGE, current=first)
    assert second.image == OTHER_IMAGE.runtime_image


def test_automatic_upgrades_roll_at_once() -> None:
    second = accept(a_model().parsed(), AUTOMATIC, current=a_model().accepted())
    assert second.image == AUTOMATIC.runtime_image


def test_a_field_at_its_default_is_the_same_as_an_absent_one() -> None:
    spelled_out = a_model().with_runtime(logLevel="info", drainSeconds=30, frontEnds=1)
    assert (
        accept(spelled_out.parsed(), OTHER_IMAGE, current=a_model().accepted()).hash
        == a_model().accepted().hash
    )


def test_an_image_that_was_the_default_once_needs_no_permission_to_stay() -> None:
    assert (
        accept(a_model().parsed(), OTHER_IMAGE, current=a_model().accepted()).image == SETTINGS.runtime_image
    )


def test_what_may_change_without_pods_is_in_the_annotation() -> None:
    model, revision = a_model(), a_model().accepted()
    changed = accept(model.with_probe(failureThreshold=7).parsed(), SETTINGS, current=revision)
    before, after = revision.to_object(model.identity(), 1), changed.to_object(model.identity(), 1)
    assert before["data"] == after["data"]
    assert before["metadata"]["name"] == after["metadata"]["name"]
    assert before["metadata"]["annotations"] != after["metadata"]["annotations"]


@pytest.mark.parametrize("data", [{"from": "the future"}, [], None, "text"])
def test_what_holds_no_revision_cannot_be_read(data: Any) -> None:
    model = a_model()
    stored = model.accepted().to_object(model.identity(), 1)
    with pytest.raises(RevisionUnreadable):
        Revision.from_object({**stored, "data": data})


def test_a_newer_operators_probe_settings_can_be_read() -> None:
    model = a_model()
    stored = model.accepted().to_object(model.identity(), 1)
    settings = json.loads(stored["metadata"]["annotations"][SETTINGS_ANNOTATION])
    settings["probe"]["invented_later"] = 1
    stored["metadata"]["annotations"][SETTINGS_ANNOTATION] = json.dumps(settings)
    assert Revision.from_object(stored) == model.accepted()


ENV = {"env": [{"name": "LD_PRELOAD", "value": "/x.so"}, {"name": "TRITON_VLLM_MODEL_NAME", "value": "x"}]}
REJECTED: list[tuple[str, ModelBuilder, list[tuple[Reason, str]]]] = [
    ("image", a_model().with_runtime(image="nginx"), [(Reason.IMAGE_NOT_ALLOWED, "'nginx'")]),
    (
        "environment",
        a_model().with_runtime(**ENV),
        [
            (Reason.INVALID_SPEC, "env[0].name: 'LD_PRELOAD'"),
            (Reason.INVALID_SPEC, "env[1].name: 'TRITON_VLLM_"),
        ],
    ),
    (
        "NUL",
        a_model().with_runtime(env=[{"name": "TZ", "value": "a\0b"}]),
        [(Reason.INVALID_SPEC, "env[0].value: must not contain a NUL")],
    ),
    (
        "classes",
        a_model().with_spec(scheduling={"priorityClassName": "high", "runtimeClassName": "kata"}),
        [
            (Reason.INVALID_SPEC, "priorityClassName: 'high'"),
            (Reason.INVALID_SPEC, "runtimeClassName: 'kata'"),
        ],
    ),
    (
        "typo",
        a_model().with_engine_args(tensor_paralel_size=2),
        [(Reason.INVALID_ENGINE_ARGS, "`tensor_parallel_size`")],
    ),
    (
        "code from a branch",
        a_model()
        .with_source(huggingFace={"repository": "a/b", "revision": "main"})
        .with_engine_args(trust_remote_code=True),
        [(Reason.ENGINE_ARG_NOT_PERMITTED, "trust_remote_code"), (Reason.INVALID_ENGINE_ARGS, "40")],
    ),
    (
        "no GPU",
        a_model().with_gpus(1, resourceName="rdma/hca"),
        [(Reason.INVALID_SPEC, "spec.gpus.resourceName: 'rdma/hca'")],
    ),
    (
        "too much",
        a_model().with_engine_args(override_generation_config={"a": "x" * 70000}),
        [(Reason.INVALID_ENGINE_ARGS, "65536 bytes")],
    ),
]


@pytest.mark.parametrize(("name", "model", "expected"), REJECTED, ids=[row[0] for row in REJECTED])
def test_rejected(name: str, model: ModelBuilder, expected: list[tuple[Reason, str]]) -> None:
    with pytest.raises(SpecRejected) as caught:
        model.accepted()
    found = [(problem.reason, problem.message) for problem in caught.value.problems]
    assert len(found) == len(expected), found
    for (reason, words), (found_reason, message) in zip(expected, found, strict=True):
        assert found_reason is reason
        assert words in message
    assert all(problem.stalled for problem in caught.value.problems)


def test_all_problems_come_at_once() -> None:
    model = a_model().with_runtime(image="nginx", **ENV).with_engine_args(tensor_paralel_size=2)
    with pytest.raises(SpecRejected) as caught:
        model.accepted()
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize(
    ("entry", "image", "allowed"),
    [
        ("registry.example.com", "registry.example.com/a:1", True),
        ("registry.example.com", "registry.example.com.evil.com/a:1", False),
        ("registry.example.com", "registry.example.com:5000/a", False),
        ("registry.example.com/team", "registry.example.com/team/a@sha256:1", True),
        ("registry.example.com/team", "registry.example.com/team-evil/a", False),
        ("registry.example.com/team/", "registry.example.com/team/a", True),
        ("registry.example.com/a", "registry.example.com/a:tag", True),
        ("registry.example.com/a:1", "registry.example.com/a:11", False),
        ("registry.example.com/*:26.*", "registry.example.com/a:26.08", True),
        ("registry.example.com/*:26.*", "evil.com/a:26.08", False),
    ],
)
def test_the_list_of_images(entry: str, image: str, allowed: bool) -> None:
    assert image_allowed(image, with_settings(allowed_images=(entry,))) is allowed


@pytest.mark.parametrize(
    ("listed", "resource", "allowed"),
    [
        ((), "nvidia.com/gpu", True),
        ((), "nvidia.com/mig-3g.40gb", True),
        ((), "aws.amazon.com/neuroncore", True),
        ((), "rdma/hca", False),
        ((), "nvidia.com/hostdev", False),
        ((), "smarter-devices/kvm", False),
        (("rdma/*",), "rdma/hca", True),
        (("rdma/*",), "nvidia.com/gpu", False),
    ],
)
def test_the_list_of_gpu_resources(listed: tuple[str, ...], resource: str, allowed: bool) -> None:
    settings = Settings(**SETTINGS.model_dump() | {"allowed_gpu_resources": listed})
    model = a_model().with_gpus(1, resourceName=resource).parsed()
    assert (list(problems(model, settings, image=SETTINGS.runtime_image)) == []) is allowed


CLAIM = {"persistentVolumeClaim": {"claimName": "weights"}}
WEIGHTS = {"image": {"reference": "registry.example.com/weights:1"}}
TOKEN = {"repository": "a/b", "tokenSecretKeyRef": {"name": "hub", "key": "token"}}


@pytest.mark.parametrize(
    ("setting", "model", "path", "good", "bad"),
    [
        (
            "allowed_claims",
            a_model().with_source(**CLAIM),
            "spec.source.persistentVolumeClaim.claimName",
            "weigh*",
            "w",
        ),
        (
            "allowed_claims",
            a_model().with_spec(adapters=[{"name": "x", "source": CLAIM}]),
            "spec.adapters[0].source.persistentVolumeClaim.claimName",
            "weights",
            "other",
        ),
        (
            "allowed_claims",
            a_model().with_spec(cache=CLAIM),
            "spec.cache.persistentVolumeClaim.claimName",
            "weights",
            "weight",
        ),
        (
            "allowed_secrets",
            a_model().with_source(huggingFace=TOKEN),
            "spec.source.huggingFace.tokenSecretKeyRef.name",
            "hub*",
            "h",
        ),
        (
            "allowed_secrets",
            a_model().with_runtime(imagePullSecrets=[{"name": "pull"}]),
            "spec.runtime.imagePullSecrets[0].name",
            "pull",
            "push",
        ),
        (
            "allowed_model_images",
            a_model().with_source(**WEIGHTS),
            "spec.source.image.reference",
            "registry.example.com",
            "registry.example",
        ),
        (
            "allowed_model_images",
            a_model().with_spec(adapters=[{"name": "x", "source": WEIGHTS}]),
            "spec.adapters[0].source.image.reference",
            "registry.example.com/weights",
            "registry.example.com/weight",
        ),
    ],
)
def test_the_lists_of_what_a_spec_may_refer_to(
    setting: str, model: ModelBuilder, path: str, good: str, bad: str
) -> None:
    model.accepted()  # no list: all
    model.accepted(with_settings(**{setting: ("else", good)}))
    with pytest.raises(SpecRejected) as caught:
        model.accepted(with_settings(**{setting: (bad,)}))
    (problem,) = caught.value.problems
    assert problem.message.startswith(f"{path}: '")
    # Another kind of thing is no matter of this list.
    a_model().accepted(with_settings(**{setting: (bad,)}))


def test_a_pod_without_gpus_may_name_any_resource() -> None:
    a_model().with_gpus(0, resourceName="rdma/hca").accepted()


def test_mig_slices_do_not_work_together() -> None:
    def said(model: ModelBuilder) -> list[str]:
        return list(warnings(model.parsed(), SETTINGS, image=SETTINGS.runtime_image))

    slices = a_model().with_gpus(2, resourceName="nvidia.com/mig-1g.10gb")
    (warning,) = said(slices.with_engine_args(tensor_parallel_size=2))
    assert "MIG" in warning
    assert "nvidia.com/mig-1g.10gb" in warning
    assert said(a_model().with_gpus(1, resourceName="nvidia.com/mig-1g.10gb")) == []
    assert said(a_model().with_gpus(2).with_engine_args(tensor_parallel_size=2)) == []


def test_the_vllm_version_comes_from_settings_or_from_the_pods() -> None:
    nobody = with_settings(vllm_versions=())
    model = a_model()
    assert vllm_version(model.parsed(), SETTINGS, image=SETTINGS.runtime_image) == "0.32.0"
    assert vllm_version(model.parsed(), nobody, image=SETTINGS.runtime_image) is None
    reported = model.with_status({"runtime": {"image": SETTINGS.runtime_image, "vllm": "0.31.0"}})
    assert vllm_version(reported.parsed(), nobody, image=SETTINGS.runtime_image) == "0.31.0"
    assert vllm_version(reported.parsed(), nobody, image="another") is None


def test_an_unknown_vllm_is_a_warning_and_no_refusal() -> None:
    nobody = with_settings(vllm_versions=())
    model = a_model().with_engine_args(max_model_len=64)
    model.accepted(nobody)
    (warning,) = warnings(model.parsed(), nobody, image=SETTINGS.runtime_image)
    assert "not known" in warning


def test_idle_gpus_and_a_shared_cache_are_warned_about() -> None:
    model = (
        a_model().with_gpus(2).with_replicas(2).with_spec(cache={"persistentVolumeClaim": {"claimName": "c"}})
    )
    found = list(warnings(model.parsed(), SETTINGS, image=SETTINGS.runtime_image))
    assert "1 GPU will stay idle" in found[0]
    assert "ReadWriteOnce" in found[1]


@pytest.mark.parametrize(("period", "timeout", "warned"), [(15, 15, False), (10, 5, False), (5, 20, True)])
def test_a_probe_that_may_outlast_its_period_is_warned_about(period: int, timeout: int, warned: bool) -> None:
    model = a_model().with_probe(periodSeconds=period, timeoutSeconds=timeout)
    model.accepted()
    found = list(warnings(model.parsed(), SETTINGS, image=SETTINGS.runtime_image))
    assert ["spec.probe.timeoutSeconds" in warning for warning in found] == [True] * warned
