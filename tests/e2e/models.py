"""Models for the end-to-end tests, and what is looked at while they serve."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from demo import triton
from demo.conditions import condition, wait_for, wait_for_model
from demo.install import ROOT
from demo.kubectl import Kubectl, Manifest

TAUGHT: Final = json.loads((ROOT / "hack" / "tinymodel" / "expected.json").read_text())
#: Generous: a pod loads in about 75 s on two idle cores, and in minutes beside other work.
LOADED_WITHIN: Final = 600.0
TINY_IMAGE: Final = "localhost/tiny-model:dev"

#: The tiny model's engine settings, and what one pod of it may take: without a limit on CPU, a pod that
#: answers can keep one that loads from running for seconds (docs/operations.md, "Crowded nodes").
SPEC: Final[Mapping[str, Any]] = {
    "engineArgs": {"max_model_len": 512, "enforce_eager": True, "max_num_seqs": 16},
    "resources": {"requests": {"cpu": "300m", "memory": "2Gi"}, "limits": {"cpu": "800m", "memory": "5Gi"}},
    "sharedMemory": {"sizeLimit": "256Mi"},
    "probe": {"periodSeconds": 5},
    # Left to itself, vLLM binds each pod's worker to the same first core of the node.
    "runtime": {
        "env": [
            {"name": "VLLM_CPU_OMP_THREADS_BIND", "value": "nobind"},
            {"name": "OMP_NUM_THREADS", "value": "1"},
        ]
    },
}


@dataclass(frozen=True)
class Served:
    """One VLLMModel of a namespace, and the questions that tests ask about it."""

    kubectl: Kubectl
    name: str
    namespace: str

    @property
    def selector(self) -> str:
        return f"triton-vllm.dev/model={self.name}"

    def apply(self, source: Mapping[str, Any], **spec: Any) -> None:
        self.kubectl.apply(
            {
                "apiVersion": "triton-vllm.dev/v1alpha1",
                "kind": "VLLMModel",
                "metadata": {"name": self.name, "namespace": self.namespace},
                "spec": {**SPEC, "source": source, **spec},
            }
        )

    def patch(self, **spec: Any) -> None:
        self.kubectl.patch("vllm", self.name, self.namespace, {"spec": spec})

    def scale(self, replicas: int) -> None:
        """`kubectl scale`, through the scale subresource."""
        self.kubectl.run(
            "scale", f"vllm/{self.name}", "--namespace", self.namespace, f"--replicas={replicas}"
        )

    def wait(self, timeout: float = LOADED_WITHIN, **wanted: str | None) -> Manifest:
        return wait_for_model(self.kubectl, self.name, self.namespace, timeout=timeout, **wanted)

    def get(self) -> Manifest:
        model = self.kubectl.get("vllm", self.name, self.namespace)
        assert model is not None, f"there is no model {self.name}"
        return model

    def message(self, kind: str) -> str:
        return str(condition(self.get(), kind).get("message", ""))

    def pods(self) -> Sequence[Manifest]:
        """Pods of the model that are not ending."""
        pods = self.kubectl.list("pods", self.namespace, self.selector)
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def pod_ids(self) -> dict[str, int]:
        """UID of each pod with its container's restarts: what must not change when nothing is restarted."""
        return {
            pod["metadata"]["uid"]: sum(c["restartCount"] for c in pod["status"].get("containerStatuses", []))
            for pod in self.pods()
        }

    def wait_for_pods(self, count: int, timeout: float = 60) -> None:
        wait_for(f"{count} pods of {self.name}", lambda: len(self.all_pods()) == count, timeout=timeout)

    def all_pods(self) -> Sequence[Manifest]:
        return self.kubectl.list("pods", self.namespace, self.selector)

    def config_maps_in_use(self) -> set[str]:
        """Names of the ConfigMaps that the model's pods mount."""
        return {
            volume["configMap"]["name"]
            for pod in self.pods()
            for volume in pod["spec"]["volumes"]
            if "configMap" in volume
        }

    @property
    def address(self) -> str:
        service = self.kubectl.get("service", self.name, self.namespace)
        assert service is not None, f"there is no Service {self.name}"
        return str(service["spec"]["clusterIP"])

    def stream(self, taught: Mapping[str, str] | None = None) -> list[str]:
        """Send a prompt that the model was taught over gRPC, and check the streamed answer."""
        taught = taught or TAUGHT["prompts"][0]
        pieces = list(triton.stream(f"{self.address}:8001", self.name, taught["prompt"], max_tokens=300))
        assert "".join(pieces) == taught["continuation"]
        assert len(pieces) > 1, "the answer was not streamed"
        return pieces

    def generate(self, taught: Mapping[str, str]) -> None:
        """Send a prompt to the HTTP generate endpoint and check the answer."""
        text = triton.generate(f"{self.address}:8000", self.name, taught["prompt"], max_tokens=300)
        assert text == taught["continuation"]
