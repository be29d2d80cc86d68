"""`status` of a VLLMModel as a schema. The operator writes it as plain JSON (`status.compute`).

No field has a default: the API server would add it to what the operator wrote, which then looked changed.
"""

from typing import Annotated, Literal

from pydantic import Field

from vllm_operator.api.base import ATOMIC_LIST, Model, map_list

_Text = Annotated[str, Field(max_length=1024)]
_Count = Annotated[int, Field(ge=0, le=2_147_483_647)]


class Condition(Model):
    """One aspect of the state, as in the Kubernetes API conventions."""

    type: Annotated[
        str,
        Field(
            min_length=1,
            max_length=316,
            pattern=r"^[A-Za-z][A-Za-z0-9]*$",
            description="Ready, Available, Reconciling, Stalled, RepositoryReady, PodsReady or ModelServing.",
        ),
    ]
    status: Annotated[Literal["True", "False", "Unknown"], Field(description="Whether it holds.")]
    reason: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1024,
            pattern=r"^[A-Za-z]([A-Za-z0-9]*[A-Za-z0-9])?$",
            description="The root cause in one word; docs/reasons.md has a section for each.",
        ),
    ]
    message: Annotated[
        str, Field(max_length=32768, description="What, on which pod, and what to do about it.")
    ]
    observed_generation: Annotated[
        int | None,
        Field(ge=-1, le=9_007_199_254_740_991, description="`metadata.generation` that it is about."),
    ] = None
    last_transition_time: Annotated[
        str,
        Field(
            max_length=64,
            json_schema_extra={"format": "date-time"},
            description="When `status` of the condition last changed.",
        ),
    ]


class Endpoints(Model):
    """Addresses inside the cluster."""

    http: Annotated[
        _Text | None, Field(description="KServe v2 over HTTP, and Triton's generate extension.")
    ] = None
    grpc: Annotated[_Text | None, Field(description="KServe v2 over gRPC, as host and port.")] = None
    metrics: Annotated[_Text | None, Field(description="Metrics of Triton and vLLM.")] = None


class RuntimeStatus(Model):
    """What runs."""

    image: Annotated[_Text | None, Field(description="Image of the Triton container.")] = None
    triton: Annotated[_Text | None, Field(description="Version of Triton, as its pods report it.")] = None
    vllm: Annotated[_Text | None, Field(description="Version of vLLM, as its pods report it.")] = None


class FailingPod(Model):
    """A pod that does not serve, for a known cause."""

    name: Annotated[str, Field(max_length=253, description="Name of the pod.")]
    reason: Annotated[str, Field(max_length=1024, description="The root cause in one word.")]
    message: Annotated[str | None, Field(max_length=2048, description="What was seen of it.")] = None


class TrustedRevision(Model):
    """A ControllerRevision as the operator wrote it: only the operator may write the status."""

    name: Annotated[str, Field(max_length=253, description="Name of the ControllerRevision.")]
    sha256: Annotated[
        str,
        Field(
            max_length=64,
            pattern=r"^[0-9a-f]{64}$",
            description="Hash of its data and its settings, in hexadecimal.",
        ),
    ]


class VLLMModelStatus(Model):
    """What is true."""

    observed_generation: Annotated[
        int | None,
        Field(ge=-1, le=9_007_199_254_740_991, description="The generation evaluated, a bad one included."),
    ] = None
    replicas: Annotated[_Count | None, Field(description="Pods that exist, of any revision.")] = None
    ready_replicas: Annotated[_Count | None, Field(description="Pods that answer inferences.")] = None
    updated_replicas: Annotated[_Count | None, Field(description="Pods of the update revision.")] = None
    selector: Annotated[_Text | None, Field(description="Label selector of the pods, for autoscalers.")] = (
        None
    )
    current_revision: Annotated[
        _Text | None, Field(description="ControllerRevision that was last rolled out in full.")
    ] = None
    update_revision: Annotated[
        _Text | None, Field(description="ControllerRevision that pods are made from now.")
    ] = None
    model: Annotated[_Text | None, Field(description="The model's source in one line.")] = None
    endpoints: Annotated[Endpoints | None, Field(description="Addresses inside the cluster.")] = None
    runtime: Annotated[RuntimeStatus | None, Field(description="Image and versions that run.")] = None
    model_revisions: Annotated[
        tuple[_Text, ...],
        Field(
            max_length=10,
            description="Commits that the pods loaded; more than one if a branch moved between their starts.",
            json_schema_extra=ATOMIC_LIST,
        ),
    ] = ()
    replica_summary: Annotated[
        str | None, Field(max_length=32, description="Pods that answer inferences / pods asked for.")
    ] = None
    gpus_per_replica: Annotated[_Count | None, Field(description="GPUs of each pod.")] = None
    failing_pods: Annotated[
        tuple[FailingPod, ...],
        Field(
            max_length=10,
            description="Pods that do not serve, for a known cause; at most 10 of them.",
            json_schema_extra=map_list("name"),
        ),
    ] = ()
    serving_pods: Annotated[
        tuple[Annotated[str, Field(max_length=64)], ...],
        Field(
            max_length=4096,
            description="UIDs of the pods that were found to answer inferences. The operator reads them back "
            "after a restart; the time of the last renewal of its lease says how old they are.",
            json_schema_extra=ATOMIC_LIST,
        ),
    ] = ()
    revisions: Annotated[
        tuple[TrustedRevision, ...],
        Field(
            max_length=64,
            description="ControllerRevisions that the operator wrote; others are not used.",
            json_schema_extra=map_list("name"),
        ),
    ] = ()
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=16,
            description="Conditions; wait for Ready, and look at its reason.",
            json_schema_extra=map_list("type"),
        ),
    ] = ()
