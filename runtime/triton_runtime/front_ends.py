"""The files in which the backend's front ends show that they live and that their engine makes progress."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """What one front end, a stub process of Triton's, said last (docs/backend.md, "Signs of life")."""

    pid: int
    beats: int
    """Grows with every beat."""
    messages: int
    """Grows with every message of the engine, an answer to a question included."""
    in_flight: int
    """Requests that the engine has from it, whoever they are of."""
    proven: bool
    """The engine has served a request since its warm-up."""
    loading_adapter: bool
    """The engine loads an adapter, and answers nothing meanwhile."""
    open: bool
    """It takes requests."""


def read(folder: Path, before: Sequence[FrontEnd] = ()) -> Sequence[FrontEnd]:
    """Every front end that serves, by pid; of one whose file is just being written, what it said `before`."""
    last = {one.pid: one for one in before}
    found = []
    for path in sorted(folder.glob("front-end-*.json")):
        number = path.stem.rpartition("-")[2]
        if number.isdecimal() and (one := _parse(path, int(number)) or last.get(int(number))):
            found.append(one)
    return found


def _parse(path: Path, pid: int) -> FrontEnd | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return FrontEnd(
            pid=pid,
            beats=int(content["beats"]),
            messages=int(content["messages"]),
            in_flight=int(content["in_flight"]),
            proven=bool(content["proven"]),
            loading_adapter=bool(content["loading_adapter"]),
            open=bool(content["open"]),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
