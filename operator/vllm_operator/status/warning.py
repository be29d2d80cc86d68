"""What the Events of a pod that makes no progress say."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from vllm_operator.observed import fields
from vllm_operator.observed.state import Object
from vllm_operator.status.facts import Facts
from vllm_operator.status.pods import one_line

#: Identifiers of sandboxes and the like, which are others at each try.
_IDENTIFIER: Final = re.compile(r"\b[0-9a-f]{32,}\b")
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


def pod_to_ask_about(facts: Facts) -> str:
    """UID of a pod of which the Events may say why nothing goes on, empty if there is none."""
    late = [pod for pod in facts.updated if not pod.ready]
    return min(late, key=lambda pod: (pod.running, pod.name)).uid if facts.overdue and late else ""


def newest(events: Iterable[Object]) -> str:
    """Reason and note of the newest Warning, empty if there is none."""
    warnings = [event for event in events if fields.text(event, "type") == "Warning"]
    if not warnings:
        return ""
    event = max(warnings, key=_at)
    note = _IDENTIFIER.sub("...", fields.text(event, "note"))
    return one_line(f"{fields.text(event, 'reason')}: {note}".strip(": "))


def _at(event: Object) -> datetime:
    """When it was last seen: the kubelet still writes the old fields, newer clients a series."""
    times = (
        fields.when(event, "series", "lastObservedTime"),
        fields.when(event, "deprecatedLastTimestamp"),
        fields.when(event, "eventTime"),
    )
    made = fields.when(event, "metadata", "creationTimestamp")
    return max((at for at in times if at), default=made or _LONG_AGO)
