"""Tells whoever supervises the server how the engine is, through a file that the environment names."""

from __future__ import annotations

import json
import os

VARIABLE = "TRITON_VLLM_ENGINE_STATE_FILE"


def report_death(cause: str) -> None:
    """Say that the engine is dead and why."""
    _write({"state": "dead", "cause": cause})


def report_stub_death() -> None:
    """Say that the backend's own process, Triton's stub, is gone."""
    _write({"state": "stub-dead"})


def report_drained() -> None:
    """Say that every request is answered; nothing but idle connections can hold the server now."""
    _write({"state": "drained"})


def told_to_end() -> bool:
    """Whether the supervisor is ending the server: it says so by a file beside the state."""
    path = os.environ.get(VARIABLE)
    return path is not None and os.path.exists(os.path.join(os.path.dirname(path), "terminating"))


def _write(state: dict[str, str]) -> None:
    """Write the state at once and whole; without the variable there is nobody to tell."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(state, file)
    os.replace(temporary, path)
