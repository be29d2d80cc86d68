"""Which dtypes each quantization method of a vLLM can compute in, and which methods are deprecated."""

import ast
from typing import Any

from engineschemas.fields import ConfigClasses
from engineschemas.source import Source

MODULE = "vllm.model_executor.layers.quantization"
ONLINE_CLASS = "OnlineQuantizationConfig"
DTYPES = {"half": "float16", "float": "float32"} | {d: d for d in ("float16", "bfloat16", "float32")}


def quantization_facts(source: Source) -> dict[str, Any]:
    """`quantization_dtypes` per method, and `quantization_deprecated`."""
    dtypes = {}
    online = _online_methods(source)
    for method, class_name in _method_classes(source).items():
        supported = _supported_dtypes(source, class_name)
        if supported and method in online:
            # named in the arguments it quantizes while loading, whatever the checkpoint's class
            supported = sorted({*supported, *(_supported_dtypes(source, ONLINE_CLASS) or ())})
        if supported:
            dtypes[method] = supported
    deprecated = ConfigClasses(source).default(MODULE, ast.Name("DEPRECATED_QUANTIZATION_METHODS"))
    return {
        "quantization_deprecated": deprecated if isinstance(deprecated, list) else [],
        "quantization_dtypes": dict(sorted(dtypes.items())),
    }


def _online_methods(source: Source) -> set[str]:
    """Names that `--quantization` takes for quantizing an unquantized checkpoint while it loads."""
    node = source.names("vllm.config.quantization").get("_ONLINE_SHORTHANDS")
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    keys = value.keys if isinstance(value, ast.Dict) else []
    return {str(key.value) for key in keys if isinstance(key, ast.Constant)}


def _method_classes(source: Source) -> dict[str, str]:
    function = source.names(MODULE).get("get_quantization_config")
    found: dict[str, str] = {}
    for node in ast.walk(function) if function else []:
        if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(node.value, ast.Dict):
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(value, ast.Name):
                    found[str(key.value)] = value.id
    return found


def _supported_dtypes(source: Source, class_name: str) -> list[str] | None:
    """What `get_supported_act_dtypes` returns, where it is a plain list."""
    function = source.names(MODULE)["get_quantization_config"]
    for node in ast.walk(function):
        if isinstance(node, ast.ImportFrom) and any(a.name == class_name for a in node.names):
            module = node.module or ""
            if node.level:
                module = f"{MODULE}.{module}"
            definition = source.find(module, class_name)
            if definition and isinstance(definition.node, ast.ClassDef):
                return _returned_dtypes(definition.node)
    return None


def _returned_dtypes(node: ast.ClassDef) -> list[str] | None:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "get_supported_act_dtypes":
            returns = [r.value for r in ast.walk(item) if isinstance(r, ast.Return)]
            if len(returns) == 1 and isinstance(returns[0], ast.List):
                names = [DTYPES.get(getattr(e, "attr", "")) for e in returns[0].elts]
                return sorted({n for n in names if n}) if all(names) else None
    return None
