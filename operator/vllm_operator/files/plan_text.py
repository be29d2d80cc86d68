"""A plan in words."""

import json
from collections.abc import Iterator
from typing import Any

from vllm_operator.desired.effects import Restart
from vllm_operator.files.plan import Plan


def text(plan: Plan, *, diff: bool) -> str:
    """The plan of one object: a headline, two lines per field, and the manifests' difference."""
    return "\n".join(_lines(plan, diff)) + "\n"


def _lines(plan: Plan, diff: bool) -> Iterator[str]:
    if plan.refused:
        yield f"VLLMModel {plan.name}: would be refused"
        yield f"  {plan.refused}"
        return
    yield f"VLLMModel {plan.name}: {_headline(plan)}"
    if plan.paused:
        yield "  `spec.paused` is true: nothing of this reaches the children until it is false"
    for change in plan.changes:
        yield f"  spec.{change.path}: {_shown(change.before)} -> {_shown(change.after)}"
        verb = "restarts the pods" if change.effect.restart is Restart.ROLLS else "no restart"
        yield f"      {verb}: {change.effect.what}"
    for brought in plan.brings:
        yield f"  The restart brings along {brought}"
    if diff and plan.diff:
        yield plan.diff.rstrip("\n")


def _headline(plan: Plan) -> str:
    if plan.created:
        return "is created"
    if plan.restarts:
        return f"its {_pods(plan.replicas)} as `spec.rollout` says"
    return "changes, no pod restarts" if plan.changes or plan.diff else "no change"


def _pods(replicas: int) -> str:
    return "pod restarts" if replicas == 1 else f"{replicas} pods restart"


def _shown(value: Any) -> str:
    if value is None:
        return "(absent)"
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= 60 else f"{text[:57]}..."
