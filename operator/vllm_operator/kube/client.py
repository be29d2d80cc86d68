"""Plain dicts to and from the API server: explicit timeouts, typed failures, a fence before each write."""

import json
import os
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.rest import RESTClientObject

from vllm_operator import __version__
from vllm_operator.kube.resources import Resource, resource_of
from vllm_operator.kube.yamltext import yaml_text
from vllm_operator.telemetry import metrics

_PAGE = 500
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"


class ApiError(Exception):
    """The API server refused a request (`status` is the HTTP code) or could not be asked (`status` 0)."""

    def __init__(self, attempted: str, status: int, body: Mapping[str, Any] | None = None) -> None:
        body = body or {}
        self.attempted = attempted
        self.status = status
        self.reason = str(body.get("reason") or "")
        self.message = str(body.get("message") or "")
        details = body.get("details") or {}
        self.causes: tuple[str, ...] = tuple(
            str(cause.get("reason") or "") for cause in details.get("causes") or ()
        )
        self.retry_after = float(details.get("retryAfterSeconds") or 0)
        super().__init__(f"{attempted}: {status or 'no answer'} {self.reason} {self.message}".strip())

    @property
    def not_found(self) -> bool:
        """The object, or its namespace, is not there."""
        return self.status == 404

    @property
    def already_exists(self) -> bool:
        """A create met an object of that name."""
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def namespace_terminating(self) -> bool:
        """Nothing can be created any more: the namespace is going away."""
        return self.status == 403 and "NamespaceTerminating" in self.causes

    @property
    def invalid(self) -> bool:
        """The object as sent can never be accepted."""
        return self.status in (400, 422)


class CannotConnect(Exception):
    """There is neither a service account nor a usable kubeconfig."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach the API server, for other clients (the watch layer has its own)."""

    server: str
    ca_path: str | None
    ca_data: str | bytes | None
    insecure: bool
    scheme: str | None
    token: str | None
    certificate_path: str | None
    private_key_path: str | None
    proxy_url: str | None


def _no_fence() -> None:
    """For clients that write nothing but what guards itself (the Lease carries a resourceVersion)."""


