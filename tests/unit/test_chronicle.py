"""The fault suite's judge: which statements were false, and for how long."""

import pytest

from faults.chronicle import Chronicle, Truth, Written
from operatorkit.api import Api


def written(at: float, available: str, ready: str = "Unknown/Pending") -> Written:
    said = {"Available": available, "Ready": ready}
    conditions = {
        kind: dict(zip(("status", "reason"), word.split("/"), strict=True)) for kind, word in said.items()
    }
    return Written(at, "llama", conditions, {})


@pytest.fixture
def chronicle(monkeypatch: pytest.MonkeyPatch) -> Chronicle:
    monkeypatch.setattr("faults.chronicle.time.monotonic", lambda: 100.0)
    return Chronicle(Api("https://127.0.0.1:1", "", None), "default")  # type: ignore[arg-type]


def told(
    chronicle: Chronicle, truths: list[tuple[float, Truth]], *statuses: Written
) -> list[tuple[str, float]]:
    chronicle.truths["llama"] = truths
    chronicle.statuses["llama"] = list(statuses)
    return [(said.said, said.seconds) for said in chronicle.falsehoods()]


def test_what_is_true_is_no_falsehood(chronicle: Chronicle) -> None:
    statuses = (
        written(1, "True/Serving", "True/Serving"),
        written(50, "False/ProbeTimeout", "False/ProbeTimeout"),
    )
    assert told(chronicle, [(2, Truth.SERVES), (50, Truth.DOWN)], *statuses) == []


def test_a_hang_that_is_told_late_counts_from_the_hang(chronicle: Chronicle) -> None:
    statuses = (written(1, "True/Serving"), written(45, "False/ProbeTimeout"))
    assert told(chronicle, [(2, Truth.SERVES), (20, Truth.DOWN)], *statuses) == [
        ("Available=True/Serving", 25.0)
    ]


def test_what_was_never_told_counts_until_now(chronicle: Chronicle) -> None:
    assert told(chronicle, [(20, Truth.DOWN)], written(1, "True/Serving")) == [
        ("Available=True/Serving", 80.0)
    ]


def test_ready_alone_may_be_the_lie(chronicle: Chronicle) -> None:
    statuses = (written(1, "False/Pending", "True/Serving"), written(30, "False/Pending"))
    assert told(chronicle, [(20, Truth.DOWN)], *statuses) == [("Ready=True/Serving", 10.0)]


def test_falsehoods_one_after_the_other_are_one(chronicle: Chronicle) -> None:
    statuses = (written(1, "Unknown/Pending"), written(30, "False/Pending"), written(60, "True/Serving"))
    assert told(chronicle, [(20, Truth.SERVES)], *statuses) == [("Available=Unknown/Pending", 40.0)]


def test_nothing_is_false_of_what_is_open(chronicle: Chronicle) -> None:
    assert told(chronicle, [(0, Truth.OPEN)], written(1, "False/Pending"), written(2, "True/Serving")) == []


@pytest.mark.parametrize(("at", "seen"), [(30.0, 1), (10.0, 0)])
def test_turning_false_counts_only_while_it_serves(chronicle: Chronicle, at: float, seen: int) -> None:
    told(chronicle, [(20, Truth.SERVES)], written(1, "True/Serving"), written(at, "False/LoadingModel"))
    assert len(list(chronicle.turned_false_while_serving())) == seen
