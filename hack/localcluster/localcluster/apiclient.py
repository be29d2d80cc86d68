"""The few requests that starting a cluster itself needs, with nothing but the standard library."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcluster.errors import LocalClusterError

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class ApiClient:
    """One user's access to one API server."""

    server: str
    authority: Path
    token: str

    def ready(self) -> bool:
        """Say whether the API server calls itself ready."""
        try:
            return self._send("GET", "/readyz", None, "text/plain") == "ok"
        except (OSError, LocalClusterError):
            return False

    def get(self, path: str) -> dict[str, Any] | None:
        """Read one object or list; None if there is no such thing."""
        try:
            return self._json("GET", path, None)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise _refused("GET", path, error) from error

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create something."""
        try:
            return self._json("POST", path, body)
        except urllib.error.HTTPError as error:
            raise _refused("POST", path, error) from error

    def merge(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Change some fields of something."""
        try:
            return self._json("PATCH", path, body, "application/merge-patch+json")
        except urllib.error.HTTPError as error:
            raise _refused("PATCH", path, error) from error

    def _json(
        self, method: str, path: str, body: Mapping[str, Any] | None, content_type: str = "application/json"
    ) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._send(method, path, body, content_type))
        return answer

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None, content_type: str) -> str:
        if not self.authority.exists():
            raise LocalClusterError(f"The API server has not written {self.authority} yet.")
        request = urllib.request.Request(
            self.server + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": content_type},
        )
        trust = ssl.create_default_context(cafile=str(self.authority))
        # No proxy of this machine stands between it and its own cluster.
        direct = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
        )
        with direct.open(request, timeout=TIMEOUT_SECONDS) as response:
            text: str = response.read().decode()
        return text


def _refused(method: str, path: str, error: urllib.error.HTTPError) -> LocalClusterError:
    return LocalClusterError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')[:500]}")
