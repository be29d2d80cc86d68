"""Where each kind that the operator touches lives in the API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vllm_operator.api import meta


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of the Kubernetes API; all of ours are namespaced."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """The URL path of one object, of a namespace's collection, or of the whole cluster's."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        scope = f"/namespaces/{namespace}" if namespace else ""
        return "/".join(part for part in (root + scope, self.plural, name, subresource) if part)


VLLM_MODELS: Final = Resource(meta.API_VERSION, meta.KIND, meta.PLURAL)
DEPLOYMENTS: Final = Resource("apps/v1", "Deployment", "deployments")
REPLICA_SETS: Final = Resource("apps/v1", "ReplicaSet", "replicasets")
CONTROLLER_REVISIONS: Final = Resource("apps/v1", "ControllerRevision", "controllerrevisions")
SERVICES: Final = Resource("v1", "Service", "services")
CONFIG_MAPS: Final = Resource("v1", "ConfigMap", "configmaps")
PODS: Final = Resource("v1", "Pod", "pods")
EVENTS: Final = Resource("events.k8s.io/v1", "Event", "events")
LEASES: Final = Resource("coordination.k8s.io/v1", "Lease", "leases")

#: What is watched and listed beside the VLLMModels, all by the model label.
CHILDREN: Final = (DEPLOYMENTS, REPLICA_SETS, CONTROLLER_REVISIONS, SERVICES, CONFIG_MAPS, PODS)

BY_KIND: Final[Mapping[str, Resource]] = {
    resource.kind: resource for resource in (VLLM_MODELS, *CHILDREN, EVENTS, LEASES)
}


def resource_of(obj: Mapping[str, Any]) -> Resource:
    """The resource of a manifest."""
    return BY_KIND[obj["kind"]]


def describe(obj: Mapping[str, Any]) -> str:
    """`Deployment team-a/llama`, for messages."""
    metadata = obj["metadata"]
    return f"{obj['kind']} {metadata['namespace']}/{metadata['name']}"
