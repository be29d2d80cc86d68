"""Mistakes from real issue threads, against the newest vLLM."""

import pytest

from unit.engineargs.corpus import MISTAKES, Mistake
from vllm_operator.engineargs import check, schema


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.source)
def test_it_is_caught_or_cannot_be_known(mistake: Mistake) -> None:
    found = check(
        mistake.arguments,
        vllm_version=f"{schema.known_minors()[-1]}.0",
        permitted=mistake.permitted,
        gpus=mistake.gpus,
    )
    text = "\n".join(problem.message for problem in found)
    if mistake.missed:
        assert text == ""
    else:
        assert mistake.caught in text


def test_the_corpus_is_large_enough_and_names_each_source_once() -> None:
    sources = [mistake.source for mistake in MISTAKES]
    assert len(sources) == len(set(sources)) >= 40
    assert sum(bool(mistake.caught) for mistake in MISTAKES) >= 30
