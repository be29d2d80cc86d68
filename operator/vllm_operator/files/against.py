"""What a plan is compared with: files of a directory, or the cluster of the current context."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from vllm_operator.api.meta import MODEL_LABEL
from vllm_operator.api.v1alpha1 import ModelIdentity
from vllm_operator.desired import anchor
from vllm_operator.desired.revision import Revision
from vllm_operator.files import documents, strict
from vllm_operator.settings import Settings


class Unreachable(Exception):
    """The cluster cannot be asked; the message says what was tried."""


class Existing(Protocol):
    """Where the present state of a VLLMModel comes from."""

    def find(self, namespace: str, name: str) -> tuple[Mapping[str, Any], Revision | None] | None:
        """The object and its newest revision (None where only files tell); None without an object."""


@dataclass(frozen=True, slots=True)
class Directory:
    """The state that the files of a directory ask for."""

    objects: Mapping[tuple[str, str], Mapping[str, Any]]

    @classmethod
    def read(cls, path: str, namespace: str) -> "Directory":
        """All VLLMModels below a directory, or in a file."""
        found: dict[tuple[str, str], Mapping[str, Any]] = {}
        for document in documents.read([path]):
            if strict.is_ours(document.value) and isinstance(document.value.get("metadata"), Mapping):
                metadata = document.value["metadata"]
                found[(str(metadata.get("namespace") or namespace), str(metadata.get("name")))] = (
                    document.value
                )
        return cls(found)

    def find(self, namespace: str, name: str) -> tuple[Mapping[str, Any], Revision | None] | None:
        """The object of that name; a revision only the cluster has."""
        value = self.objects.get((namespace, name))
        return (value, None) if value is not None else None


@dataclass(frozen=True, slots=True)
class Cluster:
    """The API server of the current context; only reads."""

    settings: Settings
    timeout_seconds: float = 10

    def find(self, namespace: str, name: str) -> tuple[Mapping[str, Any], Revision | None] | None:
        """The live object and the newest of its ControllerRevisions that the operator wrote."""
        return asyncio.run(self._find(namespace, name))

    async def _find(self, namespace: str, name: str) -> tuple[Mapping[str, Any], Revision | None] | None:
        from vllm_operator.kube.client import KubeClient
        from vllm_operator.kube.errors import ApiError
        from vllm_operator.kube.resources import CONTROLLER_REVISIONS, VLLM_MODELS

        try:
            client = await KubeClient.connect(timeout_seconds=self.timeout_seconds)
        except Exception as error:
            raise Unreachable(f"no cluster: {error}; set KUBECONFIG, or use --against DIR") from error
        try:
            value = await client.get(VLLM_MODELS, namespace, name)
            stored = await client.page(
                CONTROLLER_REVISIONS, namespace, label_selector=f"{MODEL_LABEL}={name}"
            )
        except ApiError as error:
            if error.not_found:
                return None
            raise Unreachable(str(error)) from None
        finally:
            await client.close()
        identity = ModelIdentity.of(value)
        return value, anchor.trusted(stored.items, identity, self.settings).revision
