"""The container's last words: why it ended, as JSON that fits into the pod's status."""

import json
import re
from pathlib import Path
from typing import Final

from triton_runtime.classifier import Classification
from triton_runtime.redaction import redact

#: The kubelet keeps 4096 bytes of the file.
MESSAGE_BYTES: Final = 4096
EXCERPT_BYTES: Final = 1024
DETAIL_BYTES: Final = 1024
#: More than that is never kept, so it need not be searched for secrets.
_LONGEST: Final = 16 * 1024
#: Colours and other control characters, but not line breaks and tabs.
_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


def message(found: Classification, *, exit_code: int, triton: str, vllm: str) -> str:
    """The JSON text, without secrets, small enough for the kubelet to keep whole."""
    detail, excerpt = redact(found.detail[:_LONGEST]), redact(found.excerpt[:_LONGEST])
    excerpt_bytes = EXCERPT_BYTES
    while True:
        content = {
            "reason": found.reason,
            "detail": shortened(detail, DETAIL_BYTES),
            "excerpt": shortened(excerpt, excerpt_bytes),
            "triton": triton[:64],
            "vllm": vllm[:64],
            "exitCode": exit_code,
        }
        if found.remedy:
            content["remedy"] = shortened(found.remedy, DETAIL_BYTES)
        if found.inferred:
            content["inferred"] = True
        text = json.dumps(content, ensure_ascii=False)
        # Escapes can make the JSON longer than the text in it.
        if len(text.encode()) <= MESSAGE_BYTES or excerpt_bytes == 0:
            return text
        excerpt_bytes //= 2


def shortened(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, cut at a character, with a mark where something was left out."""
    data = _CONTROL.sub("", text).encode("utf-8", errors="replace")
    if len(data) <= limit:
        return data.decode()
    mark = "…"
    return data[: max(0, limit - len(mark.encode()))].decode("utf-8", errors="ignore") + mark if limit else ""


def write(path: Path, text: str) -> None:
    """Write in place: the kubelet has mounted this one file, nothing can be renamed over it."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
