"""The operator's own HTTP endpoint: /healthz, /readyz and /metrics. It never asks the API server anything."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from aiohttp import web

from vllm_operator.telemetry import metrics

_BEAT_SECONDS = 1.0
_STALL_SECONDS = 10.0


@dataclass(slots=True)
class Health:
    """What the process knows of itself. A standby is ready: it must not hold up a rolling update."""

    ready: bool = False
    stalled: Callable[[], str] = str
    """What of the leader's work does not get on, empty while all does."""
    _beat: float = field(default_factory=time.monotonic)

    async def beat(self) -> None:
        """Runs for ever; as long as it does, the event loop turns."""
        while True:
            self._beat = time.monotonic()
            await asyncio.sleep(_BEAT_SECONDS)

    def problem(self) -> str:
        """Why the process should be started anew, empty while it need not be."""
        if time.monotonic() - self._beat >= _STALL_SECONDS:
            return "event loop stalled"
        return self.stalled()


@contextlib.asynccontextmanager
async def serve(health: Health, port: int) -> AsyncIterator[int]:
    """Serve until the block is left; yields the port (one is chosen where 0 is given)."""

    async def healthz(_: web.Request) -> web.Response:
        return _answer(health.problem())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(health.problem() or ("" if health.ready else "starting"))

    async def exposition(_: web.Request) -> web.Response:
        return web.Response(
            body=metrics.exposition(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", exposition)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        # A port that the system chooses differs between IPv4 and IPv6, so it is one loopback address then.
        site = web.TCPSite(runner, None if port else "127.0.0.1", port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _answer(problem: str) -> web.Response:
    return web.Response(status=503 if problem else 200, text=f"{problem or 'ok'}\n")
