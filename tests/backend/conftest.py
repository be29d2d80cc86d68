"""One installation for the whole tier; each module starts the servers it needs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.serving import ROOT, Installation, installation


@pytest.fixture(scope="session")
def where(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("installation")) as found:
        yield found


@pytest.fixture(scope="session")
def expected() -> Any:
    """What the tiny model says, literally."""
    return json.loads(Path(ROOT / "hack/tinymodel/expected.json").read_text())
