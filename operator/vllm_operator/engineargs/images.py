"""Which vLLM an image runs: known tags first, then the administrator's setting, otherwise not known."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

#: vLLM of NVIDIA's Triton images with vLLM, by release: the table "Container Name: vllm-python-py3" of
#: docs/introduction/compatibility.md in triton-inference-server/server. Later releases are not in it yet.
TRITON_RELEASES: Final[Mapping[str, str]] = {
    "26.08": "0.27.1",
    "26.07": "0.24.0",
    "26.06": "0.22.1",
    "26.05": "0.19.0",
    "26.04": "0.19.0",
    "26.03": "0.17.1",
    "26.02": "0.15.1",
    "26.01": "0.13.0",
    "25.12": "0.11.1",
    "25.11": "0.11.0",
    "25.10": "0.10.2",
}
TRITON_IMAGE: Final = "nvcr.io/nvidia/tritonserver"
TRITON_SUFFIX: Final = "-vllm-python-py3"


def version_of_image(image: str, mapping: Mapping[str, str]) -> str | None:
    """The vLLM version of an image, None where nobody has said.

    `mapping` is the administrator's: image or glob to version. An exact name wins over a glob, and the
    longest matching glob over a shorter one.
    """
    release = _triton_release(image)
    if release in TRITON_RELEASES:
        return TRITON_RELEASES[release]
    if image in mapping:
        return mapping[image]
    matching = sorted((glob for glob in mapping if fnmatchcase(image, glob)), key=len)
    return mapping[matching[-1]] if matching else None


def _triton_release(image: str) -> str:
    name = image.partition("@")[0]
    repository, _, tag = name.rpartition(":")
    if repository != TRITON_IMAGE or not tag.endswith(TRITON_SUFFIX):
        return ""
    return tag.removesuffix(TRITON_SUFFIX)
