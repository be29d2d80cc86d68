"""The LoRA adapters a model offers: read from multi_lora.json, which whoever controls the files may change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .engine import Engine, lora_request
from .errors import Kind, ModelInvalid, RequestFailed

FILE = "multi_lora.json"


def read_adapters(directory: Path) -> dict[str, str]:
    """Read the adapters' names and paths."""
    path = directory / FILE
    if not path.is_file():
        raise FileNotFoundError(f"Triton backend could not find {path}, which enable_lora needs.")
    return parse_adapters(path.read_text(encoding="utf-8"))


def parse_adapters(text: str) -> dict[str, str]:
    """Read the content of multi_lora.json."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ModelInvalid(f"{FILE} is not valid JSON: {error}.") from None
    if not isinstance(document, dict) or not all(
        isinstance(path, str) and path for path in document.values()
    ):
        raise ModelInvalid(f"{FILE} must hold a JSON object that gives each adapter's path by its name.")
    return document


@dataclass(slots=True)
class Adapter:
    """One adapter in the engine."""

    name: str
    path: str
    request: Any
    in_flight: int = 0
    withdrawn: bool = False


@dataclass(slots=True)
class Adapters:
    """The adapters that requests may name. Belongs to the event loop's thread."""

    enabled: bool
    _by_name: dict[str, Adapter] = field(default_factory=dict)
    _next_number: int = 1

    def names(self) -> list[str]:
        """Return the adapters' names in the order of the file."""
        return list(self._by_name)

    def acquire(self, name: str | None) -> Adapter | None:
        """Return the adapter a request names and count the request."""
        if name is None:
            return None
        if not self.enabled:
            raise RequestFailed(Kind.INVALID_ARG, "LoRA feature is not enabled.")
        adapter = self._by_name.get(name)
        if adapter is None:
            raise RequestFailed(
                Kind.NOT_FOUND, f"LoRA {name} is not supported, we currently support {self.names()}"
            )
        adapter.in_flight += 1
        return adapter

    def release(self, adapter: Adapter) -> None:
        """Note that a request with this adapter has ended."""
        adapter.in_flight -= 1

    async def apply(self, engine: Engine, wanted: Mapping[str, str]) -> None:
        """Load what is new; a changed path is a new adapter under a new number."""
        for name, path in wanted.items():
            current = self._by_name.get(name)
            if current is not None and current.path == path:
                continue
            adapter = Adapter(name, path, lora_request(name, self._next_number, path))
            self._next_number += 1
            await engine.add_lora(adapter.request)
            self._by_name[name] = adapter
