"""Fixtures of the chart's tests."""

import pytest

from chart.rendering import VARIANTS, Manifest, rendered


@pytest.fixture(params=sorted(VARIANTS), scope="session")
def objects(request: pytest.FixtureRequest) -> list[Manifest]:
    """Every object of every variant of the chart."""
    return rendered(VARIANTS[request.param])
