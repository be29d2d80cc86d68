"""The composition root: what runs, in which order it starts and, in reverse, ends."""

import asyncio
import contextlib
import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime
from typing import Any

import kopf

from vllm_operator.kube.apply import Applier
from vllm_operator.kube.client import ApiError, KubeClient
from vllm_operator.kube.credentials import CannotConnect
from vllm_operator.kube.lease import Lease
from vllm_operator.observed.store import Key, ObservedStore
from vllm_operator.probe.prober import Prober
from vllm_operator.reconcile.events import EventPoster
from vllm_operator.reconcile.reconciler import Reconciler
from vllm_operator.reconcile.resync import Resync
from vllm_operator.reconcile.worker import work
from vllm_operator.reconcile.workqueue import WorkQueue
from vllm_operator.settings import Settings
from vllm_operator.telemetry import logs, metrics
from vllm_operator.telemetry.server import Health, serve
from vllm_operator.watch import configure, handlers

_log = logs.get("app")


class WatchesEnded(Exception):
    """A watch was lost for good; the kubelet's restart is the way back."""


#: Ends of the process whose message says it all: no API server, no right, no CRD, a port that is taken.
EXPECTED_FAILURES = (ApiError, CannotConnect, WatchesEnded, OSError)


async def run(settings: Settings) -> None:
    """Serve health, wait for the lease, operate until SIGTERM or SIGINT; any task that fails ends it all."""
    stop = asyncio.Event()
    _stop_on_signals(stop)
    health = Health()
    async with serve(health, settings.http_port) as port, _background(health.beat()):
        _log.info("serving health and metrics", port=port)
        async with _lease(settings) as lease:
            health.ready = True  # a standby is ready
            if not await _unless_stopped(stop, lease.acquire()):
                return
            metrics.LEADER.set(1)
            _log.info("leading", identity=lease.identity)
            try:
                async with _background(lease.keep()):
                    await _operate(settings, lease, stop)
            finally:
                metrics.LEADER.set(0)
                await lease.release()


async def _operate(settings: Settings, lease: Lease, stop: asyncio.Event) -> None:
    """Everything that only the leader does. Ends in this order: work, probes, watches, connections."""
    timeout = settings.request_timeout_seconds
    client = await KubeClient.connect(timeout_seconds=timeout, fence=lease.fence)
    queue: WorkQueue[Key] = WorkQueue(
        on_wait=metrics.QUEUE_SECONDS.observe, on_retry=metrics.QUEUE_RETRIES.inc
    )
    metrics.measure_depth(queue.depth)
    store = ObservedStore()
    prober = Prober(enqueue=queue.add, concurrency=settings.probe_concurrency)
    reconciler = Reconciler(
        client=client,
        store=store,
        applier=Applier(client),
        probes=prober,
        settings=settings,
        leading_since=datetime.now(UTC),
        inherited_until=lease.previous_renewal,
        events=EventPoster(client, lease.identity),
    )
    resync = Resync(client, store, queue.add, settings.namespaces, settings.resync_seconds)
    try:
        await resync.list_once()  # or the first statuses would be computed from half of the children
        stop_watching = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            workers = [
                group.create_task(work(queue, reconciler.reconcile, resync_seconds=settings.resync_seconds))
                for _ in range(settings.workers)
            ]
            listing = group.create_task(resync.run())
            group.create_task(_watch(settings, store, queue, client, stop, stop_watching))
            await stop.wait()
            _log.info("stopping")
            queue.close()
            await asyncio.wait(workers, timeout=timeout)
            listing.cancel()
            await prober.close()
            stop_watching.set()
            for worker in workers:
                worker.cancel()
    finally:
        queue.close()
        await prober.close()
        await client.close()


async def _watch(
    settings: Settings,
    store: ObservedStore,
    queue: WorkQueue[Key],
    client: KubeClient,
    stop: asyncio.Event,
    stop_watching: asyncio.Event,
) -> None:
    """kopf, embedded. It raises when a watch is lost for good; otherwise it ends only when told to."""
    ours = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=handlers.registry(
            store=store,
            enqueue=lambda key, delay: queue.add(key, after=delay),
            credentials=client.credentials,
        ),
        settings=configure.settings(),
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        standalone=True,
        stop_flag=stop_watching,
    )
    _stop_on_signals(stop)  # kopf has just taken the signals for itself: it would end first, not last
    await kopf.run_tasks(tasks, ignored=ours)
    if not stop_watching.is_set():
        raise WatchesEnded("the watches ended by themselves; the log above says why")


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
