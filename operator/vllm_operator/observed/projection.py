"""What is kept of an observed object: all that anybody here reads, and little else.

Kinds that are applied (Deployment, Service, ConfigMap, ControllerRevision) and the VLLMModel itself are kept
whole: the comparison with the desired object reads every field, and the server's record of their owners. Not
so those that carry the model's label and belong to no VLLMModel: anybody may make any number of them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from vllm_operator.api.meta import FIELD_MANAGER, KIND, MODEL_LABEL
from vllm_operator.observed.state import Object


def project(obj: Object) -> Object:
    """The part of `obj` that is kept. Whoever reads a field that is left out here adds it here."""
    projection = _PROJECTIONS.get(obj["kind"])
    return projection(obj) if projection else obj


def identity(obj: Object) -> Object:
    """As little as says which object it is and whose: of bounded size, whatever `obj` is."""
    metadata = obj["metadata"]
    kept = _only(metadata, _IDENTITY)
    label = (metadata.get("labels") or {}).get(MODEL_LABEL)
    if label is not None:
        kept["labels"] = {MODEL_LABEL: label}
    if (controller := _controller(metadata)) is not None:
        kept["ownerReferences"] = [controller]
    return {**_only(obj, ("apiVersion", "kind")), "metadata": kept}


def _applied(obj: Object) -> Object:
    """Whole where it is a model's, or was and lost its owner."""
    controller = _controller(obj["metadata"])
    if controller is not None:
        return obj if controller.get("kind") == KIND else identity(obj)
    managers = [entry.get("manager") for entry in obj["metadata"].get("managedFields") or ()]
    return obj if FIELD_MANAGER in managers else identity(obj)


def _controller(metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
    references = metadata.get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)


def _pod(pod: Object) -> Object:
    """Metadata, the whole status, and of the spec what the status is computed from."""
    spec = pod.get("spec") or {}
    containers = [
        _only(container, ("name", "image", "resources")) for container in spec.get("containers") or ()
    ]
    kept = _only(spec, ("nodeName", "readinessGates"))
    return {**_base(pod), "spec": {**kept, "containers": containers, **_volumes(spec)}}


def _replica_set(replica_set: Object) -> Object:
    """Metadata, the whole status, replicas, and of the template: labels and volumes from ConfigMaps."""
    spec = replica_set.get("spec") or {}
    template = spec.get("template") or {}
    labels = {"labels": (template.get("metadata") or {}).get("labels") or {}}
    kept = {"metadata": labels, "spec": _volumes(template.get("spec") or {})}
    return {**_base(replica_set), "spec": {**_only(spec, ("replicas",)), "template": kept}}


def _base(obj: Object) -> dict[str, Any]:
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**_only(obj, ("apiVersion", "kind", "status")), "metadata": metadata}


def _volumes(pod_spec: Object) -> dict[str, Any]:
    volumes = pod_spec.get("volumes") or ()
    return {"volumes": [_only(volume, ("name", "configMap")) for volume in volumes if "configMap" in volume]}


def _only(obj: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: obj[name] for name in names if name in obj}


_IDENTITY: Final = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp")
_PROJECTIONS: Final[Mapping[str, Callable[[Object], Object]]] = {
    "Pod": _pod,
    "ReplicaSet": _replica_set,
    "Deployment": _applied,
    "Service": _applied,
    "ConfigMap": _applied,
    "ControllerRevision": _applied,
}
