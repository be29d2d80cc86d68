"""What the tests of conversion read with."""

from typing import Any

from vllm_operator.convert import formats
from vllm_operator.files import documents


def one(text: str) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    ((value, places, left),) = formats.from_text(text)
    return value, places, [leftover.message for leftover in left]


def from_yaml(text: str, wanted: str = "auto") -> tuple[dict[str, Any], list[str]]:
    (document,) = documents.parse(text.encode(), "file.yaml")
    ((value, _, left),) = formats.from_document(
        document.value, lambda path: (document.place(path).line, document.place(path).column), wanted
    )
    return value["spec"], [leftover.message for leftover in left]
