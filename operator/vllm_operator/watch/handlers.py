"""kopf's handlers: each stores what it is told and enqueues the model that it concerns. None returns a value,
because kopf would write it into the object's status."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import kopf

from vllm_operator.kube.credentials import Credentials
from vllm_operator.kube.resources import CHILDREN, VLLM_MODELS, Resource
from vllm_operator.observed.store import Key, ObservedStore
from vllm_operator.telemetry import metrics

#: Children change in bursts (a Deployment, its ReplicaSet, its pods): one look for all of it.
_CHILD_DELAY_SECONDS = 0.2


def registry(
    *,
    store: ObservedStore,
    enqueue: Callable[[Key, float], None],
    credentials: Callable[[], Awaitable[Credentials]],
) -> kopf.OperatorRegistry:
    """All handlers; `enqueue` takes a model and the seconds to wait."""
    handlers = kopf.OperatorRegistry()

    async def login(**_: Any) -> kopf.ConnectionInfo:
        return _connection(await credentials())

    kopf.on.login(registry=handlers, id="login")(login)
    for resource in (VLLM_MODELS, *CHILDREN):
        _watch(handlers, resource, store, enqueue)
    return handlers


def _watch(
    handlers: kopf.OperatorRegistry,
    resource: Resource,
    store: ObservedStore,
    enqueue: Callable[[Key, float], None],
) -> None:
    delay = 0.0 if resource is VLLM_MODELS else _CHILD_DELAY_SECONDS
    last_event = metrics.WATCH_LAST_EVENT.labels(resource.kind)
    group, _, version = resource.api_version.rpartition("/")

    async def seen(event: kopf.RawEvent, **_: Any) -> None:
        last_event.set(time.time())
        obj = {"apiVersion": resource.api_version, "kind": resource.kind, **event["object"]}
        for key in store.discard(obj) if event["type"] == "DELETED" else store.put(obj, watched=True):
            enqueue(key, delay)

    kopf.on.event(group, version, resource.plural, registry=handlers, id=f"seen-{resource.plural}")(seen)


def _connection(credentials: Credentials) -> kopf.ConnectionInfo:
    return kopf.ConnectionInfo(
        server=credentials.server,
        ca_path=credentials.ca_path,
        ca_data=credentials.ca_data,
        insecure=credentials.insecure,
        scheme=credentials.scheme,
        token=credentials.token,
        certificate_path=credentials.certificate_path,
        private_key_path=credentials.private_key_path,
        proxy_url=credentials.proxy_url,
    )
