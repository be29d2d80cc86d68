"""Refusals of vLLM's configuration phase that no row of the table knows. Pure."""

import re
from collections.abc import Sequence
from typing import Final

from triton_runtime.tracebacks import Raised

_TYPES: Final = frozenset({"ValueError", "AssertionError", "NotImplementedError", "KeyError"})
_CONFIG_CLASS: Final = re.compile(r"validation errors? for \w*(?:Config|Args)\b")
#: Where vLLM judges its arguments.
_PLACE: Final = re.compile(r"/vllm/(?:config/|engine/arg_utils\.py)|/vllm/\S*factor(?:y|ies)\.py")
#: vLLM turns an outage of the hub, or a missing device, into a ValueError there.
_NOT_AN_ARGUMENT: Final = re.compile(
    r"(?:OSError|IOError|FileNotFoundError|PermissionError|ConnectionError|TimeoutError|Timeout|HTTPError|"
    r"HTTPStatusError|SSLError|ConnectError|OfflineMode\w*|HfHub\w*|LocalEntryNotFound\w*|AcceleratorError|"
    r"OutOfMemoryError)\b|huggingface_hub|CUDA error|https?://(?!docs\.vllm|errors\.pydantic|github)"
)


def refused(chain: Sequence[Raised]) -> bool:
    """Whether the exceptions, the first raised first, say that vLLM refuses its arguments."""
    last = chain[-1]
    if any(_NOT_AN_ARGUMENT.search(raised.text) for raised in chain):
        return False
    if _CONFIG_CLASS.search(last.text):
        return True
    return last.type in _TYPES and bool(last.frames) and _PLACE.search(last.frames[-1]) is not None
