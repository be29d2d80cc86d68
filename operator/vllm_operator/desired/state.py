"""What a model's children should be, and which of those that exist should go. Pure and total."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.v1alpha1 import ModelIdentity
from vllm_operator.desired.deployment import deployment
from vllm_operator.desired.metadata import is_owned, metadata
from vllm_operator.desired.revision import Revision
from vllm_operator.desired.service import service
from vllm_operator.observed import fields
from vllm_operator.observed.state import Object, ObservedState


@dataclass(frozen=True, slots=True)
class DesiredState:
    """The children of one model."""

    config_map: dict[str, Any]
    service: dict[str, Any]
    deployment: dict[str, Any]

    @property
    def objects(self) -> tuple[dict[str, Any], ...]:
        """All of them in the order to apply: pods need the ConfigMap."""
        return (self.config_map, self.service, self.deployment)


def build(
    identity: ModelIdentity,
    revision: Revision,
    *,
    replicas: int,
    strategy: Mapping[str, Any] | None = None,
) -> DesiredState:
    """The children that `revision` asks for, with `replicas` pods, for now rolled by another `strategy`."""
    name = revision.name(identity.name)
    return DesiredState(
        config_map=_config_map(identity, name, revision.repository),
        service=service(identity),
        deployment=deployment(
            identity,
            replicas=replicas,
            template=revision.pod_template,
            config_map=name,
            rollout_strategy=revision.strategy if strategy is None else strategy,
            deadline_seconds=revision.progress_deadline_seconds,
        ),
    )


def _config_map(identity: ModelIdentity, name: str, files: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(identity, name),
        # Its name has the hash of its content: it is never changed, so the kubelet need not watch it.
        "immutable": True,
        "data": dict(files),
    }


def to_prune(
    identity: ModelIdentity, revision: Revision, observed: ObservedState, *, history_limit: int
) -> tuple[Object, ...]:
    """Owned ConfigMaps and ControllerRevisions that nothing needs any more.

    Needed are those of `revision`, those that a ReplicaSet (zero-scaled too) or a pod refers to, and of the
    ControllerRevisions also the newest `history_limit` others.
    """
    needed = {revision.name(identity.name), *_referred(observed.replica_sets, observed.pods)}
    if observed.deployment is not None:
        needed.update(_config_map_names(fields.value(observed.deployment, "spec", "template", "spec")))
    history = sorted(
        (
            obj
            for obj in observed.controller_revisions
            if is_owned(obj, identity) and fields.name(obj) not in needed
        ),
        key=lambda obj: fields.number(obj, "revision"),
        reverse=True,
    )
    config_maps = (
        obj for obj in observed.config_maps if is_owned(obj, identity) and fields.name(obj) not in needed
    )
    return (*config_maps, *history[history_limit:])


def _referred(replica_sets: Iterable[Object], pods: Iterable[Object]) -> set[str]:
    names: set[str] = set()
    for replica_set in replica_sets:
        names |= _config_map_names(fields.value(replica_set, "spec", "template", "spec"))
    for pod in pods:
        names |= _config_map_names(fields.value(pod, "spec"))
    return names


def _config_map_names(pod_spec: Any) -> set[str]:
    """All of them, whatever the volume is called: one too many kept does no harm."""
    return {fields.text(volume, "configMap", "name") for volume in fields.items(pod_spec, "volumes")}
