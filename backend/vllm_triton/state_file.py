"""Tells whoever supervises the server that the engine is dead, through a file that the environment names."""

from __future__ import annotations

import json
import os

VARIABLE = "TRITON_VLLM_ENGINE_STATE_FILE"


def report_death(cause: str) -> None:
    """Write the engine's state, at once and whole; without the variable there is nobody to tell."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump({"state": "dead", "cause": cause}, file)
    os.replace(temporary, path)
