"""Flags of `vllm serve` that are no engine arguments: those of its HTTP front end."""

import ast

from engineschemas.source import Source

#: Where the front end's arguments stand, the newest place first.
MODULES = tuple(f"vllm.entrypoints.{place}.cli_args" for place in ("common", "launchers", "openai"))


def flags(source: Source) -> list[str]:
    """Names, with underscores, of the fields of the front end's classes and of its single flags; sorted."""
    module = next((name for name in MODULES if "FrontendArgs" in source.names(name)), None)
    if module is None:
        raise SystemExit(f"{source.root}: no module of the front end's arguments in {', '.join(MODULES)}")
    found: set[str] = set()
    for name in ("BaseFrontendArgs", "FrontendArgs"):
        node = source.names(module).get(name)
        for item in node.body if isinstance(node, ast.ClassDef) else []:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                found.add(item.target.id)
    function = source.names(module).get("make_arg_parser")
    for call in ast.walk(function) if function else []:
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "add_argument":
            options = [str(a.value) for a in call.args if isinstance(a, ast.Constant)]
            found.update(o.lstrip("-").replace("-", "_") for o in options if o.startswith("--"))
    return sorted(found)
