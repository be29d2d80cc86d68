"""One kind of children in one namespace, listed and then watched into the store, whatever goes wrong."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from vllm_operator.api.meta import MODEL_LABEL
from vllm_operator.kube.client import KubeClient
from vllm_operator.kube.errors import ApiError
from vllm_operator.kube.listing import pages
from vllm_operator.kube.resources import Resource, describe
from vllm_operator.kube.retry import seconds_until_rewatch
from vllm_operator.kube.watch import Event, watch
from vllm_operator.observed.store import Key, ObservedStore
from vllm_operator.telemetry import lateness, logs, metrics
from vllm_operator.telemetry.progress import Heartbeat

_log = logs.get("informer")

#: A sick server is not asked for whole lists at once: that often the watch is tried again from where it was.
_REWATCHES: Final = 3
#: A watch that ends sooner, without an event, was no success.
_SHORT_SECONDS: Final = 5.0


@dataclass(slots=True)
class Informer:
    """Runs for ever and lets nothing out but cancellation: its failures are its own, told in the log.

    What could not be listed is not gone: the store keeps it until a list says otherwise.
    """

    client: KubeClient
    store: ObservedStore
    resource: Resource
    namespace: str | None
    changed: Callable[[Iterable[Key]], None]
    """Told of the models for which there is news."""
    recovered: Callable[[], None]
    """Called when it may watch again after a refusal."""
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    listed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set for good after the first complete list."""
    _version: str = ""
    """Where to go on watching; empty: list first."""
    _newest: int = 0
    """The newest version told; an older one comes only after the cluster went back to a backup."""
    _failures: int = 0
    _refused: bool = False

    async def run(self) -> None:
        """List and watch for ever."""
        while True:
            try:
                if not self._version:
                    await self._list()
                delay = 0.0 if await self._watch() else self._back_off()
            except ApiError as error:
                delay = self._failed(error)
            except Exception:
                # No heartbeat: if it goes on like this the process ends.
                self._version, delay = "", self._back_off()
                _log.exception("bug in the operator, please report it", kind=self.resource.kind,
                               namespace=self.namespace, next_in_seconds=round(delay, 1))  # fmt: skip
            await asyncio.sleep(delay)

    async def _list(self) -> None:
        """Page by page into the store; at the end what was not listed goes, all at once."""
        names: set[tuple[str, str]] = set()
        version = ""
        async for page in pages(self.client, self.resource, self.namespace, label_selector=MODEL_LABEL):
            self.heartbeat.made()
            if not version and int(page.version) < self._newest:
                _log.warning("the cluster went back in time", kind=self.resource.kind,
                             namespace=self.namespace, version=page.version)  # fmt: skip
                self.store.rewind(self.resource.kind, self.namespace)
            version = page.version
            for item in page.items:
                names.add((item["metadata"]["namespace"], item["metadata"]["name"]))
                self._put(item)
        self.changed(self.store.retain(self.resource.kind, self.namespace, names, version))
        self._version, self._newest = version, int(version)
        self.listed.set()

    async def _watch(self) -> bool:
        """Until the server ends it, in good order; False where it did so at once and without a word."""
        began, told = time.monotonic(), False
        async with watch(
            self.client, self.resource, self.namespace, version=self._version, label_selector=MODEL_LABEL
        ) as events:
            self.heartbeat.made()
            self._allowed()
            async for event in events:
                self._take(event)
                told = True
                self._failures = 0
        return told or time.monotonic() - began > _SHORT_SECONDS

    def _take(self, event: Event) -> None:
        self.heartbeat.made()
        self._version = event.object["metadata"]["resourceVersion"]
        self._newest = int(self._version)
        if event.type == "BOOKMARK":
            return
        metrics.WATCH_LAST_EVENT.labels(self.resource.kind).set(time.time())
        if event.type == "DELETED":
            self.changed(self.store.discard(event.object))
            return
        self._put(event.object)
        lateness.note(event.object)

    def _put(self, obj: dict[str, Any]) -> None:
        """One object that the store cannot take must not keep all others from it."""
        try:
            news = self.store.put(obj)
        except Exception:
            _log.exception("bug in the operator, please report it", object=describe(obj))
        else:
            self.changed(news)

    def _allowed(self) -> None:
        refused, self._refused = self._refused, False
        if refused:
            _log.info("allowed again", kind=self.resource.kind, namespace=self.namespace)
            self.recovered()

    def _failed(self, error: ApiError) -> float:
        """Decide where to go on, and say so; returns the seconds to wait."""
        if error.status not in (0, 401):
            self.heartbeat.made()  # the server answered, and would answer anybody else so
        delay = max(self._back_off(), error.throttled_seconds or 0.0)
        sick = error.status == 429 or error.status >= 500
        if error.status and not (sick and self._failures <= _REWATCHES):
            self._version = ""  # expired, refused, or never going to work from there: list anew
        if error.status == 410 and self._failures == 1:
            _log.info("watch expired, listing anew", kind=self.resource.kind, namespace=self.namespace)
            return 0.0
        self._refused |= error.status in (403, 404)
        metrics.WATCH_FAILURES.labels(self.resource.kind, self.namespace or "").inc()
        _log.warning("list or watch failed", kind=self.resource.kind, namespace=self.namespace,
                     problem=str(error), next_in_seconds=round(delay, 1))  # fmt: skip
        return delay

    def _back_off(self) -> float:
        self._failures += 1
        return seconds_until_rewatch(self._failures)
