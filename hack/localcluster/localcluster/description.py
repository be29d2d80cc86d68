"""What a cluster writes down about itself, so that the next command finds it: cluster.json in its folder."""

import json
from pathlib import Path
from typing import Any

FILE = "cluster.json"


def read(directory: Path) -> dict[str, Any]:
    """What the cluster in this folder has written ({} if there is none)."""
    try:
        described: dict[str, Any] = json.loads((directory / FILE).read_text())
    except FileNotFoundError:
        return {}
    return described


def update(directory: Path, **values: object) -> None:
    """Write down something more; a reader never sees half of it."""
    partial = directory / f"{FILE}.partial"
    partial.write_text(json.dumps({**read(directory), **values}, indent=1))
    partial.rename(directory / FILE)
