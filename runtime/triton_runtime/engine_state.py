"""The file in which the backend says that a part of it is dead, or that it has answered everything."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class EngineState:
    """What the backend said last."""

    dead_cause: str | None = None
    """Why the engine is dead; None while it is not."""
    stub_dead: bool = False
    """The process in which Triton runs the backend is gone."""
    drained: bool = False
    """The end was asked for, and nothing is in flight any more."""


def read(path: Path) -> EngineState:
    """The state in the file; no file, or one that cannot be read, says nothing."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return EngineState()
    state = content.get("state") if isinstance(content, dict) else None
    if state == "dead":
        return EngineState(dead_cause=str(content.get("cause") or "the engine gave no cause"))
    return EngineState(stub_dead=state == "stub-dead", drained=state == "drained")
