"""One installation for the whole tier; each module starts the servers it needs."""

import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.serving import ROOT, Installation, Server, installation


@pytest.fixture(scope="session")
def where(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("installation")) as found:
        yield found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the server's log beside a failure."""
    report = yield
    if report.failed:
        for server in getattr(item, "funcargs", {}).values():
            if isinstance(server, Server):
                report.sections.append(("the server's log", server.log()[-4000:]))
    return report


@pytest.fixture(scope="session")
def expected() -> Any:
    """What the tiny model says, literally."""
    return json.loads(Path(ROOT / "hack/tinymodel/expected.json").read_text())
