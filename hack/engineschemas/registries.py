"""Names that vLLM registers for arguments typed as plain text: connectors and parsers."""

import ast
from pathlib import Path

from engineschemas.source import Source

#: What the name is for, and the dictionary or the call that registers it.
DICTIONARIES = {
    "reasoning_parser": "_REASONING_PARSERS_TO_REGISTER",
    "tool_call_parser": "_TOOL_PARSERS_TO_REGISTER",
}
CALLS = {"kv_connector": "KVConnectorFactory", "ec_connector": "ECConnectorFactory"}


def registries(source: Source) -> dict[str, list[str]]:
    """The names of each registry; one that this version does not have is empty."""
    found: dict[str, list[str]] = {kind: [] for kind in (*DICTIONARIES, *CALLS)}
    for path in sorted((source.root / "vllm").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for kind, name in DICTIONARIES.items():
            if f"{name} = {{" in text or f"{name}: " in text:
                found[kind] += _keys(text, name)
        for kind, factory in CALLS.items():
            if f"{factory}.register_connector(" in text and _is_vllm(path):
                found[kind] += _registered(text, factory)
    return {kind: sorted(set(names)) for kind, names in found.items()}


def _keys(text: str, name: str) -> list[str]:
    for node in ast.walk(ast.parse(text)):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == name for t in targets):
            keys = node.value.keys if isinstance(node.value, ast.Dict) else []
            return [str(key.value) for key in keys if isinstance(key, ast.Constant)]
    return []


def _registered(text: str, factory: str) -> list[str]:
    return [
        str(node.args[0].value)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "register_connector"
        and getattr(node.func.value, "id", "") == factory
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ]


def _is_vllm(path: Path) -> bool:
    return "tests" not in path.parts
