"""Real `vllm serve` commands and manifests: none of the accepted sets is refused, each other for its words.

`real_accepted.json` and `real_refused.json` hold distinct sets of values, rebuilt from public recipes,
manifests and scripts (`source` is repository and path): argument names and values, variables of vLLM, and the
version. That is the recipe's own minimum, or the newest vLLM at the date of the snapshot; one older than 0.24
is raised to 0.24 where 0.24 takes the set. Placeholders such as `$TP`, and commands of vLLM-Omni, which is
another program, are left out.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from vllm_operator.engineargs import check, schema

HERE = Path(__file__).parent
ACCEPTED: list[dict[str, Any]] = json.loads((HERE / "real_accepted.json").read_text())
REFUSED: list[dict[str, Any]] = json.loads((HERE / "real_refused.json").read_text())
ALL = frozenset(name for minor in schema.known_minors() for name in schema.load(minor).arguments)


def said(real: dict[str, Any]) -> list[str]:
    found = check(
        real["arguments"],
        vllm_version=f"{real['version']}.0",
        permitted=ALL,
        hub_source=False,
        environment=real.get("environment"),
    )
    return [problem.message.removeprefix("spec.engineArgs.") for problem in found]


def test_no_real_set_is_refused() -> None:
    assert [(real["source"], said(real)) for real in ACCEPTED if said(real)] == []


def test_there_are_many_of_several_versions() -> None:
    assert len(ACCEPTED) > 550
    assert sum(count > 5 for count in Counter(real["version"] for real in ACCEPTED).values()) >= 5


def test_what_is_refused_is_refused_in_the_words_that_are_listed() -> None:
    """The operator's own rules (`ray`), removed keys and names, and other programs' arguments.

    Not each of them was looked up in vLLM's source: `docs/engine-arguments.md`.
    """
    for real in REFUSED:
        found = said(real)
        assert len(found) == len(real["says"]), real["source"]
        for message, start in zip(found, real["says"], strict=True):
            assert message.startswith(start), real["source"]
