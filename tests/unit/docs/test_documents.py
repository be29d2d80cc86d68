"""Documents that cannot rot unseen: links lead somewhere, and every VLLMModel shown is one."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from vllm_operator.api.v1alpha1 import parse_model
from vllm_operator.desired.revision import accept
from vllm_operator.settings import Settings

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+?) *$", FENCE.sub("", path.read_text()), re.MULTILINE)
    plain = [re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for link in LINK.findall(FENCE.sub("", path.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(link)
    assert not broken


def shown_models() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every VLLMModel in a document, in YAML blocks and in commands' here-documents."""
    for path in DOCUMENTS:
        for block in FENCE.findall(path.read_text()):
            body = block.split("\n", 1)[1].removesuffix("```")
            heredoc = re.search(r"<<'?EOF'?\n(.*?)^EOF", body, re.MULTILINE | re.DOTALL)
            text = heredoc.group(1) if heredoc else body
            if "kind: VLLMModel" in text and re.match(r"apiVersion:|# ", text):
                for number, document in enumerate(yaml.safe_load_all(text)):
                    if document and document.get("kind") == "VLLMModel":
                        yield f"{name(path)}-{document['metadata']['name']}-{number}", document


MODELS = list(shown_models())


def test_models_are_shown() -> None:
    assert len(MODELS) >= 3


@pytest.mark.parametrize("model", [model for _, model in MODELS], ids=[where for where, _ in MODELS])
def test_every_model_shown_would_be_accepted(model: dict[str, Any]) -> None:
    meta = {"namespace": "default", "uid": "0", "generation": 1, **model["metadata"]}
    accept(parse_model({**model, "metadata": meta}), Settings(), current=None)


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/**/*.yaml")), ids=name)
def test_every_example_would_be_accepted(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        if document["kind"] == "VLLMModel":
            meta = {"namespace": "default", "uid": "0", "generation": 1, **document["metadata"]}
            accept(parse_model({**document, "metadata": meta}), Settings(), current=None)
