"""The lease of a leader that does not get on: it is not renewed, and the process ends within the deadline."""

import asyncio
import time
from typing import Any, cast

from vllm_operator.kube.client import KubeClient
from vllm_operator.kube.lease import Lease


class Ended(Exception):
    """In the place of the process's end."""


class Client:
    """Takes every write and counts them."""

    def __init__(self) -> None:
        self.writes = 0
        self.renewed = asyncio.Event()

    async def create(self, obj: dict[str, Any], *, field_manager: str) -> dict[str, Any]:
        return obj

    async def replace(self, obj: dict[str, Any]) -> dict[str, Any]:
        self.writes += 1
        self.renewed.set()
        return obj


def _end(why: str) -> None:
    raise Ended(why)


async def test_nothing_is_renewed_while_something_stalls() -> None:
    client, said = Client(), ""
    lease = Lease(cast(KubeClient, client), "ns", "lease", "me", 1.5, 1.0, 0.05, end_process=_end)
    await lease._write(None)
    keeping = asyncio.create_task(lease.keep(lambda: said))
    await client.renewed.wait()
    said = "no progress of the watch of pods for 151 s"
    await asyncio.sleep(0.1)
    writes, began = client.writes, time.monotonic()
    done, _ = await asyncio.wait((keeping,), timeout=5)
    assert done
    assert isinstance(keeping.exception(), Ended)
    assert time.monotonic() - began < 1.5
    assert client.writes == writes
