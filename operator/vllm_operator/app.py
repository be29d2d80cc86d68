"""The composition root: what runs, in which order it starts and, in reverse, ends."""

import asyncio
import contextlib
import os
import signal
import socket
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from vllm_operator.api.meta import KIND, PLURAL
from vllm_operator.informer.informers import Informers
from vllm_operator.kube.apply import Applier
from vllm_operator.kube.client import KubeClient
from vllm_operator.kube.credentials import CannotConnect
from vllm_operator.kube.errors import ApiError
from vllm_operator.kube.lease import Lease
from vllm_operator.observed.store import Key, ObservedStore
from vllm_operator.probe.prober import Prober
from vllm_operator.reconcile.children import Children
from vllm_operator.reconcile.events import EventPoster
from vllm_operator.reconcile.reconciler import Reconciler
from vllm_operator.reconcile.worker import work
from vllm_operator.reconcile.workqueue import WorkQueue
from vllm_operator.settings import Settings
from vllm_operator.telemetry import logs, metrics
from vllm_operator.telemetry.progress import Progress, since
from vllm_operator.telemetry.server import Health, serve
from vllm_operator.watch.unit import KopfHangs, Unit

_log = logs.get("app")


#: Ends of the process whose message says it all: no API server, no right, a watch that hangs, a taken port.
EXPECTED_FAILURES = (ApiError, CannotConnect, KopfHangs, OSError)
#: From the first word of an end to the end, whatever hangs: the kubelet's default grace period.
_END_SECONDS = 30.0


async def run(settings: Settings) -> None:
    """Serve health, wait for the lease, operate until SIGTERM or SIGINT; any task that fails ends it all."""
    stop = asyncio.Event()
    _stop_on_signals(stop)
    progress = Progress()
    health = Health(stalled=progress.stalled)
    async with serve(health, settings.http_port) as port, _background(health.beat()):
        _log.info("serving health and metrics", port=port)
        async with _lease(settings) as lease:
            health.ready = True  # a standby is ready
            if not await _unless_stopped(stop, lease.acquire()):
                return
            metrics.LEADER.set(1)
            _log.info("leading", identity=lease.identity)
            try:
                async with _background(lease.keep(progress.stalled)):
                    await _operate(settings, lease, stop, progress)
            finally:
                metrics.LEADER.set(0)
                await lease.release()


async def _operate(settings: Settings, lease: Lease, stop: asyncio.Event, progress: Progress) -> None:
    """Everything that only the leader does. Ends in this order: work, probes, watches, connections."""
    timeout = settings.request_timeout_seconds
    async with (
        _client(timeout, lease.fence) as client,
        _client(timeout, lease.fence, connections=0) as watching,
    ):
        queue: WorkQueue[Key] = WorkQueue(
            on_wait=metrics.QUEUE_SECONDS.observe,
            on_retry=metrics.QUEUE_RETRIES.inc,
            answered=lambda: client.writes_answered,
        )
        metrics.measure_depth(queue.depth)
        store = ObservedStore()
        prober = Prober(enqueue=queue.add, concurrency=settings.probe_concurrency)
        progress.follow("the probes", since(prober.last_attempt_ended))
        reconciler = Reconciler(
            client=client,
            store=store,
            children=Children(Applier(client), store),
            probes=prober,
            settings=settings,
            leading_since=datetime.now(UTC),
            inherited_until=lease.predecessor_until(),
            events=EventPoster(client, lease.identity),
        )
        try:
            async with asyncio.TaskGroup() as group:
                workers = [
                    group.create_task(
                        work(queue, reconciler.reconcile, resync_seconds=settings.resync_seconds)
                    )
                    for _ in range(settings.workers)
                ]
                watches = _watch(group, settings.namespaces, watching, store, queue, stop, progress)
                try:
                    await stop.wait()
                finally:
                    _end_process_within(_END_SECONDS)  # also where a task has failed: the others may hang
                _log.info("stopping")
                queue.close()
                await asyncio.wait(workers, timeout=timeout)
                await prober.close()
                for task in (*watches, *workers):
                    task.cancel()
        finally:
            queue.close()
            await prober.close()


def _watch(
    group: asyncio.TaskGroup,
    namespaces: Sequence[str],
    client: KubeClient,
    store: ObservedStore,
    queue: WorkQueue[Key],
    stop: asyncio.Event,
    progress: Progress,
) -> list[asyncio.Task[None]]:
    """In each namespace by itself: an informer for each kind of children, and kopf for the VLLMModels."""

    def enqueue(key: Key, delay: float = 0) -> None:
        queue.add(key, after=delay)

    scopes: tuple[str | None, ...] = tuple(namespaces) or (None,)
    informers = Informers(client=client, store=store, enqueue=enqueue, namespaces=scopes, progress=progress)
    tasks = [group.create_task(informers.run())]
    for scope in scopes:
        unit = Unit(
            client=client,
            store=store,
            namespace=scope,
            enqueue=enqueue,
            listed=partial(informers.listed, scope),
            spawned=partial(_stop_on_signals, stop),  # or kopf would end first, not last
        )
        progress.follow(f"the watch of {PLURAL}{f' in {scope}' if scope else ''}", unit.heartbeat.age)
        metrics.measure_watch(KIND, scope or "", unit.heartbeat.age)
        tasks.append(group.create_task(unit.run()))
    return tasks


def _end_process_within(seconds: float) -> None:
    """A thread's doing: an event loop that waits for a task that hangs ends nothing."""

    def end() -> None:
        _log.critical("did not end by itself, ending at once", seconds=seconds)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


@contextlib.asynccontextmanager
async def _client(
    timeout_seconds: float, fence: Callable[[], None], *, connections: int = 64
) -> AsyncIterator[KubeClient]:
    client = await KubeClient.connect(timeout_seconds=timeout_seconds, fence=fence, connections=connections)
    try:
        yield client
    finally:
        await client.close()


def _stop_on_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


@contextlib.asynccontextmanager
async def _lease(settings: Settings) -> AsyncIterator[Lease]:
    """The lease over a client of its own: unfenced, and with a timeout that leaves room for another try."""
    timeout = settings.lease_retry_period_seconds * 1.5
    client = await KubeClient.connect(timeout_seconds=timeout, patience_seconds=timeout)
    try:
        yield Lease(
            client=client,
            namespace=settings.lease_namespace or client.namespace,
            name=settings.lease_name,
            identity=settings.pod_name or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}",
            duration_seconds=settings.lease_duration_seconds,
            renew_deadline_seconds=settings.lease_renew_deadline_seconds,
            retry_period_seconds=settings.lease_retry_period_seconds,
        )
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def _background(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run beside the block; an error in either ends the other."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(coroutine)
        try:
            yield
        finally:
            task.cancel()


async def _unless_stopped(stop: asyncio.Event, coroutine: Coroutine[Any, Any, None]) -> bool:
    """Await the coroutine; False, and it is cancelled, when the stop comes first."""
    task, stopped = asyncio.ensure_future(coroutine), asyncio.ensure_future(stop.wait())
    await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        stopped.cancel()
        await task
        return True
    task.cancel()
    await asyncio.wait((task,))
    return False
