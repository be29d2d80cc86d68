"""Environment variables against the vLLM that would read them."""

from collections.abc import Mapping
from typing import Final

from vllm_operator.engineargs import schema
from vllm_operator.engineargs.likeness import nearest_value
from vllm_operator.engineargs.replaced import VARIABLES
from vllm_operator.engineargs.spans import holds, is_gone

_PREFIX: Final = "VLLM_"
#: What to use instead of variables that the operator sets, or that a resource says better.
INSTEAD: Final[Mapping[str, str]] = {
    "CUDA_VISIBLE_DEVICES": "`spec.gpus`",
    "HF_ENDPOINT": "the administrator's setting `hubEndpoint`",
    "HF_HOME": "`spec.cache`",
    "HF_HUB_CACHE": "`spec.cache`",
    "HF_TOKEN": "`spec.source.huggingFace.tokenSecretKeyRef`",
    "HF_TOKEN_PATH": "`spec.source.huggingFace.tokenSecretKeyRef`",
    "HUGGINGFACE_HUB_TOKEN": "`spec.source.huggingFace.tokenSecretKeyRef`",
    "HUGGING_FACE_HUB_TOKEN": "`spec.source.huggingFace.tokenSecretKeyRef`",
    "NVIDIA_VISIBLE_DEVICES": "`spec.gpus`",
    "TORCHINDUCTOR_CACHE_DIR": "`spec.cache`",
    "TRANSFORMERS_CACHE": "`spec.cache`",
    "TRITON_CACHE_DIR": "`spec.cache`",
    "VLLM_CACHE_ROOT": "`spec.cache`",
    "VLLM_ENGINE_READY_TIMEOUT_S": "`spec.runtime.startupTimeoutSeconds`",
    "XDG_CACHE_HOME": "`spec.cache`",
}


def without_effect(name: str, vllm_version: str | None) -> str | None:
    """Why this variable does nothing, with its successor; None where it may do something.

    `vllm_version` None: only what no known vLLM reads, so that a wrong guess changes nothing.
    """
    span = schema.variables().get(name)
    minor = schema.any_minor_of(vllm_version)
    remedy = f"; {VARIABLES[name]}" if VARIABLES.get(name) else "; remove it"
    if span is None:
        if name not in VARIABLES:
            return None
        return f"'{name}' has no effect: no vLLM that this operator knows reads it{remedy}"
    if minor is None or holds(span, minor):
        return None
    if is_gone(span, minor):
        return (
            f"'{name}' has no effect in vLLM {minor}, which has not read it since {span['removed']}{remedy}"
        )
    return f"'{name}' has no effect in vLLM {minor}: it is read from {span['since']} on"


def is_dead(name: str, vllm_version: str | None) -> bool:
    """Whether this vLLM and every later one that is known ignore the variable: then anybody may set it.

    `vllm_version` None: whether all versions with a file do.
    """
    span = schema.variables().get(name)
    if span is None:
        return name in VARIABLES
    return is_gone(span, schema.any_minor_of(vllm_version) or schema.known_minors()[0])


def meant(name: str, vllm_version: str | None) -> str | None:
    """The variable of this vLLM that a misspelt name means."""
    if not name.upper().startswith(_PREFIX) or name in schema.variables():
        return None
    minor = schema.any_minor_of(vllm_version) or schema.newest().minor
    return nearest_value(name, [known for known, span in schema.variables().items() if holds(span, minor)])
