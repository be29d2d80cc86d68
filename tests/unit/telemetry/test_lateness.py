"""Lateness is read off the newest write that an object records."""

from datetime import UTC, datetime
from typing import Any

import pytest

from vllm_operator.telemetry.lateness import lateness_seconds

NOW = datetime(2026, 1, 1, 12, 0, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, None),
        ({"managedFields": [{"manager": "m"}]}, None),
        ({"managedFields": [{"time": "2026-01-01T12:00:03Z"}, {"time": "2026-01-01T11:00:00Z"}]}, 7.0),
        ({"managedFields": [{"time": "2026-01-01T12:00:11Z"}]}, 0.0),
        ({"managedFields": [{"time": "0000-01-01T00:00:00Z"}]}, None),
        ({"managedFields": [{"time": "0000-01-01T00:00:00Z"}, {"time": "2026-01-01T12:00:03Z"}]}, 7.0),
        ({"managedFields": [{"time": "99999-01-01T00:00:00Z"}, {"time": "2026-01-01"}, {"time": 7}]}, None),
        ({"managedFields": [{"time": "0001-01-01T00:00:00+23:59"}]}, pytest.approx(6.39e10, rel=0.01)),
        ({"managedFields": [{"time": "9999-12-31T23:59:59-23:59"}]}, 0.0),
    ],
)
def test_lateness(metadata: dict[str, Any], expected: float | None) -> None:
    assert lateness_seconds({"metadata": metadata}, NOW) == expected