class KubeClient:
    """A thin face over kubernetes.aio's ApiClient: its auth and TLS, none of its models.

    `fence` runs in the same step as the bytes of each write leave; it must not return when this process
    may no longer write.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        namespace: str,
        timeout_seconds: float,
        fence: Callable[[], None] = _no_fence,
    ) -> None:
        self.namespace = namespace
        self._configuration = configuration
        self._timeout = timeout_seconds
        self._api = ApiClient(configuration)
        self._api.user_agent = f"vllm-operator/{__version__}"
        self._api.rest_client = _FencedTransport(configuration, timeout_seconds, fence)

    @classmethod
    async def connect(cls, *, timeout_seconds: float, fence: Callable[[], None] = _no_fence) -> Self:
        """From KUBECONFIG, else from the pod's service account, else from ~/.kube/config."""
        configuration = Configuration()
        configuration.tcp_connector_limit_per_host = 64
        namespace = await _load(configuration)
        return cls(configuration, namespace=namespace, timeout_seconds=timeout_seconds, fence=fence)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def credentials(self) -> Credentials:
        """The current credentials; a token is read anew when it is due."""
        configuration = self._configuration
        authorization = str(await configuration.get_api_key_with_prefix("BearerToken") or "")
        scheme, _, token = authorization.rpartition(" ")
        return Credentials(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            ca_data=configuration.ca_cert_data,
            insecure=not configuration.verify_ssl,
            scheme=scheme.capitalize() or None,
            token=token or None,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            proxy_url=configuration.proxy,
        )

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """One object; ApiError.not_found when it is not there."""
        return await self._call("GET", resource, namespace, name)

    async def list(
        self, resource: Resource, namespace: str | None = None, *, label_selector: str = ""
    ) -> tuple[list[dict[str, Any]], str]:
        """All objects, read in pages from one snapshot, and that snapshot's resourceVersion."""
        items: list[dict[str, Any]] = []
        query: dict[str, str] = {"limit": str(_PAGE), "labelSelector": label_selector}
        while True:
            page = await self._call("GET", resource, namespace, query=query)
            for item in page["items"]:
                # Members of a list come without these two.
                items.append({"apiVersion": resource.api_version, "kind": resource.kind, **item})
            if not (token := page["metadata"].get("continue")):
                return items, page["metadata"]["resourceVersion"]
            query["continue"] = token

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
    ) -> dict[str, Any]:
        path = resource.path(namespace, name, subresource)
        attempted = f"{method} {path}"
        parameters = {key: value for key, value in (query or {}).items() if value}
        status = 0
        try:
            request = await self._api.param_serialize(
                method,
                path + (f"?{urlencode(parameters)}" if parameters else ""),
                header_params={"Content-Type": content_type, "Accept": "application/json"},
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await self._api.call_api(
                *request, _request_timeout=aiohttp.ClientTimeout(total=self._timeout)
            )
            status = response.status
            payload = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = "timed out" if isinstance(error, TimeoutError) else str(error)
            raise ApiError(attempted, 0, {"message": reason}) from error
        finally:
            metrics.API_REQUESTS.labels(method, resource.kind, str(status)).inc()
        if status == 401:
            # A token from an exec plugin ran out; the queue tries again with the new one.
            await _load(self._configuration)
        if not 200 <= status < 300:
            raise ApiError(attempted, status, _status_of(payload))
        answer: dict[str, Any] = json.loads(payload)
        return answer


async def _load(configuration: Configuration) -> str:
    """Fill in server and credentials; returns the namespace this process is at home in."""
    in_cluster = "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ
    try:
        if in_cluster:
            kube_config.load_incluster_config(client_configuration=configuration)
            with open(_NAMESPACE_FILE) as file:  # noqa: ASYNC230 - a projected file, in memory
                return file.read().strip()
        loader = await kube_config.load_kube_config(client_configuration=configuration)
    except (kube_config.ConfigException, OSError) as error:
        raise CannotConnect(f"no access to a Kubernetes API server: {error}") from error
    return str(loader.current_context["context"].get("namespace") or "default")


def _status_of(payload: bytes) -> Mapping[str, Any]:
    """The Status object of a refusal; a proxy in between may answer something else."""
    try:
        body = json.loads(payload)
    except ValueError:
        return {"message": payload[:200].decode(errors="replace")}
    return body if isinstance(body, dict) else {}


class _FencedTransport(RESTClientObject):  # type: ignore[misc]
    """kubernetes.aio's transport with a check on each write, and connections that die with the process."""

    def __init__(
        self, configuration: Configuration, timeout_seconds: float, fence: Callable[[], None]
    ) -> None:
        super().__init__(configuration)
        self._timeout = timeout_seconds
        self._fence = fence

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            limit=self.maxsize,
            limit_per_host=self.configuration.tcp_connector_limit_per_host or 0,
            ssl=self.ssl_context,
            socket_factory=self._socket,
        )

    def _create_pool_manager(self) -> aiohttp.ClientSession:
        fence = self._fence

        class FencedRequest(aiohttp.ClientRequest):
            async def write_bytes(self, *args: Any, **kwargs: Any) -> None:
                # Headers and body leave together from here: the last place to ask, after any wait for a
                # connection.
                if self.method not in _READS:
                    fence()
                await super().write_bytes(*args, **kwargs)

        return aiohttp.ClientSession(
            connector=self._create_connector(),
            trust_env=True,
            read_bufsize=2**21,
            request_class=FencedRequest,
        )

    def _socket(self, address: Any) -> socket.socket:
        """A socket that never delivers a write late.

        When a request is given up, or the process ends, what the kernel still holds of it is dropped
        (linger 0), and a peer that acknowledges nothing for a request's time is given up by the kernel
        even while this process is stopped.
        """
        family, kind, protocol, _, _ = address
        connection = socket.socket(family, kind, protocol)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            milliseconds = int(self._timeout * 1000)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        return connection
