"""What the benchmark reads out of an audit log."""

import json
from pathlib import Path
from typing import Any

import pytest

from localcluster.auditlog import AuditLog
from scale import report, requests

OPERATOR = "system:serviceaccount:bench:operator"


def entry(at: float, user: str, verb: str, resource: str, name: str, subresource: str = "") -> str:
    reference = {"resource": resource, "namespace": "bench", "name": name, "subresource": subresource}
    return json.dumps(
        {
            "verb": verb,
            "user": {"username": user},
            "objectRef": reference,
            "requestURI": "/x",
            "responseStatus": {"code": 200},
            "requestReceivedTimestamp": "2026-01-01T00:00:00Z",
            "stageTimestamp": f"2026-01-01T00:00:{at:09.6f}Z",
        }
    )


def log(folder: Path, *entries: str) -> AuditLog:
    (folder / "audit.jsonl").write_text("".join(f"{line}\n" for line in entries))
    return AuditLog(folder / "audit.jsonl")


def made(at: float, name: str) -> list[str]:
    """A model's creation at a time, its children and its status one second after the other."""
    children = [("controllerrevisions", f"{name}-abc"), ("configmaps", f"{name}-abc"), ("services", name)]
    children.append(("deployments", name))
    return [
        entry(at, "user", "create", "vllmmodels", name),
        *(entry(at + 1 + n, OPERATOR, "create", kind, child) for n, (kind, child) in enumerate(children)),
        entry(at + 5, OPERATOR, "patch", "vllmmodels", name, "status"),
        entry(at + 9, OPERATOR, "patch", "vllmmodels", name, "status"),
    ]


def test_creation_counts_from_the_first_model_to_the_last_child_and_first_status(tmp_path: Path) -> None:
    found = requests.creation(log(tmp_path, *made(1, "model-0"), *made(11, "model-1")), OPERATOR, 0, 2)
    assert found["all_have_status_seconds"] == 15
    assert found["each_median_seconds"] == found["each_longest_seconds"] == 5


def test_a_model_without_all_its_children_is_no_result(tmp_path: Path) -> None:
    lines = [line for line in made(1, "model-0") if "configmaps" not in line]
    with pytest.raises(AssertionError, match="without all its children"):
        requests.creation(log(tmp_path, *lines), OPERATOR, 0, 1)


def test_a_status_is_late_for_each_edit_that_it_is_about(tmp_path: Path) -> None:
    audit = log(
        tmp_path,
        entry(1, "user", "patch", "vllmmodels", "model-0"),
        entry(1.5, "user", "patch", "vllmmodels", "model-0"),
        entry(2, OPERATOR, "patch", "vllmmodels", "model-0", "status"),
        entry(3, OPERATOR, "patch", "vllmmodels", "model-0", "status"),
        entry(4, "user", "patch", "vllmmodels", "model-1"),
    )
    assert requests.latencies(audit, OPERATOR, 0) == [1.0, 0.5]


def test_the_table_puts_each_figure_beside_what_is_asked_for() -> None:
    part: dict[str, Any] = {"list pods": 2, "watch pods": 7}
    result = {"models": 5000, "all_have_status_seconds": 280.0, "rest_requests": part}
    result |= {"creation_requests": {}, "restart_requests": {}}
    text = report.table([result])
    assert "| children and status of all | 300 s | 280.0 s |" in text
    assert "| requests at rest but watches | 0 | 2 |" in text
    assert "| slope of memory | 1 MiB an hour | not measured |" in text
