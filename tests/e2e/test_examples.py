"""Every manifest in examples/ is accepted by the API server as it is."""

from pathlib import Path

import pytest

from demo.install import ROOT, Images
from demo.kubectl import Kubectl

EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.relative_to(ROOT / "examples").as_posix())
def test_an_example_can_be_applied(kubectl: Kubectl, installed: Images, path: Path) -> None:
    said = kubectl.run(
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "--namespace=default",
        "-f",
        str(path),
    )
    assert "serverside-applied" in said
