"""All informers: one for each kind of children in each watched namespace, none of which can fail another."""

import asyncio
from collections.abc import Callable, Iterable

from vllm_operator.informer.informer import Informer
from vllm_operator.kube.client import KubeClient
from vllm_operator.kube.resources import CHILDREN
from vllm_operator.observed.store import Key, ObservedStore
from vllm_operator.telemetry import metrics
from vllm_operator.telemetry.progress import Progress

#: Children change in bursts (a Deployment, its ReplicaSet, its pods): one look for all of it.
_DELAY_SECONDS = 0.2


class Informers:
    """`enqueue` takes a model and the seconds to wait; None among `namespaces` is the whole cluster."""

    def __init__(
        self,
        *,
        client: KubeClient,
        store: ObservedStore,
        enqueue: Callable[[Key, float], None],
        namespaces: Iterable[str | None],
        progress: Progress,
    ) -> None:
        self._store = store
        self._enqueue = enqueue
        self._informers: dict[str | None, list[Informer]] = {}
        for namespace in namespaces:
            of_namespace = self._informers[namespace] = []
            for resource in CHILDREN:
                informer = Informer(
                    client,
                    store,
                    resource,
                    namespace,
                    changed=self._changed,
                    recovered=lambda namespace=namespace: self._changed(_within(store.models(), namespace)),  # type: ignore[misc]
                )
                of_namespace.append(informer)
                where = f" in {namespace}" if namespace else ""
                progress.follow(f"the watch of {resource.plural}{where}", informer.heartbeat.age)
                metrics.measure_watch(resource.kind, namespace or "", informer.heartbeat.age)

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            for informers in self._informers.values():
                for informer in informers:
                    group.create_task(informer.run())

    async def listed(self, namespace: str | None) -> None:
        """Return when all children of a namespace's models are known: before that none is looked at."""
        for informer in self._informers[namespace]:
            await informer.listed.wait()

    def _changed(self, keys: Iterable[Key]) -> None:
        """Only of models that are known: of the others their own watch tells, and then they are looked at."""
        for key in keys:
            if self._store.knows(key):
                self._enqueue(key, _DELAY_SECONDS)


def _within(keys: Iterable[Key], namespace: str | None) -> list[Key]:
    return [key for key in keys if namespace in (None, key.namespace)]
