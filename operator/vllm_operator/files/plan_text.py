"""A plan in words."""

import json
from collections.abc import Iterator
from typing import Any

from vllm_operator.files.plan import ABSENT, Plan


def text(plan: Plan, *, diff: bool) -> str:
    """The plan of one object: a headline, a line per field, and the manifests' difference."""
    return "\n".join(_lines(plan, diff)) + "\n"


def _lines(plan: Plan, diff: bool) -> Iterator[str]:
    if plan.problems:
        yield f"VLLMModel {plan.name}: refused"
        yield from (f"  {problem}" for problem in plan.problems)
        return
    yield f"VLLMModel {plan.name}: {_headline(plan)}"
    if plan.paused:
        yield "  `spec.paused` is true: nothing of this reaches the children until it is false"
    width = max((len(_change(c.path, c.old, c.new)) for c in plan.changes), default=0)
    for change in plan.changes:
        yield f"  {_change(change.path, change.old, change.new):<{width}}  {change.effect}"
    if plan.reasons:
        yield "  The restart also brings:"
        yield from (f"  - {reason}" for reason in plan.reasons)
    if diff and plan.diff:
        yield plan.diff.rstrip("\n")


def _headline(plan: Plan) -> str:
    if plan.created:
        return "is created"
    if plan.restarts:
        return "its pods restart"
    if plan.changes or plan.diff:
        return "changes, no pod restarts"
    return "no change"


def _change(path: str, old: Any, new: Any) -> str:
    return f"{path}: {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "(absent)"
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= 60 else f"{text[:57]}..."
