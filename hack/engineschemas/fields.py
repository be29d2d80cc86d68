"""Reads the fields of vLLM's config classes: type, default, bounds, first sentence of the description."""

import ast
from dataclasses import dataclass, field
from typing import Any

from engineschemas.annotations import Annotations, enum_members
from engineschemas.source import Definition, Source

BOUNDS = ("ge", "gt", "le", "lt")
DESCRIPTION_LIMIT = 160


class _Unknown:
    """A default that only running vLLM could tell."""


UNKNOWN = _Unknown()


@dataclass(frozen=True)
class ConfigField:
    """One field of a config class, as JSON sees it."""

    name: str
    type: str
    default: Any
    bounds: dict[str, float] = field(default_factory=dict)
    description: str = ""
    fold: str | None = None
    nullable: bool = False


class ConfigClasses:
    """The config classes of one vLLM, read on demand."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.annotations = Annotations(source, self._register)
        self._definitions: dict[str, Definition] = {}
        self._fields: dict[str, dict[str, ConfigField]] = {}

    def _register(self, found: Definition) -> str | None:
        node = found.node
        if not isinstance(node, ast.ClassDef) or not found.module.startswith("vllm.config"):
            return None
        if not any("config" in ast.unparse(d) or "dataclass" in ast.unparse(d) for d in node.decorator_list):
            return None
        self._definitions.setdefault(node.name, found)
        return node.name

    def define(self, module: str, name: str) -> str | None:
        """Make the config class `name`, as seen from `module`, known; None where it is not one."""
        found = self.source.find(module, name)
        return self._register(found) if found else None

    def fields(self, name: str) -> dict[str, ConfigField]:
        """The fields that can be set from JSON, in the order of the source."""
        if name not in self._fields:
            self._fields[name] = {}  # a class may refer to itself
            self._fields[name] = self._read(self._definitions[name])
        return self._fields[name]

    def _read(self, found: Definition) -> dict[str, ConfigField]:
        node = found.node
        assert isinstance(node, ast.ClassDef)
        fields: dict[str, ConfigField] = {}
        for base in node.bases:
            if isinstance(base, ast.Name):
                parent = self.define(found.module, base.id)
                if parent:
                    fields |= self.fields(parent)
        folds, nullable = _validators(node)
        for index, item in enumerate(node.body):
            if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
                continue
            if _is_class_variable(item.annotation) or _keyword(item.value, "init") is False:
                continue
            name = item.target.id
            fields[name] = ConfigField(
                name=name,
                type=self.annotations.render(found.module, item.annotation),
                default=self.default(found.module, item.value, node),
                bounds=bounds(item.value) | bounds(item.annotation),
                description=_docstring(node.body, index),
                fold=folds.get(name),
                nullable=name in nullable or _is_none(item.value),
            )
        return fields

    def default(self, module: str, node: ast.expr | None, owner: ast.ClassDef | None = None) -> Any:
        """The default as a JSON value, UNKNOWN where it is computed."""
        if node is None:
            return UNKNOWN
        if isinstance(node, ast.Call):
            return self._default_of_call(module, node, owner)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return self._default_of_attribute(module, node.value.id, node.attr)
        if isinstance(node, ast.Name):
            local = _class_assignment(owner, node.id) if owner else None
            if local is not None:
                return self.default(module, local, owner)
            found = self.source.find(module, node.id)
            value = found.node.value if found and isinstance(found.node, ast.Assign | ast.AnnAssign) else None
            return self.default(found.module, value) if found and value is not None else UNKNOWN
        if isinstance(node, ast.BinOp):
            left, right = self.default(module, node.left, owner), self.default(module, node.right, owner)
            return _arithmetic(node.op, left, right)
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError):
            return UNKNOWN
        return sorted(value) if isinstance(value, set | frozenset) else value

    def _default_of_call(self, module: str, node: ast.Call, owner: ast.ClassDef | None) -> Any:
        callee = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if callee in ("field", "Field", "PydanticField"):
            keywords = {k.arg: k.value for k in node.keywords}
            if "default" in keywords:
                return self.default(module, keywords["default"], owner)
            if "default_factory" in keywords:
                return self._default_of_factory(module, keywords["default_factory"])
            return self.default(module, node.args[0], owner) if node.args else UNKNOWN
        if callee == "get_field" and len(node.args) == 2 and isinstance(node.args[0], ast.Name):
            name = ast.literal_eval(node.args[1])
            return self._default_of_attribute(module, node.args[0].id, name)
        return self._default_of_factory(module, node.func)

    def _default_of_factory(self, module: str, node: ast.expr) -> Any:
        if isinstance(node, ast.Lambda):
            return self.default(module, node.body)
        name = node.id if isinstance(node, ast.Name) else ""
        if name in ("dict", "list", "set"):
            return {} if name == "dict" else []
        found = self.source.find(module, name) if name else None
        if found and isinstance(found.node, ast.ClassDef):
            return {}  # the class with its own defaults
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return {} if self.define(module, node.value.id) else UNKNOWN
        return UNKNOWN

    def _default_of_attribute(self, module: str, owner: str, name: str) -> Any:
        found = self.source.find(module, owner)
        if found and isinstance(found.node, ast.ClassDef) and name in enum_members(found.node):
            return name
        known = self.define(module, owner)
        if known and name in self.fields(known):
            return self.fields(known)[name].default
        if found and isinstance(found.node, ast.ClassDef):
            value = _class_assignment(found.node, name)
            return self.default(found.module, value, found.node) if value is not None else UNKNOWN
        return UNKNOWN


def bounds(node: ast.expr | None) -> dict[str, float]:
    """The numeric bounds that a `Field(...)` call, or one inside an `Annotated`, states."""
    found: dict[str, float] = {}
    for call in ast.walk(node) if node is not None else []:
        if isinstance(call, ast.Call):
            for keyword in call.keywords:
                if keyword.arg in BOUNDS:
                    found[keyword.arg] = ast.literal_eval(keyword.value)
    return found


def _validators(node: ast.ClassDef) -> tuple[dict[str, str], set[str]]:
    """Fields whose text vLLM folds before judging it (`lower`, `lower_underscore`, `upper` for an
    enumeration looked up by its name), and those that may be null.
    """
    folds: dict[str, str] = {}
    nullable: set[str] = set()
    for item in node.body:
        if not isinstance(item, ast.FunctionDef):
            continue
        for decorator in item.decorator_list:
            if not isinstance(decorator, ast.Call) or getattr(decorator.func, "id", "") != "field_validator":
                continue
            names = [str(a.value) for a in decorator.args if isinstance(a, ast.Constant)]
            code = ast.unparse(item)
            if item.name == "_skip_none_validation":
                nullable.update(names)
            elif ".lower()" in code and "return value.lower()" in code:
                fold = "lower_underscore" if "replace('-', '_')" in code else "lower"
                folds.update(dict.fromkeys(names, fold))
            elif ".upper()" in code:
                folds.update(dict.fromkeys(names, "upper"))
    return folds, nullable


def first_sentence(text: str) -> str:
    """The first sentence of a description, on one line and of bounded length."""
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    sentence = paragraph.split(". ")[0].rstrip(":. ")
    if len(sentence) > DESCRIPTION_LIMIT:
        sentence = sentence[:DESCRIPTION_LIMIT].rsplit(" ", 1)[0] + " ..."
    return sentence


def _docstring(body: list[ast.stmt], index: int) -> str:
    following = body[index + 1] if index + 1 < len(body) else None
    if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
        return first_sentence(str(following.value.value))
    return ""


def _is_class_variable(node: ast.expr) -> bool:
    return isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "ClassVar"


def _keyword(node: ast.expr | None, name: str) -> Any:
    for keyword in node.keywords if isinstance(node, ast.Call) else []:
        if keyword.arg == name and isinstance(keyword.value, ast.Constant):
            return keyword.value.value
    return None


def _is_none(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _class_assignment(node: ast.ClassDef, name: str) -> ast.expr | None:
    for item in node.body:
        if isinstance(item, ast.Assign) and any(getattr(t, "id", "") == name for t in item.targets):
            return item.value
        if isinstance(item, ast.AnnAssign) and getattr(item.target, "id", "") == name:
            return item.value
    return None


def _arithmetic(operator: ast.operator, left: Any, right: Any) -> Any:
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        return UNKNOWN
    if isinstance(operator, ast.Mult):
        return left * right
    if isinstance(operator, ast.Add):
        return left + right
    if isinstance(operator, ast.Pow):
        return left**right
    if isinstance(operator, ast.LShift):
        return int(left) << int(right)
    return UNKNOWN
