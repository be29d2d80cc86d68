"""One wrong letter in the name of an argument: the name that was meant is told."""

import pytest

from vllm_operator.engineargs import check, schema

NEWEST = schema.newest()
NAMES = frozenset(NEWEST.arguments)
#: Long enough that one letter makes no other word; `model` and the like are answered in their own way.
LONG = sorted(name for name in NAMES if len(name) >= 8 and not name.startswith("_"))


def slips(name: str) -> list[str]:
    """The last letter another one, one letter less in the middle, two neighbours changed, one doubled."""
    middle = len(name) // 2
    changed = name[:2] + name[3] + name[2] + name[4:]
    last = "x" if name[-1] != "x" else "y"
    return [name[:-1] + last, name[:middle] + name[middle + 1 :], changed, name[:3] + name[2:]]


def told(name: str) -> str:
    found = check({name: 1}, vllm_version=f"{NEWEST.minor}.0", permitted=NAMES, hub_source=False)
    return "\n".join(problem.message for problem in found)


@pytest.mark.parametrize("name", LONG)
def test_the_name_that_was_meant_is_told(name: str) -> None:
    for slip in slips(name):
        if slip not in NAMES:
            assert f"`{name}`" in told(slip), slip
