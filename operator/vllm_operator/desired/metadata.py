"""Names, labels and owners of the children, and the canonical form in which things are hashed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from vllm_operator.api.meta import API_VERSION, KIND, MANAGED_BY, MANAGED_BY_LABEL, MODEL_LABEL
from vllm_operator.api.v1alpha1 import ModelIdentity
from vllm_operator.observed import fields

HASH_LENGTH: Final = 10


def selector(model: str) -> dict[str, str]:
    """Labels by which the Service and the Deployment find the pods of a model."""
    return {MODEL_LABEL: model}


def pod_labels(model: str) -> dict[str, str]:
    """Labels of the pods: only what never changes, since a changed label restarts every model."""
    return {"app.kubernetes.io/name": "vllm-model", MANAGED_BY_LABEL: MANAGED_BY, MODEL_LABEL: model}


def labels(model: str) -> dict[str, str]:
    """Labels of the children other than pods."""
    return {**pod_labels(model), "app.kubernetes.io/instance": model}


def metadata(identity: ModelIdentity, name: str) -> dict[str, Any]:
    """Metadata of a child; its owner reference lets Kubernetes collect it with the model."""
    return {
        "name": name,
        "namespace": identity.namespace,
        "labels": labels(identity.name),
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": identity.name,
                "uid": identity.uid,
                "controller": True,
                # Deleting the model must not wait for the child; that would need a right on finalizers.
                "blockOwnerDeletion": False,
            }
        ],
    }


def is_owned(child: Mapping[str, Any], identity: ModelIdentity) -> bool:
    """Whether the model is the child's controller."""
    owners = fields.items(child, "metadata", "ownerReferences")
    return any(owner.get("uid") == identity.uid and owner.get("controller") is True for owner in owners)


def canonical(value: Any) -> Any:
    """JSON with one form per meaning: the API server gives 1.0 back as 1."""
    if isinstance(value, Mapping):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def digest(value: Any) -> str:
    """A short hash of a JSON value, the same for every order of keys."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]
