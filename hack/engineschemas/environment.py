"""Environment variables that a vLLM reads: those of vllm/envs.py, and those that other modules ask for."""

import ast
import re

from engineschemas.source import Source

ENVS = "vllm.envs"
_READ = re.compile(r"""(?:environ\.get|getenv|environ\.setdefault|environ\[)\(?\s*["'](VLLM_\w+)["']""")
_CALLED = re.compile(r"""["'](VLLM_[A-Z0-9_]+)["'] (?:not )?in os\.environ""")


def variables(source: Source) -> list[str]:
    """Names of `environment_variables` in vllm/envs.py, and VLLM_* names read elsewhere; sorted."""
    found: set[str] = set()
    node = source.names(ENVS).get("environment_variables")
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    for key in value.keys if isinstance(value, ast.Dict) else []:
        if isinstance(key, ast.Constant):
            found.add(str(key.value))
    for path in (source.root / "vllm").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found.update(_READ.findall(text), _CALLED.findall(text))
    return sorted(found)
