"""Writes every generated file of the repository, or checks that each is current.

A generator is a module with `outputs() -> Mapping[str, str]`: path from the repository's root to content.
"""

import argparse
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol, cast

ROOT: Final = Path(__file__).resolve().parents[1]
GENERATORS: Final = (
    "vllm_operator.api.crd",
    "vllm_operator.api.reference",
    "vllm_operator.desired.effects",
    "vllm_operator.status.reference",
    "engineschemas.listing",
)


class Generator(Protocol):
    """A module that knows the content of some files."""

    def outputs(self) -> Mapping[str, str]:
        """Map each path, relative to the repository's root, to its content."""


def outputs() -> dict[str, str]:
    """All generated files of the repository."""
    files: dict[str, str] = {}
    for name in GENERATORS:
        files.update(cast(Generator, importlib.import_module(name)).outputs())
    return files


def main() -> int:
    """Write the files, or with --check name those that differ and return 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a file differs")
    check = parser.parse_args().check
    stale = []
    for path, content in outputs().items():
        file = ROOT / path
        if file.exists() and file.read_text() == content:
            continue
        stale.append(path)
        if not check:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
            print(f"wrote {path}")
    if check and stale:
        print("not current, run `make generate`: " + ", ".join(stale), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
