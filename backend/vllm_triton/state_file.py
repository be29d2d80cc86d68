"""Tells whoever supervises the server how the engine is, through files where the environment says.

`TRITON_VLLM_ENGINE_STATE_FILE` names the first one. Beside it, each front end has a file of its beats, and
the supervisor has its own words: `terminating` and `hung`. docs/backend.md describes all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

VARIABLE = "TRITON_VLLM_ENGINE_STATE_FILE"
_BEAT_BYTES = 256


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
    return _said("terminating")


def found_hung() -> bool:
    """Whether the supervisor has found that the engine or a front end hangs: it says so by a file, too."""
    return _said("hung")


def _said(word: str) -> bool:
    path = os.environ.get(VARIABLE)
    return path is not None and os.path.exists(os.path.join(os.path.dirname(path), word))


class BeatFile:
    """The file in which this front end shows that it lives, for as long as the model is served."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)

    @classmethod
    def of_this_process(cls) -> BeatFile | None:
        """Begin the file; None where there is nobody to read it."""
        path = os.environ.get(VARIABLE)
        if not path:
            return None
        return cls(os.path.join(os.path.dirname(path), f"front-end-{os.getpid()}.json"))

    def write(self, beat: dict[str, Any]) -> None:
        """Write a beat in the place of the one before: that works on a full disk, too."""
        os.pwrite(self._descriptor, json.dumps(beat).encode().ljust(_BEAT_BYTES), 0)

    def remove(self) -> None:
        """Say that no beat is due any more."""
        with contextlib.suppress(OSError):
            os.unlink(self._path)


def _write(state: dict[str, str]) -> None:
    """Write the state at once and whole; without the variable there is nobody to tell."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(state, file)
    os.replace(temporary, path)
