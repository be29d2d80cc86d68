"""How long after a change its event came."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from vllm_operator.telemetry import metrics


def note(obj: Mapping[str, Any]) -> None:
    """Measure an event of a creation or change, its object on its way into the store."""
    late = lateness_seconds(obj, datetime.now(UTC))
    if late is not None:
        metrics.WATCH_LATENESS.labels(obj["kind"]).observe(late)


def lateness_seconds(obj: Mapping[str, Any], now: datetime) -> float | None:
    """Seconds since the newest write on record in the object's managedFields, None where there is none.

    The record has whole seconds of the API server's clock, so this is coarse; never below 0.
    """
    times = [_time(entry.get("time")) for entry in obj["metadata"].get("managedFields") or ()]
    known = [time for time in times if time is not None]
    return max(0.0, (now - max(known)).total_seconds()) if known else None


def _time(text: Any) -> datetime | None:
    """None for what Python has no time for: whoever may edit an object writes these, the year 0 too."""
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo else None
