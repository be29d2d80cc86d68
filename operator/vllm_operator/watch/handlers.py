"""kopf's handlers: login, and an event of a VLLMModel is stored and enqueued. None returns a value, because
kopf would write it into the object's status."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import kopf

from vllm_operator.kube.resources import VLLM_MODELS
from vllm_operator.observed.store import Key, ObservedStore
from vllm_operator.telemetry import lateness, metrics


def registry(
    *,
    store: ObservedStore,
    seen: Callable[[Key], None],
    changed: Callable[[Key], None],
    login: Callable[[], Awaitable[kopf.AiohttpSession]],
) -> kopf.OperatorRegistry:
    """All handlers: `seen` is told of each model that an event is about, `changed` where it was news."""
    handlers = kopf.OperatorRegistry()
    last_event = metrics.WATCH_LAST_EVENT.labels(VLLM_MODELS.kind)
    group, _, version = VLLM_MODELS.api_version.rpartition("/")

    async def log_in(**_: Any) -> kopf.AiohttpSession:
        return await login()

    async def happened(event: kopf.RawEvent, **_: Any) -> None:
        last_event.set(time.time())
        obj: dict[str, Any] = {
            "apiVersion": VLLM_MODELS.api_version,
            "kind": VLLM_MODELS.kind,
            **event["object"],
        }
        if event["type"] in ("ADDED", "MODIFIED"):
            lateness.note(obj)
        key = Key(obj["metadata"]["namespace"], obj["metadata"]["name"])
        seen(key)
        if event["type"] is None and store.doubt(obj):  # from a list
            changed(key)
            return
        for key in store.discard(obj) if event["type"] == "DELETED" else store.put(obj):
            changed(key)

    kopf.on.login(registry=handlers, id="login")(log_in)
    kopf.on.event(group, version, VLLM_MODELS.plural, registry=handlers, id="models")(happened)
    return handlers
