"""Writes a type annotation of vLLM as a short, self-contained expression that JSON values can be judged by.

The notation is Python's own: `int | None`, `list[str]`, `Literal['auto', 'half']`, the name of a config
class, and `Enum['A', 'B']` for an enumeration that vLLM looks up by name. Members that no JSON value can
be (classes, callables, torch types) are left out of a union.
"""

import ast
from collections.abc import Callable

from engineschemas.source import Definition, Source

PLAIN = {"int", "float", "str", "bool", "None", "Any", "dict", "list", "set", "tuple"}
CONTAINERS = {
    "list": "list", "List": "list", "Sequence": "list", "Iterable": "list",
    "set": "set", "Set": "set", "frozenset": "set",
    "dict": "dict", "Dict": "dict", "Mapping": "dict",
    "tuple": "tuple", "Tuple": "tuple",
}  # fmt: skip
WRAPPERS = {"InitVar", "Annotated", "Final", "Required", "NotRequired"}


class Annotations:
    """Renders annotations of one vLLM source tree; config classes met on the way are reported."""

    def __init__(self, source: Source, on_class: Callable[[Definition], str | None]) -> None:
        self._source = source
        self._on_class = on_class
        #: Of each enumeration met: its members' names with those values that a user may write.
        self.enums: dict[str, dict[str, int | str]] = {}

    def render(self, module: str, node: ast.expr) -> str:
        """The annotation in the notation of this module, `Any` where it says nothing about JSON."""
        members = _unique(self._members(module, node))
        if not members or (members == ["None"] and not _is_none(node)):
            return "Any"  # nothing in it that JSON could be
        return "Any" if "Any" in members else " | ".join(_merge_literals(members))

    def literal_values(self, module: str, node: ast.expr) -> list[object]:
        """All values of a `Literal[...]`, those of nested aliases included."""
        values: list[object] = []
        for item in node.elts if isinstance(node, ast.Tuple) else [node]:
            if isinstance(item, ast.Constant):
                values.append(item.value)
            elif isinstance(item, ast.UnaryOp):
                values.append(ast.literal_eval(item))
            else:
                found = self._lookup(module, item)
                value = _value_of(found.node) if found else None
                if found and isinstance(value, ast.Subscript):
                    values += self.literal_values(found.module, value.slice)
        return list(dict.fromkeys(values))

    def _lookup(self, module: str, node: ast.expr) -> Definition | None:
        if isinstance(node, ast.Name):
            return self._source.find(module, node.id)
        if isinstance(node, ast.Attribute):
            return self._source.find_attribute(module, node)
        return None

    def _members(self, module: str, node: ast.expr) -> list[str]:
        if isinstance(node, ast.Constant):
            if node.value is None:
                return ["None"]
            if isinstance(node.value, str):  # a quoted annotation
                return self._members(module, ast.parse(node.value, mode="eval").body)
            return ["Any"]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return self._members(module, node.left) + self._members(module, node.right)
        if isinstance(node, ast.Subscript):
            return self._subscript(module, node)
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        if name in PLAIN:
            return [name]
        if name == "Path":
            return ["str"]
        if name in ("object", "SkipValidation"):
            return ["Any"]
        return self._named(module, node)

    def _subscript(self, module: str, node: ast.Subscript) -> list[str]:
        name = node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "Literal":
            values = self.literal_values(module, node.slice)
            return [f"Literal[{', '.join(map(repr, values))}]"] if values else ["Any"]
        if name == "Optional":
            return [*self._members(module, items[0]), "None"]
        if name == "Union":
            return [member for item in items for member in self._members(module, item)]
        if name in WRAPPERS:
            return self._members(module, items[0])
        if name in CONTAINERS:
            inner = [self.render(module, i) for i in items if not _is_ellipsis(i)]
            if name in ("tuple", "Tuple") and any(_is_ellipsis(i) for i in items):
                return [f"list[{inner[0]}]"]
            return [f"{CONTAINERS[name]}[{', '.join(inner)}]"]
        if name == "SkipValidation":
            return ["Any"]
        return []  # type[...], Callable[...]: no JSON value is one

    def _named(self, module: str, node: ast.expr) -> list[str]:
        found = self._lookup(module, node)
        if found is None:
            return []
        if isinstance(found.node, ast.ClassDef):
            bases = {_last_name(base) for base in found.node.bases}
            if any(base.endswith("Enum") or base == "Flag" for base in bases):
                text = f"Enum[{', '.join(map(repr, enum_members(found.node)))}]"
                self.enums[text] = _enum_values(found.node)
                return [text]
            config_class = self._on_class(found)
            return [config_class] if config_class else []
        value = _value_of(found.node)
        if value is None:
            return []
        return self._members(found.module, value)


def enum_members(node: ast.ClassDef) -> list[str]:
    """The names of an enumeration's members."""
    return [
        target.id
        for item in node.body
        if isinstance(item, ast.Assign)
        for target in item.targets
        if isinstance(target, ast.Name) and not target.id.startswith("_")
    ]


def _enum_values(node: ast.ClassDef) -> dict[str, int | str]:
    """Members whose value a user may write: pydantic takes an enumeration by value.

    Class paths, the values of vLLM's attention backends, are not meant to be written.
    """
    return {
        target.id: item.value.value
        for item in node.body
        if isinstance(item, ast.Assign)
        and isinstance(item.value, ast.Constant)
        and isinstance(item.value.value, int | str)
        and str(item.value.value).replace("_", "").replace("-", "").isalnum()
        for target in item.targets
        if isinstance(target, ast.Name)
    }


def _value_of(node: ast.AST) -> ast.expr | None:
    return node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None


def _last_name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is Ellipsis


def _unique(members: list[str]) -> list[str]:
    return list(dict.fromkeys(members))


def _merge_literals(members: list[str]) -> list[str]:
    """Several literals of one union become one, and None goes last."""
    literals = [m for m in members if m.startswith("Literal[")]
    if len(literals) > 1:
        values = _unique([repr(v) for m in literals for v in _literal_list(m)])
        members = [f"Literal[{', '.join(values)}]", *(m for m in members if m not in literals)]
    return [m for m in members if m != "None"] + (["None"] if "None" in members else [])


def _literal_list(text: str) -> list[object]:
    values = ast.literal_eval(f"[{text.removeprefix('Literal[').removesuffix(']')}]")
    return list(values)
