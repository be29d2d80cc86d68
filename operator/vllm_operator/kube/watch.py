"""One watch of one kind: a request whose answer tells of changes until the server, or silence, ends it."""

import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import aiohttp

from vllm_operator.kube.client import KubeClient
from vllm_operator.kube.decoding import decode
from vllm_operator.kube.errors import ApiError, status_of
from vllm_operator.kube.resources import Resource

#: Bookmarks come each minute from a server that is well; a connection that says nothing for longer is dead.
_SILENCE_SECONDS: Final = 75.0
#: The server ends a watch by itself after this long, so that many do not end at once.
_LEAST_SECONDS, _MOST_SECONDS = 300, 600


class Event(NamedTuple):
    """One change: `type` is ADDED, MODIFIED, DELETED or BOOKMARK (whose object has only a version)."""

    type: str
    object: dict[str, Any]


@contextlib.asynccontextmanager
async def watch(
    client: KubeClient, resource: Resource, namespace: str | None, *, version: str, label_selector: str
) -> AsyncIterator[AsyncIterator[Event]]:
    """The changes since `version`, once the server has begun to tell them.

    Raises ApiError: what the server answered instead, or said in the stream (an ERROR event's code), and with
    status 0 where the connection broke or fell silent. The events end when the server ends the watch.
    """
    seconds = random.randint(_LEAST_SECONDS, _MOST_SECONDS)  # noqa: S311 - spreads load
    query = {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": version,
        "labelSelector": label_selector,
        "timeoutSeconds": str(seconds),
    }
    path = resource.path(namespace)
    attempted = f"WATCH {path}"
    with _broken(attempted):
        answer = await client.stream(f"{path}?{urlencode(query)}", _SILENCE_SECONDS)
    try:
        if answer.status != 200:
            with _broken(attempted):
                payload = await answer.read()
            raise ApiError(attempted, answer.status, status_of(payload), answer.headers)
        yield _events(answer, resource, attempted)
    finally:
        answer.close()


async def _events(answer: aiohttp.ClientResponse, resource: Resource, attempted: str) -> AsyncIterator[Event]:
    with _broken(attempted):
        async for line in _lines(answer):
            yield _event(line, resource, attempted)


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Of any length: as JSON an object may be six times as long as what etcd holds; aiohttp bounds lines."""
    line: list[bytes] = []
    async for chunk in answer.content.iter_any():
        first, *others = chunk.split(b"\n")
        line.append(first)
        for start in others:
            yield b"".join(line)
            line = [start]
    if rest := b"".join(line):
        yield rest


@contextlib.contextmanager
def _broken(attempted: str) -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        why = "silent for too long" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        raise ApiError(attempted, 0, {"message": f"the connection broke: {why}"}) from error


def _event(line: bytes, resource: Resource, attempted: str) -> Event:
    raw = decode(line, attempted, 200)
    obj = raw["object"]
    if raw["type"] == "ERROR":
        raise ApiError(attempted, int(obj.get("code") or 500), obj)
    return Event(raw["type"], {"apiVersion": resource.api_version, "kind": resource.kind, **obj})
