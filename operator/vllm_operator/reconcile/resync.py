"""The whole truth by LIST, at start and every resync period: a watch can lose a deletion, a list cannot."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from vllm_operator.api.meta import MODEL_LABEL
from vllm_operator.kube.client import ApiError, KubeClient
from vllm_operator.kube.resources import CHILDREN, VLLM_MODELS
from vllm_operator.observed.store import Key, ObservedStore
from vllm_operator.telemetry import logs

_log = logs.get("reconcile.resync")

#: What is deleted between the first list here and the watches' own is told by neither.
_SETTLE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Resync:
    """Lists every watched kind into the store and enqueues the models for which that was news."""

    client: KubeClient
    store: ObservedStore
    enqueue: Callable[[Key], None]
    namespaces: tuple[str, ...]
    period_seconds: float

    async def list_once(self) -> None:
        """Fill the store. The children first: a model is never looked at without its children."""
        for resource in (*CHILDREN, VLLM_MODELS):
            selector = "" if resource is VLLM_MODELS else MODEL_LABEL
            for namespace in self.namespaces or (None,):
                items, version = await self.client.list(resource, namespace, label_selector=selector)
                for key in self.store.replace(resource.kind, namespace, items, version):
                    self.enqueue(key)

    async def run(self) -> None:
        """For ever. First until the watches have told of all that the list before them held."""
        untold = self.store.unwatched()
        while untold:
            await self._list_after(_SETTLE_SECONDS)
            untold &= self.store.unwatched()
        while True:
            await self._list_after(self.period_seconds * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load

    async def _list_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        try:
            await self.list_once()
        except ApiError as error:
            _log.warning("resync failed, the watches go on", problem=str(error))
