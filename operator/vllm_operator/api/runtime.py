"""`runtime`, `probe` and `rollout` of a spec: the container, how it is judged and how it is replaced."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vllm_operator.api.base import (
    INT_OR_STRING,
    Check,
    ImageReference,
    Model,
    ObjectName,
    Rule,
    map_list,
    matches,
)


class LocalObjectReference(Model):
    """A Secret in the same namespace."""

    name: Annotated[ObjectName, Field(description="Name of the Secret.")]


class EnvVar(Model):
    """An environment variable with a literal value."""

    name: Annotated[
        str,
        Field(
            min_length=1, max_length=128, description="Its name; only names on the allow-list are accepted."
        ),
        matches(
            r"[A-Za-z_][A-Za-z0-9_]*", "must consist of letters, digits and '_', and not start with a digit"
        ),
    ]
    value: Annotated[str, Field(max_length=4096, description="Its value.")] = ""


class Runtime(Model):
    """The Triton container."""

    image: Annotated[
        ImageReference | None,
        Field(
            description="Image with Triton, vLLM and the backend, from the administrator's allow-list. "
            "Absent means the administrator's default at the time of the last change that restarts the pods."
        ),
    ] = None
    image_pull_secrets: Annotated[
        tuple[LocalObjectReference, ...],
        Field(max_length=8, description="Secrets for pulling images.", json_schema_extra=map_list("name")),
    ] = ()
    env: Annotated[
        tuple[EnvVar, ...],
        Field(max_length=64, description="Environment variables.", json_schema_extra=map_list("name")),
    ] = ()
    log_level: Annotated[
        Literal["error", "warning", "info", "debug"], Field(description="How much Triton and vLLM log.")
    ] = "info"
    startup_timeout_seconds: Annotated[
        int, Field(ge=30, le=86400, description="Longest time from the container's start to a loaded model.")
    ] = 1800
    drain_seconds: Annotated[
        int,
        Field(ge=0, le=3600, description="How long requests in flight may take to finish when a pod ends."),
    ] = 30
    front_ends: Annotated[
        int,
        Field(ge=1, le=8, description="Triton instances of the model in each pod; they share one engine."),
    ] = 1


class GenerateProbe(Model):
    """A text generation that proves that the model serves."""

    prompt: Annotated[str, Field(min_length=1, max_length=1024, description="Prompt of the probe.")] = "Hello"
    max_tokens: Annotated[int, Field(ge=1, le=64, description="Tokens to generate.")] = 1
    expect_contains: Annotated[
        str | None, Field(min_length=1, max_length=256, description="Text that the answer must contain.")
    ] = None


class EmbedProbe(Model):
    """An embedding that proves that the model serves."""

    input: Annotated[str, Field(min_length=1, max_length=1024, description="Text of the probe.")] = "Hello"


class Probe(Model):
    """The inference by which the operator judges each pod. A change restarts nothing."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(has(self.generate) && has(self.embed))",
            "must not have both `generate` and `embed`",
            lambda probe: probe.generate is None or probe.embed is None,
        ),
        Rule(
            "!has(self.timeoutSeconds) || !has(self.periodSeconds) || "
            "self.timeoutSeconds <= self.periodSeconds * 4",
            "`timeoutSeconds` must not be greater than four times `periodSeconds`",
            lambda probe: probe.timeout_seconds <= 4 * probe.period_seconds,
        ),
    )

    generate: Annotated[
        GenerateProbe | None, Field(description="Probe by generating text; the default for models that can.")
    ] = None
    embed: Annotated[
        EmbedProbe | None, Field(description="Probe by an embedding; the default for pooling models.")
    ] = None
    period_seconds: Annotated[int, Field(ge=5, le=300, description="Time between two probes of a pod.")] = 15
    timeout_seconds: Annotated[int, Field(ge=5, le=300, description="Longest time to an answer.")] = 15
    failure_threshold: Annotated[
        int,
        Field(ge=1, le=10, description="Failures in a row after which a pod no longer counts as serving."),
    ] = 3


PodCount = Annotated[
    int | Annotated[str, Field(max_length=4)],
    INT_OR_STRING,
    Check(
        "string(self).matches('^([0-9]{1,4}|(100|[1-9]?[0-9])%)$')",
        "must be a number of pods or a percentage such as '25%'",
        lambda value: matches(r"([0-9]{1,4}|(100|[1-9]?[0-9])%)", "").holds(str(value)),
    ),
]


class RollingUpdate(Model):
    """How many pods a rolling update may add and take away at a time."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(string(self.maxSurge) in ['0', '0%'] && string(self.maxUnavailable) in ['0', '0%'])",
            "`maxSurge` and `maxUnavailable` must not both be zero",
            lambda update: not {str(update.max_surge), str(update.max_unavailable)} <= {"0", "0%"},
        ),
    )

    max_surge: Annotated[
        PodCount, Field(description="Pods above `replicas` while rolling; each needs its GPUs.")
    ] = 1
    max_unavailable: Annotated[PodCount, Field(description="Pods below `replicas` while rolling.")] = 0


class Rollout(Model):
    """How pods of a new revision replace the old ones."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.type == 'RollingUpdate' || !has(self.rollingUpdate)",
            "must not be set when `type` is 'Recreate'",
            lambda rollout: rollout.type == "RollingUpdate" or rollout.rolling_update is None,
            ".rollingUpdate",
        ),
    )

    type: Annotated[
        Literal["RollingUpdate", "Recreate"],
        Field(
            description="RollingUpdate starts new pods first; Recreate ends old ones first, for want of GPUs."
        ),
    ] = "RollingUpdate"
    rolling_update: Annotated[
        RollingUpdate | None,
        Field(description="Only with RollingUpdate; absent means one more pod and none fewer."),
    ] = None
