"""kopf for the VLLMModels of one namespace, or of the whole cluster. It fails, and starts anew, by itself."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final

import kopf
from yarl import URL

from vllm_operator.kube.client import KubeClient
from vllm_operator.kube.errors import ApiError
from vllm_operator.kube.resources import VLLM_MODELS
from vllm_operator.kube.retry import seconds_until_rewatch
from vllm_operator.observed.store import Key, ObservedStore
from vllm_operator.telemetry import logs, metrics
from vllm_operator.telemetry.progress import Heartbeat
from vllm_operator.watch import configure, handlers
from vllm_operator.watch.session import session

_log = logs.get("watch")

#: A unit that ran for longer than this starts anew at once.
_LONG_SECONDS: Final = 60.0
#: kopf's own watchers take 2 s to end, and 10 s where they hang.
_END_SECONDS: Final = 15.0
#: From the end of kopf's list until each of its objects has surely come through a handler.
_SETTLE_SECONDS: Final = 10.0


class KopfHangs(Exception):
    """Tasks of kopf's that were told to end did not; only the end of the process ends them."""


@dataclass(slots=True)
class Unit:
    """`listed` returns when the models' children are known; before that nothing is told of any model."""

    client: KubeClient
    store: ObservedStore
    namespace: str | None
    enqueue: Callable[[Key], None]
    listed: Callable[[], Awaitable[None]]
    spawned: Callable[[], None]
    """Called after each start of kopf, which takes the process's signals for itself."""
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    _untold: set[Key] = field(default_factory=set)
    """Models that no event has told of since kopf began its list."""
    _doubting: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """For ever; raises KopfHangs."""
        await self._wait_for_children()
        failures = 0
        while True:
            began = asyncio.get_running_loop().time()
            try:
                # kopf looks for the definition once, and would watch nothing for ever where it is not served.
                await self.client.page(VLLM_MODELS, self.namespace, limit=1)
                self.heartbeat.made()
                problem, retry_after = await self._run_kopf(), 0.0
            except ApiError as error:
                problem, retry_after = str(error), error.throttled_seconds or 0.0
                if error.status not in (0, 401):
                    self.heartbeat.made()
            except (KopfHangs, asyncio.CancelledError):
                raise
            except Exception as error:
                # No heartbeat: if it goes on like this the process ends. It must not end for one answer.
                problem, retry_after = repr(error), 0.0
                _log.exception("bug in the operator, please report it", kind=VLLM_MODELS.kind,
                               namespace=self.namespace)  # fmt: skip
            ran = asyncio.get_running_loop().time() - began
            failures = 1 if ran > _LONG_SECONDS else failures + 1
            delay = max(seconds_until_rewatch(failures), retry_after)
            metrics.WATCH_FAILURES.labels(VLLM_MODELS.kind, self.namespace or "").inc()
            _log.warning("watch of VLLMModels ended, starting it anew", namespace=self.namespace,
                         problem=problem, next_in_seconds=round(delay, 1))  # fmt: skip
            await asyncio.sleep(delay)

    async def _wait_for_children(self) -> None:
        """While they are listed, or refused, it is they who must show progress."""
        waiting = asyncio.ensure_future(self.listed())
        try:
            while not waiting.done():
                await asyncio.wait((waiting,), timeout=1)
                self.heartbeat.made()
        finally:
            waiting.cancel()

    async def _run_kopf(self) -> str:
        """Until any task of kopf's ends, as none should; returns why. Never `kopf.run_tasks`: when one of its
        tasks has ended it waits, without limit, for others which wait for that one."""
        tasks = await kopf.spawn_tasks(
            registry=handlers.registry(
                store=self.store, seen=self._untold.discard, changed=self.enqueue, login=self._log_in
            ),
            settings=configure.settings(),
            clusterwide=self.namespace is None,
            namespaces=() if self.namespace is None else (self.namespace,),
            standalone=True,
        )
        self.spawned()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end(tasks)
        return "; ".join(_outcome(task) for task in done)

    async def _log_in(self) -> kopf.AiohttpSession:
        return session(await self.client.credentials(), self._answered)

    def _answered(self, url: URL, status: int) -> None:
        """Each answer to kopf is progress. A list is also a promise: who is not in it is gone.

        kopf keeps nothing to compare a list with, so it tells of no deletion that it missed.
        """
        if status != 401:  # whom the server does not know, another replica may do better than
            self.heartbeat.made()
        if not url.path.endswith(f"/{VLLM_MODELS.plural}"):
            return
        if "watch" in url.query:  # whatever its answer, the list before it is over
            if self._untold and not self._doubting:
                loop = asyncio.get_running_loop()
                self._doubting = loop.call_later(_SETTLE_SECONDS, self._doubt)
        elif status == 200 and "continue" not in url.query:
            if self._doubting:  # of the list before; this one tells more
                self._doubting.cancel()
                self._doubting = None
            known = self.store.models()
            self._untold.clear()
            self._untold.update(key for key in known if self.namespace in (None, key.namespace))

    def _doubt(self) -> None:
        """Of models that a list did not tell of the API server is asked one by one."""
        untold = list(self._untold)
        self._untold.clear()
        self._doubting = None
        for key in untold:
            self.store.forget_model(key)
            self.enqueue(key)


async def _end(tasks: Collection[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    _, hung = await asyncio.wait(tasks, timeout=_END_SECONDS)
    if hung:
        raise KopfHangs(f"kopf did not end: {', '.join(sorted(task.get_name() for task in hung))}")


def _outcome(task: asyncio.Task[Any]) -> str:
    error = None if task.cancelled() else task.exception()
    return f"{task.get_name()}: {error!r}" if error else f"{task.get_name()} ended"
