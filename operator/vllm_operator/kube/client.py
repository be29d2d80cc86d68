"""Plain dicts to and from the API server: explicit timeouts, typed failures, a fence before each write."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration

from vllm_operator import __version__
from vllm_operator.kube.credentials import Credentials, current_credentials, load_credentials
from vllm_operator.kube.decoding import decode
from vllm_operator.kube.errors import ApiError, TooLarge, status_of
from vllm_operator.kube.resources import Resource, resource_of
from vllm_operator.kube.retry import seconds_until_retry
from vllm_operator.kube.transport import READS, FencedTransport
from vllm_operator.kube.yamltext import yaml_text
from vllm_operator.telemetry import metrics

#: Objects in a page of a list, and its size unless it has one object alone.
PAGE = 500
_PAGE_BYTES = 8 * 2**20
#: For one request, its tries and the waits between them: throttling that lasts longer is the queue's matter.
_PATIENCE_SECONDS = 30.0


def _no_fence() -> None:
    """For clients that write nothing but what guards itself (the Lease carries a resourceVersion)."""


class Page(NamedTuple):
    """Part of a list, the version of the snapshot it was read from, and the token of the next part if any."""

    items: list[dict[str, Any]]
    version: str
    token: str


class KubeClient:
    """A thin face over kubernetes.aio's ApiClient: its auth and TLS, none of its models.

    `fence` runs in the same step as the bytes of each write leave, at each try; it must not return when this
    process may no longer write. `timeout_seconds` is for one try. What is refused with "not now" is sent
    again as long as the next try would start within `patience_seconds`.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        namespace: str,
        timeout_seconds: float,
        fence: Callable[[], None] = _no_fence,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self.namespace = namespace
        self.writes_answered = 0
        """How many writes the API server has answered, be it with a refusal."""
        self._configuration = configuration
        self._timeout = timeout_seconds
        self._patience = patience_seconds
        self._api = ApiClient(configuration)
        self._api.user_agent = f"vllm-operator/{__version__}"
        self._api.rest_client = FencedTransport(configuration, timeout_seconds, fence)

    @classmethod
    async def connect(
        cls,
        *,
        timeout_seconds: float,
        fence: Callable[[], None] = _no_fence,
        patience_seconds: float = _PATIENCE_SECONDS,
        connections: int = 64,
    ) -> Self:
        """From KUBECONFIG, else from the pod's service account, else from ~/.kube/config.

        `connections` at once at most; 0: as many as are asked for, as watches keep theirs.
        """
        configuration = Configuration()
        configuration.tcp_connector_limit_per_host = connections
        configuration.connection_pool_maxsize = connections
        namespace = await load_credentials(configuration)
        return cls(
            configuration,
            namespace=namespace,
            timeout_seconds=timeout_seconds,
            fence=fence,
            patience_seconds=patience_seconds,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def credentials(self) -> Credentials:
        """The current credentials; a token is read anew when it is due."""
        return await current_credentials(self._configuration)

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """One object; ApiError.not_found when it is not there."""
        return await self._call("GET", resource, namespace, name)

    async def page(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = PAGE,
        token: str = "",
    ) -> Page:
        """Part of a list: the first, or the one that `token` stands for. Raises TooLarge if `limit` > 1."""
        query = {
            "limit": str(limit),
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "continue": token,
        }
        most_bytes = _PAGE_BYTES if limit > 1 else None
        answer = await self._call("GET", resource, namespace, query=query, most_bytes=most_bytes)
        # Members of a list come without these two.
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        metadata = answer["metadata"]
        items = [{**kind, **item} for item in answer["items"]]
        return Page(items, str(metadata["resourceVersion"]), str(metadata.get("continue") or ""))

    async def stream(self, target: str, silence_seconds: float) -> aiohttp.ClientResponse:
        """A GET whose answer, whatever its status, is there with its headers and has no end; close it.

        It is given up when nothing comes for `silence_seconds`. Raises aiohttp's errors as they are.
        """
        request = await self._api.param_serialize(
            "GET", target, header_params={"Accept": "application/json"}, auth_settings=["BearerToken"]
        )
        async with asyncio.timeout(3 * self._timeout):
            limits = aiohttp.ClientTimeout(total=None, sock_read=silence_seconds)
            answer = await self._api.call_api(*request, _request_timeout=limits)
        if answer.status == 401:
            await load_credentials(self._configuration)
        response: aiohttp.ClientResponse = answer.response
        return response

    async def create(self, obj: Mapping[str, Any], *, field_manager: str) -> dict[str, Any]:
        """POST: fails with ApiError.already_exists rather than touch what is there.

        Sent as YAML, of which JSON is a part: the server then writes a ControllerRevision's data in its own
        form. It compares those bytes at each later apply, and would call the form of our JSON another value.
        """
        return await self._call(
            "POST",
            resource_of(obj),
            obj["metadata"]["namespace"],
            query={"fieldManager": field_manager},
            body=yaml_text(obj),
            content_type="application/yaml",
        )

    async def apply(
        self, obj: Mapping[str, Any], *, field_manager: str, subresource: str = ""
    ) -> dict[str, Any]:
        """Server-side apply by force. Carry `metadata.uid`: without it an absent object would be created."""
        return await self._call(
            "PATCH",
            resource_of(obj),
            obj["metadata"]["namespace"],
            obj["metadata"]["name"],
            subresource,
            query={"fieldManager": field_manager, "force": "true"},
            body=yaml_text(obj),
            # With a parameter, or the client would write the body as JSON once more.
            content_type="application/apply-patch+yaml; charset=utf-8",
        )

    async def patch_json(
        self, live: Mapping[str, Any], operations: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """A JSON patch of the object `live` was read from."""
        metadata = live["metadata"]
        return await self._call(
            "PATCH",
            resource_of(live),
            metadata["namespace"],
            metadata["name"],
            body=list(operations),
            content_type="application/json-patch+json",
        )

    async def merge(self, obj: Mapping[str, Any], *, field_manager: str) -> dict[str, Any]:
        """A JSON merge patch: unlike an apply it replaces lists whole. Carry `metadata.uid`."""
        metadata = obj["metadata"]
        return await self._call(
            "PATCH",
            resource_of(obj),
            metadata["namespace"],
            metadata["name"],
            query={"fieldManager": field_manager},
            body=obj,
            content_type="application/merge-patch+json",
        )

    async def replace(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """PUT: with a resourceVersion in it, only over the version that was read."""
        metadata = obj["metadata"]
        return await self._call("PUT", resource_of(obj), metadata["namespace"], metadata["name"], body=obj)

    async def delete(self, live: Mapping[str, Any]) -> None:
        """Delete exactly the object that was seen, not one that has its name now."""
        metadata = live["metadata"]
        options = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": "Background",
            "preconditions": {"uid": metadata["uid"]},
        }
        await self._call("DELETE", resource_of(live), metadata["namespace"], metadata["name"], body=options)

    async def _call(
        self,
        method: str,
        resource: Resource,
        namespace: str | None,
        name: str = "",
        subresource: str = "",
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        most_bytes: int | None = None,
    ) -> dict[str, Any]:
        path = resource.path(namespace, name, subresource)
        attempted = f"{method} {path}"
        parameters = {key: value for key, value in (query or {}).items() if value}
        target = path + (f"?{urlencode(parameters)}" if parameters else "")
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._patience
        while True:
            try:
                return await self._send(method, resource, target, attempted, body, content_type, most_bytes)
            except ApiError as error:
                wait = seconds_until_retry(error.status, error.asked_wait, is_read=method in READS)
                if wait is None or clock() + wait > deadline:
                    raise
            await asyncio.sleep(wait)

    async def _send(
        self,
        method: str,
        resource: Resource,
        target: str,
        attempted: str,
        body: Any,
        content_type: str,
        most_bytes: int | None,
    ) -> dict[str, Any]:
        """One try."""
        status = 0
        try:
            request = await self._api.param_serialize(
                method,
                target,
                header_params={"Content-Type": content_type, "Accept": "application/json"},
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await self._api.call_api(
                *request, _request_timeout=aiohttp.ClientTimeout(total=self._timeout)
            )
            status = response.status
            payload = await _read(response.response, most_bytes)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = "timed out" if isinstance(error, TimeoutError) else str(error)
            raise ApiError(attempted, 0, {"message": reason}) from error
        finally:
            metrics.API_REQUESTS.labels(method, resource.kind, str(status)).inc()
        self.writes_answered += method not in READS and status < 500
        if payload is None:
            raise TooLarge(attempted, status, {"message": f"the answer has more than {most_bytes} bytes"})
        if status == 401:
            # A token from an exec plugin ran out; the queue tries again with the new one.
            await load_credentials(self._configuration)
        if not 200 <= status < 300:
            raise ApiError(attempted, status, status_of(payload), response.headers)
        return decode(payload, attempted, status)


async def _read(response: aiohttp.ClientResponse, most_bytes: int | None) -> bytes | None:
    """The body; None, and the connection is closed, where it is larger than that."""
    if most_bytes is None:
        return await response.read()
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most_bytes:
            response.close()
            return None
    return bytes(body)
