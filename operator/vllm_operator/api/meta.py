"""Names that the resource, its children and its clients share."""

from typing import Final

GROUP: Final = "triton-vllm.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "VLLMModel"
PLURAL: Final = "vllmmodels"
SINGULAR: Final = "vllmmodel"
SHORT_NAME: Final = "vllm"
CATEGORY: Final = "ai"

#: Server-side apply field managers: one for the children, one for the status.
FIELD_MANAGER: Final = "vllm-operator"
STATUS_FIELD_MANAGER: Final = "vllm-operator-status"

MODEL_LABEL: Final = f"{GROUP}/model"
REVISION_LABEL: Final = f"{GROUP}/revision"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "vllm-operator"
OWNED_SELECTOR: Final = f"{MANAGED_BY_LABEL}={MANAGED_BY}"

#: Ports of Triton in every model pod.
HTTP_PORT: Final = 8000
GRPC_PORT: Final = 8001
METRICS_PORT: Final = 8002
#: The entry point's own, for the kubelet: not in the Service.
HEALTH_PORT: Final = 8003

DOCS_REASONS: Final = "docs/reasons.md"
