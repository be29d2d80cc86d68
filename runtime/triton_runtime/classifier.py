"""Finds the cause of a failure in the output of tritonserver and vLLM. Pure: text in, reason out."""

import re
from dataclasses import dataclass
from typing import Final

_ERROR_LINE: Final = re.compile(r"^\S*(Error|Exception)\b.*:")


@dataclass(frozen=True, slots=True)
class Classification:
    """One cause: the reason is a word of the resource's status, the detail one sentence."""

    reason: str
    detail: str
    excerpt: str


def classify(
    text: str,
    exit_code: int,
    *,
    dead_engine: str | None = None,
    dead_stub: bool = False,
    memory_kills: int = 0,
) -> Classification:
    """The cause of the end of tritonserver that wrote `text` and returned `exit_code`."""
    lines = [line for line in text.splitlines() if line.strip()]
    first = next((line for line in lines if _ERROR_LINE.match(line)), "")
    detail = dead_engine or first or f"tritonserver ended with exit code {exit_code}"
    return Classification("ContainerCrashed", detail, "\n".join(lines[-20:]))
