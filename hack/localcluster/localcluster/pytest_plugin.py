"""Fixtures for tests that need a real API server: `pytest_plugins = ["localcluster.pytest_plugin"]`."""

from collections.abc import Iterator

import pytest

from localcluster.controlplane import ControlPlane


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """One control plane, with its audit log, for the whole test session."""
    with ControlPlane() as plane:
        yield plane
