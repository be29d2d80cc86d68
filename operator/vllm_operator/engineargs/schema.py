"""The engine arguments of each vLLM version that this operator knows, from the generated files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "schemas"


@dataclass(frozen=True, slots=True)
class Schema:
    """What one minor version of vLLM takes in its model.json."""

    minor: str
    arguments: Mapping[str, Mapping[str, Any]]
    classes: Mapping[str, Mapping[str, Mapping[str, Any]]]
    quantization_dtypes: Mapping[str, list[str]]
    quantization_deprecated: list[str]


@dataclass(frozen=True, slots=True)
class History:
    """When names of engine arguments came and went, over the minor versions in `versions`."""

    versions: list[str]
    arguments: Mapping[str, Mapping[str, Any]]

    def since(self, name: str) -> str | None:
        """The first version with this argument, None where the first known one has it already."""
        since: str | None = self.arguments.get(name, {}).get("since")
        return since

    def removed(self, name: str) -> str | None:
        """The first version without this argument, None where the newest still has it."""
        removed: str | None = self.arguments.get(name, {}).get("removed")
        return removed


@cache
def known_minors() -> tuple[str, ...]:
    """Minor versions with a file, oldest first."""
    return tuple(sorted((path.stem for path in FOLDER.glob("0.*.json")), key=_key))


def minor_of(version: str | None) -> str | None:
    """`0.32` of `0.32.0`, `v0.32.1+cu130` and the like; None where there is no schema for it."""
    if not version:
        return None
    numbers = version.strip().removeprefix("v").split(".")
    minor = ".".join(numbers[:2])
    return minor if len(numbers) >= 2 and minor in known_minors() else None


@cache
def load(minor: str) -> Schema:
    """The schema of a minor version out of `known_minors()`."""
    document = json.loads((FOLDER / f"{minor}.json").read_text(encoding="utf-8"))
    return Schema(
        minor=minor,
        arguments=document["arguments"],
        classes=document["classes"],
        quantization_dtypes=document["quantization_dtypes"],
        quantization_deprecated=document["quantization_deprecated"],
    )


def newest() -> Schema:
    """The schema of the newest known version."""
    return load(known_minors()[-1])


@cache
def history() -> History:
    """The record of names since vLLM 0.13."""
    document = json.loads((FOLDER / "history.json").read_text(encoding="utf-8"))
    return History(versions=document["versions"], arguments=document["arguments"])


def _key(minor: str) -> tuple[int, ...]:
    return tuple(int(number) for number in minor.split("."))
