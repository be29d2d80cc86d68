"""Reads modules of an unpacked vLLM as syntax trees and finds what a name in one of them means."""

import ast
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Definition:
    """A name's meaning: the statement that defines it, and the module it stands in."""

    module: str
    node: ast.AST


@dataclass
class Source:
    """An unpacked vLLM: the folder that holds `vllm/`."""

    root: Path
    _trees: dict[str, ast.Module | None] = field(default_factory=dict)
    _names: dict[str, dict[str, ast.AST]] = field(default_factory=dict)

    def tree(self, module: str) -> ast.Module | None:
        """The module's syntax tree, or None where it is not part of vLLM."""
        if module not in self._trees:
            base = self.root.joinpath(*module.split("."))
            path = next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)
            self._trees[module] = ast.parse(path.read_text(encoding="utf-8")) if path else None
        return self._trees[module]

    def names(self, module: str) -> dict[str, ast.AST]:
        """What each top-level name of a module is bound to.

        Both branches of an `if` count, the first one wins: under `if TYPE_CHECKING` stands the
        precise type, in its `else` a stand-in such as `Any`.
        """
        if module not in self._names:
            found: dict[str, ast.AST] = {}
            tree = self.tree(module)
            for node in _flatten(tree.body) if tree else []:
                for name in _bound_names(node):
                    if name not in found or isinstance(found[name], ast.If):
                        found[name] = node
            self._names[module] = found
        return self._names[module]

    def find(self, module: str, name: str, depth: int = 0) -> Definition | None:
        """Follow imports within vLLM until the statement that defines `name`."""
        if depth > 20:
            return None
        node = self.names(module).get(name)
        if node is None:
            return None
        if isinstance(node, ast.ImportFrom):
            origin = _import_origin(node, module, self)
            real = next(a.name for a in node.names if (a.asname or a.name) == name)
            if origin is None or not origin.startswith("vllm"):
                return None
            return self.find(origin, real, depth + 1)
        if isinstance(node, ast.Import):
            return None
        return Definition(module, node)

    def find_attribute(self, module: str, dotted: ast.Attribute) -> Definition | None:
        """Resolve `alias.Name`, where `alias` is an imported vLLM module."""
        if not isinstance(dotted.value, ast.Name):
            return None
        node = self.names(module).get(dotted.value.id)
        if isinstance(node, ast.Import):
            for alias in node.names:
                if (alias.asname or alias.name) == dotted.value.id and alias.name.startswith("vllm"):
                    return self.find(alias.name, dotted.attr)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vllm"):
            return self.find(f"{node.module}.{dotted.value.id}", dotted.attr)
        return None


def _flatten(body: list[ast.stmt]) -> list[ast.stmt]:
    flat: list[ast.stmt] = []
    for node in body:
        if isinstance(node, ast.If):
            flat += _flatten(node.body) + _flatten(node.orelse)
        elif isinstance(node, ast.Try):
            flat += _flatten(node.body)
        else:
            flat.append(node)
    return flat


def _bound_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def _import_origin(node: ast.ImportFrom, module: str, source: Source) -> str | None:
    if node.level == 0:
        return node.module
    parts = module.split(".")
    package = source.root.joinpath(*parts, "__init__.py").is_file()
    keep = len(parts) - node.level + (1 if package else 0)
    return ".".join(parts[:keep] + ([node.module] if node.module else []))
