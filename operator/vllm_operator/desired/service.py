"""The Service of a model."""

from typing import Any

from vllm_operator.api.meta import GRPC_PORT, HTTP_PORT, METRICS_PORT
from vllm_operator.api.v1alpha1 import ModelIdentity
from vllm_operator.desired.metadata import metadata, selector


def service(identity: ModelIdentity) -> dict[str, Any]:
    """A ClusterIP Service under the model's own name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(identity, identity.name),
        "spec": {
            "type": "ClusterIP",
            "selector": selector(identity.name),
            "ports": [
                _port("http", HTTP_PORT),
                _port("grpc", GRPC_PORT) | {"appProtocol": "kubernetes.io/h2c"},
                _port("metrics", METRICS_PORT),
            ],
        },
    }


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "port": number, "targetPort": name, "protocol": "TCP"}
