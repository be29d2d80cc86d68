"""docs/faults.md: the scenarios of the last whole run of `make test-faults`, with what each came to."""

import os
from datetime import UTC, datetime
from pathlib import Path

from faults.scenario import Outcome, Scenario
from operatorkit.process import REPOSITORY

FILE = REPOSITORY / "docs/faults.md"

_HEAD = """\
# Faults

What the operator says while something fails, from the last whole run of `make test-faults`
({date}, {cores} cores, {held} of {count} held). The control plane is a real one. The kubelet's part, Triton
and the way to the API server are the tests', so that they can fail. Every status that was ever written is
read back from a watch and held against what was true: none may be false for longer than the bound, and no
model that serves is ever called `Available=False`. The delay is the time from the fault, or from its end, to
the status in the table. It depends on the probe's period, here 5 s and two failures.

`make test-faults` writes this file; `tests/unit/docs` checks that every scenario is in it. What only a person
can mend has an alert: [operations.md](operations.md#alerts-worth-having).
"""


def write(outcomes: list[Outcome]) -> Path:
    """Write the table of a whole run; returns where."""
    held = sum(outcome.held for outcome in outcomes)
    date = datetime.now(UTC).date().isoformat()
    lines = [_HEAD.format(date=date, cores=os.cpu_count(), held=held, count=len(outcomes))]
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.scenario.group, []).append(outcome)
    for group, members in sorted(groups.items()):
        lines += [f"## {title(group)}", "", "| fault | true | reported | delay | bound | |"]
        lines += ["|---|---|---|---|---|---|", *map(_row, members), ""]
    FILE.write_text("\n".join(lines).rstrip() + "\n")
    return FILE.relative_to(REPOSITORY)


def title(group: str) -> str:
    """A group's heading."""
    return group.replace("_", " ").capitalize()


def cell(scenario: Scenario) -> str:
    """What the first column says of a scenario."""
    return scenario.fault.replace("|", "\\|")


def _row(outcome: Outcome) -> str:
    verdict = "held" if outcome.held else "not held"
    return f"| {' | '.join((cell(outcome.scenario), *outcome.columns, _bound(outcome), verdict))} |"


def _bound(outcome: Outcome) -> str:
    return f"{outcome.scenario.bound:.0f} s"
