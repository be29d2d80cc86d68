"""The generated CRD: current, described and bounded everywhere, within the subset that Kubernetes takes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from vllm_operator.api import crd, reference
from vllm_operator.desired import effects
from vllm_operator.status import reference as reasons

ROOT = Path(__file__).parents[3]


def nodes(node: dict[str, Any], where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield where, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{where}.{name}")
    if "items" in node:
        yield from nodes(node["items"], f"{where}[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from nodes(node["additionalProperties"], f"{where}{{}}")


NODES = dict(entry for part in ("spec", "status") for entry in nodes(crd.schema()["properties"][part], part))


@pytest.mark.parametrize("generator", [crd, reference, effects, reasons], ids=lambda module: module.__name__)
def test_generated_files_are_current(generator: Any) -> None:
    for path, text in generator.outputs().items():
        assert (ROOT / path).read_text() == text, f"{path}: run `make generate`"


def test_every_field_is_described() -> None:
    named = [where for where in NODES if not where.endswith(("[]", "{}"))]
    assert [where for where in named if not NODES[where].get("description")] == []


def test_everything_is_bounded() -> None:
    for where, node in NODES.items():
        kind = node.get("type")
        if kind == "string" and "enum" not in node:
            assert "maxLength" in node, where
        if kind == "integer":
            assert {"minimum", "maximum"} <= node.keys(), where
        if kind == "array":
            assert "maxItems" in node, where
            assert "x-kubernetes-list-type" in node, where
        if kind == "object" and "additionalProperties" in node:
            assert "maxProperties" in node, where
        if "x-kubernetes-int-or-string" in node:
            assert "maxLength" in node, where
        assert kind != "number", f"{where}: no floats of our own"


def test_descriptions_are_sentences() -> None:
    for where, node in NODES.items():
        if text := node.get("description"):
            assert text.endswith("."), where
            assert ".." not in text.replace("'..'", ""), where
            assert text[0].isupper() or text[0] in "`v", where


def test_messages_speak_like_the_api_conventions() -> None:
    for where, node in NODES.items():
        for rule in node.get("x-kubernetes-validations", ()):
            assert any(word in rule["message"] for word in ("must", "may not")), (where, rule["message"])
            assert not rule["message"].endswith("."), where


def test_no_status_field_has_a_default_of_its_own() -> None:
    """The server would add it to what the operator wrote, which would then look changed for ever."""
    inner = {where: node for where, node in NODES.items() if where.startswith("status.")}
    assert [where for where, node in inner.items() if "default" in node] == []


def test_the_chart_has_the_same_definition() -> None:
    first, second = crd.outputs().values()
    assert first == second
    assert yaml.safe_load(first) == crd.definition()
