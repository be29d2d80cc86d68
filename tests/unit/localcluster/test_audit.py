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
