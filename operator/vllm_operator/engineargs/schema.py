"""The engine arguments of each vLLM version that this operator knows, from the generated files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from vllm_operator.engineargs.spans import Span, key

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
    """When names came and went, over the minor versions in `versions`.

    `arguments` are engine arguments, `keys` fields of config classes as `Class.field`, `choices` the values
    of an argument or of a `Class.field` that came or went.
    """

    versions: list[str]
    arguments: Mapping[str, Mapping[str, Any]]
    keys: Mapping[str, Span]
    choices: Mapping[str, Mapping[str, Span]]

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
    return tuple(sorted((path.stem for path in FOLDER.glob("0.*.json")), key=key))


def minor_of(version: str | None) -> str | None:
    """`0.32` of `0.32.0`, `v0.32.1+cu130` and the like; None where there is no schema for it."""
    if not version:
        return None
    numbers = version.strip().removeprefix("v").split(".")
    minor = ".".join(numbers[:2])
    return minor if len(numbers) >= 2 and minor in known_minors() else None


def any_minor_of(version: str | None) -> str | None:
    """The minor version of a version that the tables of names cover, older ones included."""
    if not version:
        return None
    numbers = version.strip().removeprefix("v").split(".")[:2]
    if len(numbers) < 2 or not all(number.isdigit() for number in numbers):
        return None
    minor = ".".join(numbers)
    return minor if key(minor) <= key(known_minors()[-1]) else None


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
def newest_with(name: str) -> Schema | None:
    """The newest version that has the argument, for an image whose version is not known."""
    for minor in reversed(known_minors()):
        if name in load(minor).arguments:
            return load(minor)
    return None


@cache
def history() -> History:
    """The record of names since vLLM 0.13."""
    document = json.loads((FOLDER / "history.json").read_text(encoding="utf-8"))
    return History(
        versions=document["versions"],
        arguments=document["arguments"],
        keys=document["keys"],
        choices=document["choices"],
    )


@cache
def registry(kind: str) -> Mapping[str, Span]:
    """The names that vLLM registers for connectors and parsers, by kind: `kv_connector`, `ec_connector`,
    `reasoning_parser`, `tool_call_parser`.
    """
    names: Mapping[str, Span] = _table("registries")[kind]
    return names


@cache
def variables() -> Mapping[str, Span]:
    """The environment variables that some vLLM reads."""
    names: Mapping[str, Span] = _table("environment")["names"]
    return names


@cache
def serve_flags() -> Mapping[str, Span]:
    """Flags of `vllm serve` that belong to its HTTP front end."""
    names: Mapping[str, Span] = _table("frontend")["names"]
    return names


@cache
def _table(name: str) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return document
