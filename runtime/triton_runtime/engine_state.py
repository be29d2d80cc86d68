"""The file in which the backend says that its engine is dead."""

import json
from pathlib import Path


def dead_cause(path: Path) -> str | None:
    """Why the engine is dead, or None while it is not (no file, or a state other than dead)."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("state") != "dead":
        return None
    return str(content.get("cause") or "the engine gave no cause")
