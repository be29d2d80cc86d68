"""The generated engine-argument file and our check against the vLLM in the triton-cpu image.

The same sets go to both. Where vLLM refuses and we do not, a mistake reaches the GPU: there must be none.
Where only we refuse there must be a reason; docs/engine-arguments.md counts them.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.engineargs_differences import REASONS, why_only_we_refuse
from backend.engineargs_sets import sets
from localcluster.imagerootfs import ImageRootfs
from vllm_operator.engineargs import check, schema

IMAGE = "localhost/triton-cpu:dev"
HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs" / "engine-arguments.md"
CONFIG = {
    "architectures": ["OPTForCausalLM"],
    "model_type": "opt",
    "torch_dtype": "float32",
    "hidden_size": 128,
    "ffn_dim": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 2048,
    "vocab_size": 2048,
    "word_embed_proj_dim": 128,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}


class Answers:
    """What vLLM has and says, beside what we have and say."""

    def __init__(self, answer: dict[str, Any], known: schema.Schema, asked: list[dict[str, Any]]) -> None:
        self.version: str = answer["vllm"]
        self.fields: dict[str, Any] = answer["fields"]
        self.known = known
        permitted = frozenset(known.arguments)
        self.pairs = [
            (
                arguments,
                said,
                [p.message for p in check(arguments, vllm_version=self.version, permitted=permitted)],
            )
            for arguments, said in zip(asked, answer["answers"], strict=True)
        ]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    model = tmp_path_factory.mktemp("model")
    (model / "config.json").write_text(json.dumps(CONFIG))
    with ImageRootfs(IMAGE, binds={str(HERE): "/tests", str(model): "/model"}) as root:
        version = _ask(root, [])["vllm"]
        known = schema.load(schema.minor_of(version) or schema.known_minors()[-1])
        asked = list(sets(known))
        yield Answers(_ask(root, asked), known, asked)


def _ask(root: ImageRootfs, asked: list[dict[str, Any]]) -> dict[str, Any]:
    (root.path / "question.json").write_text(json.dumps({"model": "/model", "sets": asked}))
    command = "python3 -P /tests/engineargs_oracle.py < /question.json"
    done = root.run(["sh", "-c", command], env={"HOME": "/tmp"}, timeout=300)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_the_image_runs_a_vllm_that_we_have_a_file_for(answers: Answers) -> None:
    assert schema.minor_of(answers.version) == answers.known.minor


def test_names_and_their_order_are_the_same(answers: Answers) -> None:
    assert list(answers.fields) == list(answers.known.arguments)


def test_defaults_are_the_same(answers: Answers) -> None:
    ours = {name: entry["default"] for name, entry in answers.known.arguments.items() if "default" in entry}
    theirs = {name: field["default"] for name, field in answers.fields.items() if name in ours}
    assert {n: (theirs[n], ours[n]) for n in ours if theirs[n] != ours[n]} == {}
    assert set(answers.fields) - set(ours) == set()


@pytest.mark.parametrize("kind", ["bool", "int", "float", "str"])
def test_plain_types_are_the_same(answers: Answers, kind: str) -> None:
    """The annotation of a plain field is compared as text; unions and classes by the sets below."""
    theirs = {n for n, f in answers.fields.items() if re.fullmatch(rf"(<class '{kind}'>|{kind})", f["type"])}
    ours = {n for n, e in answers.known.arguments.items() if e["type"] in (kind, f"{kind} | None")}
    refined = {n for n in theirs if "Literal[" in answers.known.arguments[n]["type"]}
    assert theirs - ours - refined == set()


def test_vllm_refuses_nothing_that_we_take(answers: Answers) -> None:
    assert [(arguments, said) for arguments, said, ours in answers.pairs if said and not ours] == []


def test_where_only_we_refuse_there_is_a_reason(answers: Answers) -> None:
    only_ours = [(arguments, ours) for arguments, said, ours in answers.pairs if ours and not said]
    unexplained = [pair for pair in only_ours if why_only_we_refuse(pair[0], answers.known) is None]
    assert unexplained == []


def test_the_documentation_has_the_counts(answers: Answers) -> None:
    both = sum(bool(said) == bool(ours) for _, said, ours in answers.pairs)
    counts = Counter(
        why_only_we_refuse(arguments, answers.known)
        for arguments, said, ours in answers.pairs
        if ours and not said
    )
    text = DOCS.read_text(encoding="utf-8")
    assert f"| vLLM {answers.version}, sets given to both | {len(answers.pairs)} |" in text
    assert f"| both take or both refuse | {both} |" in text
    assert "| only vLLM refuses | 0 |" in text
    for reason in REASONS:
        assert f"| only the operator refuses: {reason} | {counts[reason]} |" in text
