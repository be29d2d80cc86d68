"""The API server's audit log: its policy, and reading it as "who wrote what"."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

WRITE_VERBS = frozenset({"create", "update", "patch", "delete", "deletecollection"})
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
# The control plane's own reads are noise; bodies of secrets and tokens stay out of the log.
POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "omitManagedFields": True,
    "rules": [
        {"level": "None", "nonResourceURLs": ["/readyz*", "/livez*", "/healthz*", "/openapi*", "/version"]},
        {
            "level": "None",
            "users": ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler"],
            "verbs": ["get", "list", "watch"],
        },
        {
            "level": "Metadata",
            "resources": [
                {"group": "", "resources": ["secrets", "serviceaccounts/token"]},
                {"group": "authentication.k8s.io", "resources": ["tokenreviews"]},
            ],
        },
        {"level": "Request", "verbs": sorted(WRITE_VERBS)},
        {"level": "Metadata"},
    ],
}


@dataclass(frozen=True)
class AuditEvent:
    """One answered request."""

    verb: str
    user: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    uri: str
    code: int
    received: datetime
    completed: datetime
    dry_run: bool
    body: Any
    permitted: bool
    """False when the user has no right to it (RBAC), whatever the request holds."""

    @property
    def is_write(self) -> bool:
        """Whether the request changes something: a dry run does not, nor does a review."""
        return self.verb in WRITE_VERBS and not self.dry_run and not self.resource.endswith("reviews")

    @property
    def what(self) -> str:
        """The request in one line, for messages and for comparing sequences of writes."""
        resource = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{self.verb} {resource} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class AuditLog:
    """The log of one API server: a file, and those that it became at each 100 MB, none of them removed."""

    path: Path

    def position(self) -> int:
        """A mark to pass as `since` later: only what is logged after it counts."""
        return sum(size for _, size in self._files())

    def events(
        self,
        *,
        user: str | Callable[[str], bool] | None = None,
        verbs: frozenset[str] | set[str] | None = None,
        resource: str | None = None,
        since: int = 0,
    ) -> list[AuditEvent]:
        """The answered requests, in the order of their completion."""
        return list(self.stream(user=user, verbs=verbs, resource=resource, since=since))

    def stream(
        self,
        *,
        user: str | Callable[[str], bool] | None = None,
        verbs: frozenset[str] | set[str] | None = None,
        resource: str | None = None,
        since: int = 0,
    ) -> Iterator[AuditEvent]:
        """The same one by one: the log of thousands of objects is too big to be held."""
        for event in self._read(since):
            if verbs is not None and event.verb not in verbs:
                continue
            if resource is not None and event.resource != resource:
                continue
            if user is None or (user(event.user) if callable(user) else event.user == user):
                yield event

    def writes(
        self, *, user: str | Callable[[str], bool] | None = None, resource: str | None = None, since: int = 0
    ) -> list[AuditEvent]:
        """The requests that may have changed something, refused ones among them."""
        return [event for event in self.events(user=user, resource=resource, since=since) if event.is_write]

    def _read(self, since: int) -> Iterator[AuditEvent]:
        for file_path, size in self._files():
            if since >= size:
                since -= size
                continue
            with file_path.open("rb") as file:
                file.seek(since)
                since = 0
                for line in file:
                    if line.endswith(b"\n"):
                        yield _parse(json.loads(line))

    def _files(self) -> list[tuple[Path, int]]:
        """Oldest first, with their sizes: a rotated one has the time of its end in its name."""
        rotated = sorted(self.path.parent.glob(f"{self.path.stem}-*{self.path.suffix}"))
        files = [*rotated, self.path] if self.path.exists() else rotated
        return [(file, file.stat().st_size) for file in files]


def service_account(namespace: str, name: str) -> str:
    """The user name of a ServiceAccount."""
    return f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"


def _parse(entry: dict[str, Any]) -> AuditEvent:
    reference = entry.get("objectRef", {})
    body = entry.get("requestObject")
    name = reference.get("name", "")
    if not name and isinstance(body, dict):
        name = body.get("metadata", {}).get("name", "")
    return AuditEvent(
        verb=entry["verb"],
        user=entry["user"]["username"],
        group=reference.get("apiGroup", ""),
        resource=reference.get("resource", ""),
        subresource=reference.get("subresource", ""),
        namespace=reference.get("namespace", ""),
        name=name,
        uri=entry["requestURI"],
        code=entry.get("responseStatus", {}).get("code", 0),
        received=datetime.fromisoformat(entry["requestReceivedTimestamp"]),
        completed=datetime.fromisoformat(entry["stageTimestamp"]),
        dry_run="dryRun=" in entry["requestURI"],
        body=body,
        permitted=entry.get("annotations", {}).get("authorization.k8s.io/decision") != "forbid",
    )
