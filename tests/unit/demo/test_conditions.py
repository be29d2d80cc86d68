"""How the demo and the end-to-end tests read a model's conditions and a watch's output."""

import io
import json
from typing import Any

import pytest

from demo.conditions import NotInTime, changes, has, one_line, wait_for
from demo.kubectl import _objects


def model(*conditions: tuple[str, str, str], generation: int = 2, observed: int = 2) -> dict[str, Any]:
    listed = [{"type": kind, "status": status, "reason": reason} for kind, status, reason in conditions]
    return {
        "metadata": {"generation": generation},
        "status": {"observedGeneration": observed, "conditions": listed},
    }


SERVING = model(("Ready", "True", "Serving"), ("Available", "True", "Serving"))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"Ready": "True"}, True),
        ({"Ready": "Serving"}, True),
        ({"Ready": "True", "Reconciling": None}, True),
        ({"Ready": "False"}, False),
        ({"Ready": None}, False),
        ({"Stalled": "True"}, False),
    ],
)
def test_conditions_are_read_by_status_or_reason(wanted: dict[str, str | None], expected: bool) -> None:
    assert has(SERVING, **wanted) is expected


def test_a_condition_that_is_false_counts_as_absent() -> None:
    assert has(model(("Ready", "True", "Serving"), ("Stalled", "False", "Serving")), Stalled=None)


def test_a_status_about_an_older_spec_says_nothing() -> None:
    assert not has(model(("Ready", "True", "Serving"), observed=1), Ready="True")
    assert not has(None, Ready="True")


def test_only_changes_are_told() -> None:
    loading = model(("Ready", "Unknown", "LoadingModel"))
    told = [line for _, line in changes(iter([loading, loading, SERVING, SERVING]))]
    assert told == ["Ready=Unknown/LoadingModel", one_line(SERVING)]


def test_objects_of_a_watch_are_told_apart() -> None:
    versions = [{"a": {"b": "}"}}, {"c": [1, {"d": {}}]}]
    printed = "".join(json.dumps(version, indent=4) + "\n" for version in versions)
    assert list(_objects(io.StringIO(printed))) == versions


def test_a_wait_that_ends_says_what_was_seen() -> None:
    with pytest.raises(NotInTime, match=r"the moon: not within 0 s\. Last seen: a cloud"):
        wait_for("the moon", lambda: False, timeout=0, every=0.01, describe=lambda: "Last seen: a cloud")
