"""Errors that the engine survived change no reason, and neither do those that other ranks print afterwards.

Each of the errors is put before every failing log of the corpus, each consequence behind it. What is asked
for is that under 3 % of the reasons change; an exception that ended a process allows none at all.
"""

import re
from collections import Counter

import pytest

from unit.runtime.corpus import AFTER, BEFORE, EXCERPTS, HERE, Excerpt

SHARE = 0.03
#: A process ended with an exception that the log shows.
FATAL = re.compile(r"WorkerProc (?:failed|hit)|EngineCore (?:failed|encountered)|initialize Python stub: ")


def blocks(name: str) -> dict[str, str]:
    parts = re.split(r"^=== (.*)\n", (HERE / "noise" / name).read_text(), flags=re.MULTILINE)
    assert parts[0] == ""
    return dict(zip(parts[1::2], parts[2::2], strict=True))


SURVIVED, CONSEQUENCES = blocks("survived.txt"), blocks("consequences.txt")
#: What the consequences are about: with nothing else in the log, one of them may as well be the cause.
COMMUNICATION = {"NCCLError", "NCCLTimeout", "EngineDead"}


def changed(excerpt: Excerpt, text: str) -> bool:
    return excerpt.classified(text).reason != excerpt.reason


@pytest.mark.parametrize("name", SURVIVED)
def test_survived_error_in_front_changes_no_reason(name: str) -> None:
    logs = [(e, BEFORE + SURVIVED[name] + e.text + AFTER) for e in EXCERPTS]
    flips = [excerpt for excerpt, text in logs if changed(excerpt, text)]
    assert [str(excerpt) for excerpt in flips if FATAL.search(excerpt.text)] == []
    assert len(flips) < SHARE * len(logs), [str(excerpt) for excerpt in flips]


@pytest.mark.parametrize("name", CONSEQUENCES)
def test_consequence_behind_changes_no_reason(name: str) -> None:
    logs = [(e, BEFORE + e.text + AFTER + CONSEQUENCES[name]) for e in EXCERPTS]
    flips = [excerpt for excerpt, text in logs if changed(excerpt, text)]
    flips = [excerpt for excerpt in flips if excerpt.reason not in COMMUNICATION]
    assert [str(excerpt) for excerpt in flips if FATAL.search(excerpt.text)] == []
    assert len(flips) < SHARE * len(logs), [str(excerpt) for excerpt in flips]


def test_all_of_them_at_once() -> None:
    front, behind = "".join(SURVIVED.values()), "".join(CONSEQUENCES.values())
    logs = [(e, BEFORE + front + e.text + AFTER + behind) for e in EXCERPTS]
    flips = Counter(excerpt.reason for excerpt, text in logs if changed(excerpt, text))
    assert sum(n for reason, n in flips.items() if reason not in COMMUNICATION) < SHARE * len(logs), flips


@pytest.mark.parametrize("name", SURVIVED)
def test_survived_error_alone_is_no_reason(name: str) -> None:
    """A log without a cause stays one: nothing of what was survived is blamed."""
    bare = Excerpt("EngineDead", name, "")
    found = bare.classified(BEFORE + SURVIVED[name] + AFTER)
    assert found.reason == "EngineDead"
    assert found.detail == "the engine's process ended during its start without an error of its own"
    assert bare.classified(SURVIVED[name]).reason == "ContainerCrashed"
