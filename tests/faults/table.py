"""docs/faults.md: each scenario, and what the last run of it came to."""

import os
from datetime import UTC, datetime
from pathlib import Path

from faults.scenario import REGISTERED, Outcome, Scenario
from operatorkit.process import REPOSITORY

FILE = REPOSITORY / "docs/faults.md"

_HEAD = """\
# Faults

What the operator says while something fails: {held} of {count} held, each when it was last run
(until {date}, {cores} cores); a run of some of them renews only their rows.
The control plane is a real one. The kubelet's part, Triton and the way to the API server are the tests', so
that they can fail. Every status that was ever written is read back from a watch and held against what was
true: none may be false for longer than the bound, and no model that serves is ever called `Available=False`.
The delay is the time from the fault, or from its end, to the status in the table. It depends on the probe's
period, here 5 s and two failures.

`make test-faults` writes the rows of what it ran; `tests/unit/docs` checks that every scenario is here. What
only a person can mend has an alert: [operations.md](operations.md#alerts-worth-having).
"""
_COLUMNS = "| fault | true | reported | delay | bound | |"


def write(outcomes: list[Outcome]) -> Path:
    """Write the rows of a run, keep those of scenarios that did not run; returns where."""
    rows = {cell(scenario): _unknown(scenario) for scenario in REGISTERED}
    known = _rows()
    rows |= {fault: known[fault] for fault in rows if fault in known}
    rows |= {cell(outcome.scenario): _row(outcome) for outcome in outcomes}
    held = sum(row.endswith("| held |") for row in rows.values())
    date = datetime.now(UTC).date().isoformat()
    lines = [_HEAD.format(date=date, cores=os.cpu_count(), held=held, count=len(rows))]
    for group in sorted({scenario.group for scenario in REGISTERED}):
        lines += [f"## {title(group)}", "", _COLUMNS, "|---|---|---|---|---|---|"]
        lines += [rows[cell(scenario)] for scenario in REGISTERED if scenario.group == group]
        lines.append("")
    FILE.write_text("\n".join(lines).rstrip() + "\n")
    return FILE.relative_to(REPOSITORY)


def title(group: str) -> str:
    """A group's heading."""
    return group.replace("_", " ").capitalize()


def cell(scenario: Scenario) -> str:
    """What the first column says of a scenario."""
    return scenario.fault.replace("|", "\\|")


def _rows() -> dict[str, str]:
    lines = FILE.read_text().splitlines() if FILE.exists() else []
    return {line.split(" | ")[0].removeprefix("| "): line for line in lines if line.startswith("| ")}


def _unknown(scenario: Scenario) -> str:
    return f"| {cell(scenario)} | | | | {scenario.bound:.0f} s | not run yet |"


def _row(outcome: Outcome) -> str:
    bound = f"{outcome.scenario.bound:.0f} s"
    verdict = "held" if outcome.held else "not held"
    return f"| {' | '.join((cell(outcome.scenario), *outcome.columns, bound, verdict))} |"
