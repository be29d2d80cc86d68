"""The plan of one VLLMModel against what is there."""

from vllm_operator.api.v1alpha1 import VLLMModel
from vllm_operator.files import render
from vllm_operator.files.against import Cluster, Existing
from vllm_operator.files.plan import Plan, changed, created
from vllm_operator.files.plan_text import text
from vllm_operator.settings import Settings


def plan(model: VLLMModel, existing: Existing, settings: Settings) -> Plan:
    """What applying `model` would do."""
    found = existing.find(model.namespace, model.name)
    if found is None:
        return created(model, settings)
    value, revision = found
    old = render.named(value, "what is there now", model.namespace)
    return changed(old, model, settings, revision, live=isinstance(existing, Cluster))


__all__ = ["plan", "text"]
