"""Which vLLM an image runs."""

import pytest

from vllm_operator.engineargs import version_of_image

NVIDIA = "nvcr.io/nvidia/tritonserver"


@pytest.mark.parametrize(
    ("image", "mapping", "version"),
    [
        (f"{NVIDIA}:26.08-vllm-python-py3", {}, "0.27.1"),
        (f"{NVIDIA}:26.07-vllm-python-py3", {}, "0.24.0"),
        (f"{NVIDIA}:26.07-vllm-python-py3@sha256:{'a' * 64}", {}, "0.24.0"),
        (f"{NVIDIA}:26.07-py3", {}, None),
        (f"{NVIDIA}:26.07-trtllm-python-py3", {}, None),
        (f"{NVIDIA}:99.01-vllm-python-py3", {}, None),
        (f"{NVIDIA}:99.01-vllm-python-py3", {f"{NVIDIA}:99.*": "1.2.3"}, "1.2.3"),
        ("mirror.example.com/tritonserver:26.07-vllm-python-py3", {}, None),
        ("registry/a:1", {"registry/*": "0.30.0", "registry/a:*": "0.31.0"}, "0.31.0"),
        ("registry/a:1", {"registry/a:*": "0.31.0", "registry/a:1": "0.32.0"}, "0.32.0"),
        ("registry:5000/a", {"registry/*": "0.30.0"}, None),
        ("", {}, None),
    ],
)
def test_version(image: str, mapping: dict[str, str], version: str | None) -> None:
    assert version_of_image(image, mapping) == version
