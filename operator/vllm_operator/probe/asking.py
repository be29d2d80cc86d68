"""Runs probes in a thread of their own: a busy event loop must not make healthy pods miss their deadlines."""

import asyncio
import threading
import time

from vllm_operator.observed.state import ProbeVerdict
from vllm_operator.observed.target import ProbeTarget
from vllm_operator.probe import triton
from vllm_operator.probe.outcome import Outcome

#: For what a probe does outside its deadline; past it the probe is cut.
_GRACE_SECONDS = 5.0
_JOIN_SECONDS = 5.0


class ProbeThread:
    """One thread with an event loop, in which all probes run.

    It also tells what probing costs: in the operator, all threads but the main one are this one and gRPC's.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="probes", daemon=True)
        self._thread.start()

    async def ask(self, target: ProbeTarget, *, embed: bool, suspect: bool, check: bool) -> Outcome:
        """One probe; cancelling it ends it in the thread, too."""
        question = _bounded(target, embed=embed, suspect=suspect, check=check)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(question, self._loop))

    def close(self) -> None:
        """End the thread; probes under way are dropped."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


def limit_seconds(target: ProbeTarget) -> float:
    """The longest that a probe takes while the thread is well."""
    return triton.deadline_seconds(target) + _GRACE_SECONDS


def other_threads_cpu() -> float:
    """CPU seconds of all threads of the process but the calling one."""
    return time.process_time() - time.thread_time()


async def _bounded(target: ProbeTarget, *, embed: bool, suspect: bool, check: bool) -> Outcome:
    try:
        async with asyncio.timeout(limit_seconds(target)):
            return await triton.probe(target, embed=embed, suspect=suspect, check=check)
    except TimeoutError:
        return Outcome(ProbeVerdict.TIMEOUT, f"no answer within {triton.deadline_seconds(target):g} s")
