"""The LoRA adapters a model offers, from multi_lora.json: whoever controls the files may change them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import log
from .engine import Engine, lora_request, one_line
from .errors import Kind, ModelInvalid, RequestFailed
from .frontends import Follower, Leader

FILE = "multi_lora.json"
_PERIOD_SECONDS = 1.0
_RETRY_SECONDS = 10.0
_HELD, _RELEASED = "adapter held", "adapter released"


def read_adapters(directory: Path) -> dict[str, str]:
    """Read the adapters' names and paths."""
    path = directory / FILE
    if not path.is_file():
        raise FileNotFoundError(f"Triton backend could not find {path}, which enable_lora needs.")
    return parse_adapters(path.read_text(encoding="utf-8"))


def parse_adapters(text: str) -> dict[str, str]:
    """Read the content of multi_lora.json."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ModelInvalid(f"{FILE} is not valid JSON: {error}.") from None
    if not isinstance(document, dict) or not all(
        isinstance(path, str) and path for path in document.values()
    ):
        raise ModelInvalid(f"{FILE} must hold a JSON object that gives each adapter's path by its name.")
    return document


class Adapter:
    """One adapter in the engine. A name whose path changes gets a new one, under a new number."""

    __slots__ = ("in_flight", "name", "number", "path", "request", "withdrawn")

    def __init__(self, name: str, path: str, number: int) -> None:
        self.name = name
        self.path = path
        self.number = number
        self.request = lora_request(name, number, path)
        self.in_flight = 0
        # No longer offered; it leaves the engine with its last request.
        self.withdrawn = False


class Adapters:
    """The adapters that requests may name. Belongs to the event loop's thread.

    Front ends that share an engine follow the same file, each at its own pace. An adapter has the same number
    in all of them, and the leader removes it from the engine when none holds it any more.
    """

    def __init__(self, engine: Engine, frontend: Leader | Follower, *, enabled: bool) -> None:
        self._engine = engine
        self._frontend = frontend
        self.enabled = enabled
        self._offered: dict[str, Adapter] = {}
        # Front ends by the adapter's number, once for each adapter of theirs with this number.
        self._holders: dict[int, list[int]] = {}
        self._removals: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        frontend.subscribe(_HELD, lambda index, n: loop.call_soon_threadsafe(self._hold, index, n))
        frontend.subscribe(_RELEASED, lambda index, n: loop.call_soon_threadsafe(self._release, index, n))

    def names(self) -> list[str]:
        """Return the names of the adapters on offer."""
        return list(self._offered)

    def acquire(self, name: str | None) -> Adapter | None:
        """Return the adapter that a request names, and count the request."""
        if name is None:
            return None
        if not self.enabled:
            raise RequestFailed(Kind.INVALID_ARG, "LoRA feature is not enabled.")
        adapter = self._offered.get(name)
        if adapter is None:
            raise RequestFailed(
                Kind.NOT_FOUND, f"LoRA {name} is not supported, we currently support {self.names()}"
            )
        adapter.in_flight += 1
        return adapter

    def release(self, adapter: Adapter) -> None:
        """Note that a request with this adapter has ended."""
        adapter.in_flight -= 1
        self._remove_if_unused(adapter)

    async def apply(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Offer exactly these adapters; return what could not be loaded, with the reason.

        A new adapter is loaded before it is offered; one that fails leaves what the name stood for before.
        """
        failed: dict[str, str] = {}
        for name, path in wanted.items():
            current = self._offered.get(name)
            if current is not None and current.path == path:
                continue
            adapter = Adapter(name, path, await asyncio.to_thread(_number, name, path))
            self._frontend.tell(_HELD, adapter.number)
            try:
                await self._engine.add_lora(adapter.request)
            except Exception as error:
                failed[name] = one_line(error)
                self._frontend.tell(_RELEASED, adapter.number)
                continue
            self._offered[name] = adapter
            if current is not None:
                self._withdraw(current)
        for name in [name for name in self._offered if name not in wanted]:
            self._withdraw(self._offered.pop(name))
        # In the order of the file: clients are told the names in it.
        self._offered = {name: self._offered[name] for name in wanted if name in self._offered}
        return failed

    def _withdraw(self, adapter: Adapter) -> None:
        adapter.withdrawn = True
        self._remove_if_unused(adapter)

    def _remove_if_unused(self, adapter: Adapter) -> None:
        if adapter.withdrawn and adapter.in_flight == 0:
            self._frontend.tell(_RELEASED, adapter.number)

    def _hold(self, index: int, number: int) -> None:
        self._holders.setdefault(number, []).append(index)

    def _release(self, index: int, number: int) -> None:
        holders = self._holders[number]
        holders.remove(index)
        if not holders and not self._engine.errored:
            del self._holders[number]
            task = asyncio.get_running_loop().create_task(self._remove(number))
            self._removals.add(task)
            task.add_done_callback(self._removals.discard)

    async def _remove(self, number: int) -> None:
        try:
            await self._engine.remove_lora(number)
        except Exception as error:
            log.warning(f"LoRA adapter {number} could not be unloaded: {one_line(error)}")


def _number(name: str, path: str) -> int:
    """Return an adapter's number in the engine: other files under the same path have another.

    Out of 2^31: that two adapters of a model meet is as good as impossible.
    """
    identity = [name, path]
    with contextlib.suppress(OSError):
        for file in sorted(Path(path).iterdir()):
            status = file.stat()
            identity.append(f"{file.name} {status.st_mtime_ns} {status.st_size}")
    digest = hashlib.sha256("\0".join(identity).encode()).digest()
    return 1 + int.from_bytes(digest[:4], "little") % 0x7FFFFFFF


async def follow(adapters: Adapters, directory: Path) -> None:
    """Keep the adapters on offer in step with the file; what is wrong in it changes nothing."""
    path = directory / FILE
    seen = await asyncio.to_thread(_stamp, path)
    retry_at: float | None = None
    clock = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(_PERIOD_SECONDS)
        stamp = await asyncio.to_thread(_stamp, path)
        if stamp is None or (stamp == seen and (retry_at is None or clock() < retry_at)):
            continue
        seen = stamp
        try:
            before = adapters.names()
            failed = await adapters.apply(await asyncio.to_thread(read_adapters, directory))
        except Exception as error:
            log.error(f"{FILE} is not applied: {one_line(error)}")
            retry_at = None
            continue
        for name, reason in failed.items():
            log.error(f"LoRA {name} could not be loaded: {reason}")
        retry_at = clock() + _RETRY_SECONDS if failed else None
        if adapters.names() != before:
            log.info(f"LoRA adapters on offer: {adapters.names()}")


def _stamp(path: Path) -> Any:
    """Return what changes with the file, also where a ConfigMap swaps a symbolic link."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
