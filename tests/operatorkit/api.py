"""A client of the API server that shares no code with the operator: urllib, one user, plain dicts."""

import http.client
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

_ROOTS = {
    "pods": "/api/v1",
    "services": "/api/v1",
    "configmaps": "/api/v1",
    "namespaces": "/api/v1",
    "nodes": "/api/v1",
    "serviceaccounts": "/api/v1",
    "secrets": "/api/v1",
    "persistentvolumeclaims": "/api/v1",
    "resourcequotas": "/api/v1",
    "deployments": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
    "controllerrevisions": "/apis/apps/v1",
    "vllmmodels": "/apis/triton-vllm.dev/v1alpha1",
    "events": "/apis/events.k8s.io/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1",
    "clusterroles": "/apis/rbac.authorization.k8s.io/v1",
    "clusterrolebindings": "/apis/rbac.authorization.k8s.io/v1",
    "roles": "/apis/rbac.authorization.k8s.io/v1",
    "rolebindings": "/apis/rbac.authorization.k8s.io/v1",
}


class Refused(Exception):
    """The API server's answer was not a success."""

    def __init__(self, what: str, code: int, body: str) -> None:
        super().__init__(f"{what}: {code} {body[:1000]}")
        self.code = code
        self.body = body


class Api:
    """Requests over one kept connection per thread."""

    def __init__(self, url: str, token: str, authority: str) -> None:
        self._address = urlsplit(url)
        self._token = token
        self._trust = ssl.create_default_context(cafile=authority)
        self._local = threading.local()

    def get(self, plural: str, namespace: str, name: str) -> dict[str, Any] | None:
        """One object, or None."""
        try:
            return self.call("GET", path(plural, namespace, name))
        except Refused as error:
            if error.code == 404:
                return None
            raise

    def snapshot(self, plural: str, namespace: str = "", **query: str) -> tuple[list[dict[str, Any]], str]:
        """All objects of a kind, and the resourceVersion to watch from."""
        answer = self.call("GET", path(plural, namespace), query=query)
        return answer["items"], answer["metadata"]["resourceVersion"]

    def list(self, plural: str, namespace: str = "", **query: str) -> list[dict[str, Any]]:
        """All objects of a kind."""
        items: list[dict[str, Any]] = self.call("GET", path(plural, namespace), query=query)["items"]
        return items

    def create(self, plural: str, obj: Mapping[str, Any]) -> dict[str, Any]:
        """POST."""
        return self.call("POST", path(plural, obj["metadata"].get("namespace", "")), obj)

    def merge(
        self, plural: str, namespace: str, name: str, patch: Mapping[str, Any], subresource: str = ""
    ) -> dict[str, Any]:
        """JSON merge patch, as an edit by hand is."""
        where = path(plural, namespace, name, subresource)
        return self.call("PATCH", where, patch, content_type="application/merge-patch+json")

    def delete(self, plural: str, namespace: str, name: str, **options: Any) -> None:
        """DELETE; it may be gone already."""
        try:
            self.call("DELETE", path(plural, namespace, name), options or None)
        except Refused as error:
            if error.code not in (404, 409):
                raise

    def apply(self, plural: str, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Server-side apply."""
        metadata = obj["metadata"]
        where = path(plural, metadata.get("namespace", ""), metadata["name"])
        query = {"fieldManager": "test", "force": "true"}
        return self.call("PATCH", where, obj, query=query, content_type="application/apply-patch+yaml")

    def watch(self, plural: str, namespace: str, version: str, **narrowed: str) -> Iterator[dict[str, Any]]:
        """Events after a resourceVersion, bookmarks among them, until the server ends the stream."""
        query = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        query |= {"timeoutSeconds": "60", **narrowed}
        target = f"{path(plural, namespace)}?{urlencode(query)}"
        connection = self._connect(timeout=75)
        try:
            connection.request("GET", target, headers={"Authorization": f"Bearer {self._token}"})
            response = connection.getresponse()
            if response.status != 200:
                raise Refused(f"GET {target}", response.status, response.read().decode())
            while line := response.readline():
                yield json.loads(line)
        finally:
            connection.close()

    def call(
        self,
        method: str,
        where: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Any request, bytes as they are; once more on a kept connection that the server has closed."""
        target = f"{where}?{urlencode(query)}" if query else where
        data = body if body is None or isinstance(body, bytes) else _text(body).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
        for attempt in (1, 2):
            try:
                connection = self._connection()
                connection.request(method, target, data, headers)
                response = connection.getresponse()
                text = response.read().decode()
                break
            except (http.client.HTTPException, OSError):
                self._local.connection = None
                if attempt == 2:
                    raise
        if not 200 <= response.status < 300:
            raise Refused(f"{method} {target}", response.status, text)
        answer: dict[str, Any] = json.loads(text)
        return answer

    def _connection(self) -> http.client.HTTPSConnection:
        connection: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect(timeout=20)
        return connection

    def _connect(self, timeout: float) -> http.client.HTTPSConnection:
        address = self._address
        return http.client.HTTPSConnection(
            address.hostname or "", address.port, context=self._trust, timeout=timeout
        )


def _text(body: Any) -> str:
    """JSON that can be read as YAML, too: without surrogate pairs and bare control characters."""
    plain = json.dumps(body, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in plain)


def path(plural: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """The URL path of an object or a collection."""
    scope = f"/namespaces/{namespace}" if namespace else ""
    return "/".join(part for part in (_ROOTS[plural] + scope, plural, name, subresource) if part)
