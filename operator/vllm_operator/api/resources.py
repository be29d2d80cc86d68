"""`gpus`, `resources`, `sharedMemory` and `cache` of a spec: what each pod is given."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from vllm_operator.api.base import (
    ATOMIC_MAP,
    Model,
    ObjectName,
    Quantity,
    Rule,
    matches,
    one_of,
    quantity,
)


class Gpus(Model):
    """GPUs of each pod."""

    count: Annotated[
        int | None,
        Field(
            ge=0,
            le=64,
            description="GPUs of each pod; 0 means CPU. Absent means the product of the parallel sizes.",
        ),
    ] = None
    resource_name: Annotated[
        str,
        Field(min_length=1, max_length=253, description="Extended resource that stands for a GPU."),
        matches(
            r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?",
            "must be an extended resource such as 'nvidia.com/gpu'",
        ),
    ] = "nvidia.com/gpu"


class ResourceAmounts(Model):
    """Amounts of compute resources."""

    cpu: Annotated[Quantity | None, Field(description="CPU cores.")] = None
    memory: Annotated[Quantity | None, Field(description="Memory; shared memory counts.")] = None
    ephemeral_storage: Annotated[
        Quantity | None,
        Field(alias="ephemeral-storage", description="Disk of the node, with a `cache` of kind emptyDir."),
    ] = None


def _within_limit(name: str) -> Rule:
    attribute, cel = name.replace("-", "_"), name.replace("-", "__dash__")

    def holds(resources: Any) -> bool:
        low = getattr(resources.requests, attribute, None)
        high = getattr(resources.limits, attribute, None)
        return low is None or high is None or quantity(low) <= quantity(high)

    return Rule(
        f"!has(self.requests) || !has(self.limits) || "
        f"!has(self.requests.{cel}) || !has(self.limits.{cel}) || "
        f"!quantity(string(self.requests.{cel})).isGreaterThan(quantity(string(self.limits.{cel})))",
        f"`requests.{name}` must not be greater than `limits.{name}`",
        holds,
    )


class Resources(Model):
    """Compute resources of each pod, GPUs apart."""

    rules: ClassVar[tuple[Rule, ...]] = tuple(map(_within_limit, ("cpu", "memory", "ephemeral-storage")))

    requests: Annotated[ResourceAmounts | None, Field(description="What the scheduler reserves.")] = None
    limits: Annotated[ResourceAmounts | None, Field(description="What the pod may not exceed.")] = None


class SharedMemory(Model):
    """The pod's /dev/shm, through which vLLM's processes talk to each other."""

    size_limit: Annotated[Quantity, Field(description="Its size; it counts as memory of the pod.")] = "2Gi"


class EmptyDirCache(Model):
    """A volume of the node that lives as long as the pod."""

    size_limit: Annotated[
        Quantity | None,
        Field(description="Its size; above it the pod is evicted. Absent means the node's disk."),
    ] = None


class ClaimCache(Model):
    """A PersistentVolumeClaim in the same namespace, mounted writable."""

    claim_name: Annotated[ObjectName, Field(description="Name of the claim.")]


class Cache(Model):
    """Where downloads and compile caches go: at most one of `emptyDir` and `persistentVolumeClaim`."""

    schema_extra: ClassVar[dict[str, Any]] = ATOMIC_MAP
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.emptyDir), has(self.persistentVolumeClaim)].exists_one(set, set)",
            "must have exactly one of `emptyDir` and `persistentVolumeClaim`",
            lambda cache: one_of(cache, ("empty_dir", "persistent_volume_claim")) == 1,
        ),
    )

    empty_dir: Annotated[
        EmptyDirCache | None, Field(description="A volume that lives as long as the pod.")
    ] = None
    persistent_volume_claim: Annotated[
        ClaimCache | None, Field(description="A claim: a large model is fetched once, not at each restart.")
    ] = None
