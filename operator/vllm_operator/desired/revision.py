"""A revision: an accepted spec made into all that its pods need, and its form as a ControllerRevision.

Children are always applied from a revision, so that a bad spec, an operator upgrade or a changed default
image changes no running pod. It is the operator's only memory, and it is in the cluster.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

from vllm_operator.api.conditions import Problem
from vllm_operator.api.meta import GROUP
from vllm_operator.api.source import Source
from vllm_operator.api.spec import VLLMModelSpec
from vllm_operator.api.v1alpha1 import ModelIdentity, VLLMModel
from vllm_operator.desired import deployment, pod, policy, repository
from vllm_operator.desired.metadata import canonical, digest, metadata
from vllm_operator.settings import Settings

#: What may change without new pods. A ControllerRevision's data never changes, so these are in an annotation.
SETTINGS_ANNOTATION: Final = f"{GROUP}/settings"
#: Parts of the spec that reach no pod: a change of them alone is not a change of the revision.
NOT_IN_PODS: Final = frozenset({"replicas", "paused", "probe", "rollout"})


class SpecRejected(Exception):
    """The spec is well-formed but must not run; `problems` says all that is wrong with it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


class RevisionUnreadable(Exception):
    """A ControllerRevision does not hold a revision of ours."""


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """How pods are probed. `auto`: generate, and embed where the backend says that the model cannot."""

    kind: Literal["auto", "generate", "embed"] = "auto"
    prompt: str = "Hello"
    max_tokens: int = 1
    expect_contains: str | None = None
    input: str = "Hello"
    period_seconds: int = 15
    timeout_seconds: int = 15
    failure_threshold: int = 3


@dataclass(frozen=True, slots=True)
class Revision:
    """All that the children of a model are made from, the number of replicas apart."""

    repository: Mapping[str, str]
    pod_template: Mapping[str, Any]
    image: str
    served_name: str
    model_text: str
    """The source in one line, for a printer column."""
    gpus_per_replica: int
    gpu_resource: str
    # Not in the hash: what may change without new pods.
    strategy: Mapping[str, Any]
    progress_deadline_seconds: int
    probe: ProbeSettings
    accepted_from: str
    """Hash of the parts of the spec that reach pods."""
    hash: str = field(default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "hash", digest([self.pod_template, self.repository]))

    def name(self, model: str) -> str:
        """Name of the ControllerRevision and of the ConfigMap."""
        return f"{model}-{self.hash}"

    def to_object(self, identity: ModelIdentity, number: int) -> dict[str, Any]:
        """The revision as a ControllerRevision owned by the model."""
        settings = {key: value for key, value in asdict(self).items() if key in _SETTINGS}
        meta = metadata(identity, self.name(identity.name))
        meta["annotations"] = {SETTINGS_ANNOTATION: json.dumps(canonical(settings), sort_keys=True)}
        return {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": meta,
            "revision": number,
            "data": {key: canonical(getattr(self, key)) for key in _DATA},
        }

    @classmethod
    def from_object(cls, obj: Mapping[str, Any]) -> "Revision":
        """Read a ControllerRevision back; fields that a newer operator added are ignored."""
        try:
            annotations = obj["metadata"]["annotations"]
            data, settings = obj["data"], json.loads(annotations[SETTINGS_ANNOTATION])
            known = {key: value for key, value in settings["probe"].items() if key in _PROBE}
            return cls(
                **{key: data[key] for key in _DATA},
                **{key: settings[key] for key in _SETTINGS if key != "probe"},
                probe=ProbeSettings(**known),
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            name = obj.get("metadata", {}).get("name")
            raise RevisionUnreadable(f"ControllerRevision {name} holds no revision: {error!r}") from error


_DATA: Final = (
    "repository", "pod_template", "image", "served_name", "model_text", "gpus_per_replica", "gpu_resource"
)  # fmt: skip
_SETTINGS: Final = ("strategy", "progress_deadline_seconds", "probe", "accepted_from")
_PROBE: Final = frozenset(ProbeSettings.__dataclass_fields__)


def accept(model: VLLMModel, settings: Settings, *, current: Revision | None) -> Revision:
    """The revision that `model` asks for; SpecRejected with all problems if it must not become one.

    `current` is the newest revision that can be trusted. Where nothing that reaches a pod has changed in the
    spec, its pods are kept as they were rendered, unless the administrator wants new renderings at once.
    The rules are for new revisions: what was accepted once is never refused later (`outgrown` tells).
    """
    spec, fingerprint = model.spec, accepted_from(model.spec)
    earlier = current if _came_from(current, fingerprint) else None
    kept = earlier if settings.runtime_upgrade == "OnSpecChange" else None
    image = spec.runtime.image or settings.runtime_image
    if kept is None and (problems := tuple(policy.problems(model, settings, image=image))):
        if earlier is None:
            raise SpecRejected(problems)
        kept = earlier
    changeable: dict[str, Any] = {
        "strategy": deployment.strategy(spec.rollout),
        "progress_deadline_seconds": deployment.progress_deadline_seconds(
            spec.runtime.startup_timeout_seconds
        ),
        "probe": probe_settings(spec),
        "accepted_from": fingerprint,
    }
    if kept:
        return replace(kept, **changeable)
    return Revision(
        repository=repository.render(spec, model.served_name, pickled_weights=settings.allow_pickled_weights),
        pod_template=pod.template(
            spec,
            model=model.name,
            served_name=model.served_name,
            image=image,
            hub_endpoint=settings.hub_endpoint,
        ),
        image=image,
        served_name=model.served_name,
        model_text=source_text(spec.source),
        gpus_per_replica=pod.gpu_count(spec),
        gpu_resource=pod.gpu_resource(spec),
        **changeable,
    )


def outgrown(model: VLLMModel, settings: Settings, revision: Revision) -> tuple[Problem, ...]:
    """What today's rules would refuse of the accepted `revision` if it were new."""
    image = revision.image
    if settings.runtime_upgrade == "Automatic":
        image = model.spec.runtime.image or settings.runtime_image
    return tuple(policy.problems(model, settings, image=image))


def _came_from(current: Revision | None, fingerprint: str) -> bool:
    return current is not None and current.accepted_from == fingerprint


def accepted_from(spec: VLLMModelSpec) -> str:
    """Hash of what reaches pods. Defaults are left out, so that a field added to the CRD changes no hash."""
    fields = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=set(NOT_IN_PODS))
    return digest(fields)


def probe_settings(spec: VLLMModelSpec) -> ProbeSettings:
    """The probe as the prober needs it; its kind follows what the model is made to do."""
    probe = spec.probe
    common: dict[str, Any] = {
        "period_seconds": probe.period_seconds,
        "timeout_seconds": probe.timeout_seconds,
        "failure_threshold": probe.failure_threshold,
    }
    if probe.embed:
        return ProbeSettings(kind="embed", input=probe.embed.input, **common)
    if probe.generate:
        generate = probe.generate
        return ProbeSettings(
            kind="generate",
            prompt=generate.prompt,
            max_tokens=generate.max_tokens,
            expect_contains=generate.expect_contains,
            **common,
        )
    pooling = spec.engine_args is not None and spec.engine_args.runner == "pooling"
    return ProbeSettings(kind="embed" if pooling else "auto", **common)


def source_text(source: Source) -> str:
    """The source in one line."""
    if source.hugging_face:
        return source.hugging_face.repository
    if source.image:
        return source.image.reference
    claim = source.persistent_volume_claim
    return f"pvc://{claim.claim_name}/{claim.path or ''}" if claim else ""
