"""Files of other formats as VLLMModels with the places of their lines."""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from vllm_operator.convert import formats
from vllm_operator.convert.serving import Leftover
from vllm_operator.convert.serving import Place as Pair
from vllm_operator.files.documents import STDIN, CannotRead, Document, Place, parse

Read = tuple[Document, list[Leftover]]


class NothingToConvert(CannotRead):
    """A file holds nothing of the wanted format; the message says which file."""


def read(arguments: Iterable[str], wanted: str) -> Iterator[Read]:
    """The VLLMModels that the named files, or `-`, stand for, each with what has no place in it."""
    for argument in arguments:
        name = "<stdin>" if argument == STDIN else argument
        found = list(_of_content(_content(argument), name, wanted))
        if not found:
            raise NothingToConvert(
                f"{name}: holds no `vllm serve` command, compose service, model.json, InferenceService or "
                f"KubeAI Model that could be converted{'' if wanted == 'auto' else f' (--from {wanted})'}"
            )
        yield from found


def _content(argument: str) -> bytes:
    if argument == STDIN:
        return sys.stdin.buffer.read()
    try:
        return Path(argument).read_bytes()
    except OSError as error:
        raise CannotRead(f"{argument}: {error.strerror or error}") from None


def _of_content(content: bytes, name: str, wanted: str) -> Iterator[Read]:
    if wanted in ("auto", "serve"):
        text = content.decode("utf-8", errors="replace")
        structured = wanted == "auto" and any(_from_yaml(content, name, wanted))
        if not structured:
            yield from (_document(name, *converted) for converted in formats.from_text(text))
            return
    yield from _from_yaml(content, name, wanted)


def _from_yaml(content: bytes, name: str, wanted: str) -> Iterator[Read]:
    for document in parse(content, name):
        if document.error:
            if wanted not in ("auto", "serve"):
                raise CannotRead(f"{name}: {document.error}")
            continue
        for converted in formats.from_document(document.value, _places(document), wanted):
            yield _document(name, *converted)


def _places(document: Document) -> Callable[[str], Pair]:
    def place(path: str) -> Pair:
        found = document.place(path)
        return found.line, found.column

    return place


def _document(name: str, value: dict[str, object], places: dict[str, Pair], left: list[Leftover]) -> Read:
    return Document(name, value, {path: Place(*place) for path, place in places.items()}), left
