"""One worker: takes a key, reconciles it, and decides when it comes again."""

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from vllm_operator.observed.store import Key
from vllm_operator.reconcile.errors import Bug, TransientError
from vllm_operator.reconcile.workqueue import WorkQueue
from vllm_operator.telemetry import logs, metrics

_log = logs.get("reconcile")


@dataclass(frozen=True, slots=True)
class Done:
    """Converged, or nothing to do until something changes: the next look is the resync's."""


@dataclass(frozen=True, slots=True)
class RequeueAfter:
    """Look again after some seconds, because no event will tell."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Gone:
    """The model does not exist any more."""


Outcome = Done | RequeueAfter | Gone


async def work(
    queue: WorkQueue[Key], reconcile: Callable[[Key], Awaitable[Outcome]], *, resync_seconds: float
) -> None:
    """Until the queue is closed. No failure of one model ends a worker."""
    while (key := await queue.get()) is not None:
        started = time.monotonic()
        log = _log.bind(model=str(key))
        result = "error"
        try:
            outcome = await reconcile(key)
        except TransientError as error:
            delay = queue.retry(key, throttled=error.throttled_seconds, outage=error.unanswering)
            log.warning("retry", problem=str(error), next_in_seconds=round(delay, 1))
        except Bug as error:
            result = "bug"
            delay = queue.retry(key)
            log.error("retry", problem=str(error), next_in_seconds=round(delay, 1))
        except Exception:
            result = "bug"
            delay = queue.retry(key)
            log.exception("bug in the operator, please report it", next_in_seconds=round(delay, 1))
        else:
            result = type(outcome).__name__.lower()
            again = _again_after(outcome, resync_seconds)
            queue.done(key, again_after=again)
            log.debug("finished", result=result, seconds=round(time.monotonic() - started, 3))
        finally:
            metrics.RECONCILES.labels(result).inc()
            metrics.RECONCILE_SECONDS.observe(time.monotonic() - started)


def _again_after(outcome: Outcome, resync_seconds: float) -> float | None:
    match outcome:
        case RequeueAfter(seconds):
            return seconds
        case Done():
            return resync_seconds * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load
        case Gone():
            return None
