"""Answers what the backend is and how it is: versions, model revision, engine state, adapters."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from typing import Any

from . import __version__, state_file
from .tensors import strings


class Answer:
    """The one and final answer to a request for information."""

    finished = True

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document


def describe(
    *,
    vllm_version: str,
    revision: str | None,
    errored: bool,
    last_success: float | None,
    adapters: Sequence[str],
) -> Answer:
    """Put together what there is to say."""
    return Answer(
        {
            "triton": os.environ.get("TRITON_SERVER_VERSION") or None,
            "vllm": vllm_version,
            "backend": __version__,
            "model_revisions": [revision] if revision else [],
            "engine": "dead" if errored else "hung" if state_file.found_hung() else "healthy",
            "seconds_since_last_success": (
                None if last_success is None else round(time.monotonic() - last_success, 3)
            ),
            "adapters": list(adapters),
        }
    )


def tensors(items: Sequence[Answer]) -> list[Any]:
    """Build the response's tensors."""
    return [strings("backend_info", (json.dumps(items[-1].document),))]
