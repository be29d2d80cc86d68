"""What the tiny model is known to say: the demo and the other tiers assert these texts literally."""

import itertools
import json
from pathlib import Path

EXPECTED = json.loads((Path(__file__).parents[3] / "hack/tinymodel/expected.json").read_text())


def test_prompts_can_be_told_apart() -> None:
    pairs = [(p["prompt"], p["continuation"]) for p in [*EXPECTED["prompts"], EXPECTED["long"]]]
    for one, two in itertools.combinations(pairs, 2):
        assert not one[0].startswith(two[0])
        assert not two[0].startswith(one[0])
        assert one[1] != two[1]


def test_prompts_end_where_a_token_ends() -> None:
    for sample in [*EXPECTED["prompts"], EXPECTED["long"], *EXPECTED["adapters"].values()]:
        assert sample["prompt"] == sample["prompt"].strip()
        assert sample["continuation"].startswith(" ")


def test_each_adapter_changes_a_known_continuation() -> None:
    base = {p["prompt"]: p["continuation"] for p in EXPECTED["prompts"]}
    for name, sample in EXPECTED["adapters"].items():
        assert name in sample["continuation"]
        assert base[sample["prompt"]] != sample["continuation"]


def test_chats_differ_in_what_was_asked() -> None:
    asked = [json.dumps(c["messages"]) for c in EXPECTED["chat"]]
    assert len(set(asked)) == len(asked) == len({c["continuation"] for c in EXPECTED["chat"]})
