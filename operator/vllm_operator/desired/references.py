"""What a spec refers to outside itself: claims, Secrets and images with a model in them. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from vllm_operator.api.source import Source
from vllm_operator.api.spec import VLLMModelSpec


class Reference(NamedTuple):
    """A name in a spec, and where it stands."""

    path: str
    name: str


def claims(spec: VLLMModelSpec) -> Iterator[Reference]:
    """PersistentVolumeClaims that the pods mount: those of sources, and the cache's."""
    for path, source in _sources(spec):
        if claim := source.persistent_volume_claim:
            yield Reference(f"{path}.persistentVolumeClaim.claimName", claim.claim_name)
    if spec.cache and (cache := spec.cache.persistent_volume_claim):
        yield Reference("spec.cache.persistentVolumeClaim.claimName", cache.claim_name)


def secrets(spec: VLLMModelSpec) -> Iterator[Reference]:
    """Secrets that the pods read, or that their images are pulled with."""
    hub = spec.source.hugging_face
    if hub and (token := hub.token_secret_key_ref):
        yield Reference("spec.source.huggingFace.tokenSecretKeyRef.name", token.name)
    for index, secret in enumerate(spec.runtime.image_pull_secrets):
        yield Reference(f"spec.runtime.imagePullSecrets[{index}].name", secret.name)


def model_images(spec: VLLMModelSpec) -> Iterator[Reference]:
    """Images that are mounted for the files in them."""
    for path, source in _sources(spec):
        if image := source.image:
            yield Reference(f"{path}.image.reference", image.reference)


def _sources(spec: VLLMModelSpec) -> Iterator[tuple[str, Source]]:
    yield "spec.source", spec.source
    for index, adapter in enumerate(spec.adapters):
        yield f"spec.adapters[{index}].source", adapter.source
