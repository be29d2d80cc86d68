"""Reading the audit log as "who wrote what"."""

import json
from pathlib import Path
from typing import Any

from localcluster.auditlog import AuditLog, service_account

OPERATOR = service_account("operator", "vllm-operator")


def entry(verb: str, resource: str, name: str = "", **changes: Any) -> str:
    values = {
        "verb": verb,
        "user": {"username": OPERATOR},
        "objectRef": {"resource": resource, "namespace": "models", "name": name},
        "requestURI": f"/api/v1/namespaces/models/{resource}/{name}",
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2026-01-01T00:00:00.000000Z",
        "stageTimestamp": "2026-01-01T00:00:00.500000Z",
    }
    return json.dumps({**values, **changes}) + "\n"


def log(tmp_path: Path, *entries: str) -> AuditLog:
    path = tmp_path / "audit.jsonl"
    path.write_text("".join(entries))
    return AuditLog(path)


def test_writes_leave_out_reads_dry_runs_and_reviews(tmp_path: Path) -> None:
    audit = log(
        tmp_path,
        entry("list", "pods"),
        entry("patch", "deployments", "tiny"),
        entry("patch", "deployments", "tiny", requestURI="/apis/apps/v1/deployments/tiny?dryRun=All"),
        entry("create", "subjectaccessreviews"),
        entry("create", "services", requestObject={"metadata": {"name": "tiny"}}),
    )
    assert [event.what for event in audit.writes()] == [
        "patch deployments models/tiny",
        "create services models/tiny",
    ]


def test_users_resources_and_positions_narrow_it(tmp_path: Path) -> None:
    audit = log(tmp_path, entry("create", "configmaps", "a"))
    mark = audit.position()
    with audit.path.open("a") as file:
        file.write(
            entry("create", "configmaps", "b") + entry("create", "leases", "c", user={"username": "other"})
        )
    assert [event.name for event in audit.writes(since=mark)] == ["b", "c"]
    assert [event.name for event in audit.writes(user=OPERATOR)] == ["a", "b"]
    assert [event.name for event in audit.writes(user=lambda user: user == "other")] == ["c"]
    assert [event.name for event in audit.writes(resource="leases")] == ["c"]


def test_a_line_that_is_still_being_written_is_left_for_later(tmp_path: Path) -> None:
    audit = log(tmp_path, entry("create", "configmaps", "a"), entry("create", "configmaps", "b")[:40])
    assert [event.name for event in audit.events()] == ["a"]


def test_an_event_knows_how_long_it_took(tmp_path: Path) -> None:
    (event,) = log(tmp_path, entry("get", "pods", "x")).events()
    assert (event.completed - event.received).total_seconds() == 0.5


def test_a_rotated_log_is_read_whole_and_positions_outlive_the_rotation(tmp_path: Path) -> None:
    """The API server's log is renamed at 100 MB and begun anew."""
    audit = log(tmp_path, entry("create", "configmaps", "a"))
    mark = audit.position()
    with audit.path.open("a") as file:
        file.write(entry("create", "configmaps", "b"))
    audit.path.rename(tmp_path / "audit-2026-01-01T00-00-00.000.jsonl")
    audit.path.write_text(entry("create", "configmaps", "c"))
    assert [event.name for event in audit.events(since=mark)] == ["b", "c"]
    later = audit.position()
    audit.path.rename(tmp_path / "audit-2026-01-01T00-01-00.000.jsonl")
    assert audit.position() == later
    audit.path.write_text(entry("create", "configmaps", "d"))
    assert [event.name for event in audit.stream(since=later)] == ["d"]
    assert [event.name for event in audit.events()] == ["a", "b", "c", "d"]
