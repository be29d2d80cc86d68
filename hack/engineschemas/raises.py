"""Lists every `raise` of vLLM's config classes and EngineArgs: each is a rule of ours, or said to be none.

A `raise` is known by the function it stands in and the words of its message, so that moving it within the
file changes nothing and a new condition shows up as a new line to review.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from engineschemas.source import Source

FOLDERS = ("vllm/config",)
FILES = ("vllm/engine/arg_utils.py",)
WORDS = 16


def raises(source: Source) -> list[str]:
    """`Class.function: first words of the message` of each raise, in the order of the source, once each."""
    found: list[str] = []
    for folder in FOLDERS:
        for path in sorted((source.root / folder).glob("*.py")):
            found += _of_file(path.read_text(encoding="utf-8"))
    for file in FILES:
        found += _of_file((source.root / file).read_text(encoding="utf-8"))
    return list(dict.fromkeys(found))


def reviewed(
    found: Mapping[str, list[str]], earlier: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The table: per raise its first version, the first without it, and the review that it has already.

    `found` is ordered by version. An empty review is one that a person still has to write.
    """
    versions = list(found)
    table: dict[str, dict[str, Any]] = {}
    for name in sorted({n for names in found.values() for n in names}):
        present = [version for version in versions if name in found[version]]
        entry: dict[str, Any] = {}
        if present[0] != versions[0]:
            entry["since"] = present[0]
        if present[-1] != versions[-1]:
            entry["removed"] = versions[versions.index(present[-1]) + 1]
        entry["review"] = earlier.get(name, {}).get("review", "")
        table[name] = entry
    return table


def _of_file(text: str) -> Iterator[str]:
    tree = ast.parse(text)
    yield from _below(tree, "")


def _below(node: ast.AST, where: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        inner = where
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{where}.{child.name}" if where else child.name
        if isinstance(child, ast.Raise) and child.exc is not None:
            yield f"{where}: {_words(child.exc)}"
        yield from _below(child, inner)


def _words(raised: ast.expr) -> str:
    """The first words of the message, without what only a run fills in."""
    parts = [
        str(node.value)
        for argument in getattr(raised, "args", [])
        for node in ast.walk(argument)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    words = re.findall(r"[A-Za-z0-9_\-]+", " ".join(parts)) or [ast.unparse(raised)]
    return " ".join(words[:WORDS])
