"""Reads the tables of inputs: YAML, with tags for what is too long to write out."""

from pathlib import Path
from typing import Any

import yaml

VALID = {"source": {"image": {"reference": "a:1"}}}
FOLDER = Path(__file__).parent


class Loader(yaml.SafeLoader):
    """SafeLoader with `!repeat`, `!variables` and `!adapters`."""


def _repeat(loader: yaml.SafeLoader, node: yaml.SequenceNode) -> str:
    text, times = loader.construct_sequence(node)
    return str(text) * int(times)


def _variables(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> list[dict[str, str]]:
    return [{"name": f"V{number}"} for number in range(int(node.value))]


def _adapters(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> list[dict[str, Any]]:
    return [{"name": f"a{number}", "source": VALID["source"]} for number in range(int(node.value))]


Loader.add_constructor("!repeat", _repeat)
Loader.add_constructor("!variables", _variables)
Loader.add_constructor("!adapters", _adapters)


def rows(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = yaml.load((FOLDER / name).read_text(), Loader)
    return loaded


def model(row: dict[str, Any], namespace: str) -> dict[str, Any]:
    """The object of one row."""
    given = row.get("object", {})
    return {
        "apiVersion": "triton-vllm.dev/v1alpha1",
        "kind": "VLLMModel",
        "metadata": {"name": "m", "namespace": namespace, **given.get("metadata", {})},
        "spec": given.get("spec", row.get("spec", VALID)),
    }
