"""VLLMModels of one namespace and what belongs to them, as a test sees them."""

from collections.abc import Mapping
from typing import Any

from operatorkit.api import Api
from operatorkit.waiting import wait_for

MODEL_LABEL = "triton-vllm.dev/model"
_CHILD_KINDS = ("controllerrevisions", "configmaps", "services", "deployments")
#: Quick probes; no GPU, so that any number fits.
SPEC: dict[str, Any] = {
    "source": {"huggingFace": {"repository": "facebook/opt-125m"}},
    "gpus": {"count": 0},
    "probe": {"periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
}


class Models:
    """Creates, edits and looks at the models of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    def create(self, name: str, **spec: Any) -> dict[str, Any]:
        """A small model; keyword arguments replace parts of its spec."""
        return self.api.create(
            "vllmmodels",
            {
                "apiVersion": "triton-vllm.dev/v1alpha1",
                "kind": "VLLMModel",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {**SPEC, **spec},
            },
        )

    def edit(self, name: str, **spec: Any) -> dict[str, Any]:
        """Merge into its spec."""
        return self.api.merge("vllmmodels", self.namespace, name, {"spec": spec})

    def get(self, name: str) -> dict[str, Any]:
        """The model, which must be there."""
        found = self.api.get("vllmmodels", self.namespace, name)
        assert found is not None, f"VLLMModel {name} is gone"
        return found

    def condition(self, name: str, kind: str = "Ready") -> Mapping[str, str]:
        """A condition, empty if it is not there or of an older generation."""
        model = self.get(name)
        for condition in model.get("status", {}).get("conditions", []):
            if condition["type"] == kind:
                current = condition.get("observedGeneration") == model["metadata"]["generation"]
                return condition if current else {}
        return {}

    def wait_condition(
        self, name: str, kind: str, status: str, reason: str | None = None, *, seconds: float = 60
    ) -> Mapping[str, str]:
        """Wait until a condition of the current generation has this status and reason."""

        def look() -> Mapping[str, str] | None:
            found = self.condition(name, kind)
            fits = found.get("status") == status and reason in (None, found.get("reason"))
            return found if fits else None

        what = f"{kind} of {name} is {status}/{reason or '*'}"
        return wait_for(what, look, seconds, note=lambda: f"status: {self.get(name).get('status')}")

    def wait_serving(self, name: str, seconds: float = 60) -> None:
        """Wait until it is rolled out and answers inferences."""
        self.wait_condition(name, "Ready", "True", "Serving", seconds=seconds)

    def children(self, name: str) -> dict[str, list[dict[str, Any]]]:
        """All children by plural, by label."""
        selector = f"{MODEL_LABEL}={name}"
        return {kind: self.api.list(kind, self.namespace, labelSelector=selector) for kind in _CHILD_KINDS}

    def pods(self, name: str) -> list[dict[str, Any]]:
        """Its pods."""
        return self.api.list("pods", self.namespace, labelSelector=f"{MODEL_LABEL}={name}")
