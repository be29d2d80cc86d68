"""docs/faults.md has every scenario of the fault suite, and none that is gone."""

import importlib
import pkgutil

import pytest

from faults import scenarios, table
from faults.scenario import REGISTERED, Scenario


def _all() -> list[Scenario]:
    for module in pkgutil.iter_modules(scenarios.__path__):
        importlib.import_module(f"faults.scenarios.{module.name}")
    return REGISTERED


def test_there_are_many_and_each_says_what_fails() -> None:
    assert len(_all()) >= 50
    assert len({scenario.name for scenario in _all()}) == len(_all())
    assert len({scenario.fault for scenario in _all()}) == len(_all())


@pytest.mark.parametrize("scenario", _all(), ids=lambda scenario: scenario.run.__name__)
def test_the_table_has_it_with_its_bound(scenario: Scenario) -> None:
    lines = table.FILE.read_text().splitlines()
    rows = [line for line in lines if line.startswith(f"| {table.cell(scenario)} |")]
    assert len(rows) == 1, "run `make test-faults`, which writes docs/faults.md"
    assert f"| {scenario.bound:.0f} s |" in rows[0]


def test_the_table_has_nothing_else() -> None:
    rows = [line for line in table.FILE.read_text().splitlines() if line.startswith("| ")]
    assert len(rows) - sum(row.startswith("| fault |") for row in rows) == len(_all())
