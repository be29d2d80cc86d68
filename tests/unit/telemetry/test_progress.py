"""Progress: what must go on is stalled only past the bound, and is named; the health endpoint says so."""

import aiohttp

from vllm_operator.telemetry.progress import Heartbeat, Progress
from vllm_operator.telemetry.server import Health, serve


def test_a_standby_never_stalls() -> None:
    assert Progress().stalled() == ""


def test_what_stalls_is_named_and_goes_on_again() -> None:
    now = 0.0
    watch = Heartbeat(clock=lambda: now)
    progress = Progress(bound_seconds=150)
    progress.follow("the watch of pods", watch.age)
    progress.follow("the probes", lambda: 0.0)
    now = 149.0
    assert progress.stalled() == ""
    now = 151.0
    assert progress.stalled() == "no progress of the watch of pods for 151 s"
    watch.made()
    assert progress.stalled() == ""


async def test_healthz_and_readyz_say_what_is_stalled() -> None:
    said = ""
    health = Health(ready=True, stalled=lambda: said)
    async with serve(health, 0) as port, aiohttp.ClientSession() as client:

        async def ask(path: str) -> tuple[int, str]:
            async with client.get(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status, await answer.text()

        assert await ask("/healthz") == (200, "ok\n")
        said = "no progress of the watch of pods for 151 s"
        assert await ask("/healthz") == (503, f"{said}\n")
        assert (await ask("/readyz"))[0] == 503
