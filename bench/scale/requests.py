"""What the audit log tells: times from a creation or an edit to what the operator made of it, and counts."""

from collections import Counter, defaultdict, deque
from datetime import datetime
from typing import Any

from localcluster.auditlog import AuditLog

_CHILDREN = ("controllerrevisions", "configmaps", "services", "deployments")
_READS = ("get", "list", "watch")


def is_read(what: str) -> bool:
    """Whether a line of `counted` only asks."""
    return what.split()[0] in _READS


def counted(audit: AuditLog, user: str, since: int) -> dict[str, int]:
    """The operator's requests by verb and kind, the Lease left out."""
    found: Counter[str] = Counter()
    for event in audit.stream(user=user, since=since):
        if event.resource not in ("leases", ""):
            resource = f"{event.resource}/{event.subresource}" if event.subresource else event.resource
            found[f"{event.verb} {resource}"] += 1
    return dict(found.most_common())


def creation(audit: AuditLog, user: str, since: int, count: int) -> dict[str, Any]:
    """From the first creation to the last child and first status, and the same for single models."""
    created: dict[str, datetime] = {}
    children: dict[str, list[datetime]] = defaultdict(list)
    status: dict[str, datetime] = {}
    for event in audit.stream(since=since):
        if event.user != user and event.verb == "create" and event.resource == "vllmmodels":
            created[event.name] = event.completed
        elif event.user == user and event.verb == "create" and event.resource in _CHILDREN:
            name = event.name
            if event.resource in ("controllerrevisions", "configmaps"):
                name = name.rpartition("-")[0]
            children[name].append(event.completed)
        elif event.user == user and event.resource == "vllmmodels" and event.subresource == "status":
            status.setdefault(event.name, event.completed)
    assert len(created) == len(status) == count, f"{len(created)} created, {len(status)} with a status"
    complete = [len(children[name]) for name in created]
    assert min(complete) >= len(_CHILDREN), "a model without all its children"
    began = min(created.values())
    done = {name: max(status[name], *children[name]) for name in created}
    each = sorted((done[name] - at).total_seconds() for name, at in created.items())
    return {
        "all_have_status_seconds": (max(done.values()) - began).total_seconds(),
        "each_median_seconds": each[len(each) // 2],
        "each_longest_seconds": each[-1],
        "creation_requests": counted(audit, user, since),
    }


def latencies(audit: AuditLog, user: str, since: int) -> list[float]:
    """Seconds from each edit of a spec to the first status of the operator's that is about it."""
    waiting: dict[str, deque[datetime]] = defaultdict(deque)
    found = []
    for event in audit.stream(resource="vllmmodels", verbs={"patch"}, since=since):
        if event.user != user and not event.subresource:
            waiting[event.name].append(event.completed)
        elif event.user == user and event.subresource == "status" and waiting[event.name]:
            # A status may be about several edits; it is late for the oldest of them.
            edits = waiting.pop(event.name)
            found += [(event.completed - at).total_seconds() for at in edits]
    return found
