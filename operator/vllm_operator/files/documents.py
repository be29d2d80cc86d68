"""Reads YAML and JSON files as kubectl does, and remembers where each field stands.

Built from the parser's events and not by recursion, so that no input overruns the stack; aliases are
shared and counted, so that a small file cannot stand for a huge one.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

MAX_DEPTH: Final = 100
MAX_NODES: Final = 200_000
SUFFIXES: Final = (".yaml", ".yml", ".json")
STDIN: Final = "-"

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class CannotRead(Exception):
    """A file cannot be read at all; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: line and column count from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Document:
    """One object of a file, or the reason why there is none."""

    file: str
    value: Any = None
    places: dict[str, Place] = field(default_factory=dict)
    error: str = ""
    duplicates: list[str] = field(default_factory=list)

    def place(self, path: str) -> Place:
        """Where `path` stands, or the closest field above it."""
        while path and path not in self.places:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.places.get(path, Place(1, 1))


def read(arguments: Iterable[str]) -> Iterator[Document]:
    """All documents of the named files, directories (recursively) and `-`."""
    for argument in arguments:
        if argument == STDIN:
            yield from parse(sys.stdin.buffer.read(), "<stdin>")
            continue
        path = Path(argument)
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
            if not files:
                raise CannotRead(f"{argument}: no .yaml, .yml or .json file in this directory")
        else:
            files = [path]
        for file in files:
            try:
                content = file.read_bytes()
            except OSError as error:
                raise CannotRead(f"{file}: {error.strerror or error}") from None
            yield from parse(content, str(file))


def parse(content: bytes, file: str) -> Iterator[Document]:
    """The documents of one file; an unreadable rest becomes one document with an error."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield Document(file, error=f"must be UTF-8 text: byte {error.start} is not")
        return
    start = Place(1, 1)
    try:
        for document in _Builder(text, file).documents():
            start = Place(document.place("").line, 1)
            yield from _items(document)
    except yaml.MarkedYAMLError as error:
        if (found := _json(text)) is not None:
            yield from _items(Document(file, found))
            return
        mark = error.problem_mark
        where = Place(mark.line + 1, mark.column + 1) if mark else start
        yield _unreadable(file, where, error.problem or error.context or "not YAML", text)
    except (yaml.YAMLError, _Refused, ValueError) as error:
        yield _unreadable(file, start, str(error), text)


def _json(text: str) -> Any:
    """The value of JSON that is not YAML: escaped surrogate pairs, tabs between members."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _unreadable(file: str, where: Place, problem: str, text: str) -> Document:
    hint = "; render Helm templates first (`helm template`)" if "{{" in text else ""
    return Document(file, places={"": where}, error=f"must be YAML: {' '.join(problem.split())[:200]}{hint}")


def _items(document: Document) -> Iterator[Document]:
    """The objects of a `List`, as `kubectl get -o yaml` writes it, or the document itself."""
    value = document.value
    is_list = isinstance(value, dict) and str(value.get("kind", "")).endswith("List")
    if not is_list or not isinstance(value.get("items"), list):
        yield document
        return
    for index, item in enumerate(value["items"]):
        prefix = f"items[{index}]"
        places = {
            path.removeprefix(prefix).lstrip("."): place
            for path, place in document.places.items()
            if path == prefix or path.startswith((f"{prefix}.", f"{prefix}["))
        }
        inner = [p.removeprefix(f"{prefix}.") for p in document.duplicates if p.startswith(f"{prefix}.")]
        yield Document(document.file, item, places, duplicates=inner)


class _Refused(Exception):
    """YAML that is well-formed and yet no object of Kubernetes."""


class _Loader(_Base):  # type: ignore[misc]
    """Scalars as kubectl reads them: no dates, no base-60 numbers, exponents without a dot."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith((":timestamp", ":int", ":float"))]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}
#: Numbers as kubectl's parser knows them, with the characters they start with.
NUMBERS: Final = (
    ("tag:yaml.org,2002:int", r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
)
for _tag, _pattern, _first in NUMBERS:
    _Loader.add_implicit_resolver(_tag, re.compile(f"^({_pattern})$"), list(_first))


@dataclass(slots=True)
class _Frame:
    """A list or mapping under construction."""

    value: Any
    path: str
    anchor: str | None
    key: str | None = None
    merges: list[Any] = field(default_factory=list)
    size: int = 1


class _Builder:
    """Turns the events of one text into documents."""

    def __init__(self, text: str, file: str) -> None:
        self._loader = _Loader(text)
        self._file = file
        self._document = Document(file)
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int]] = {}

    def documents(self) -> Iterator[Document]:
        """Every document that is not empty."""
        while self._loader.check_event():
            event = self._loader.get_event()
            if isinstance(event, yaml.DocumentStartEvent):
                self._document, self._anchors, self._stack = Document(self._file), {}, []
            elif isinstance(event, yaml.DocumentEndEvent):
                if self._document.value is not None:
                    yield self._document
            elif isinstance(event, yaml.ScalarEvent):
                self._add(self._scalar(event), event, 1)
            elif isinstance(event, yaml.AliasEvent):
                value, size = self._alias(event)
                self._add(value, event, size)
            elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
                self._open(event)
            elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
                self._close(event)

    def _open(self, event: Any) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise _Refused(f"nested deeper than {MAX_DEPTH} levels")
        if self._expects_key():
            raise _Refused("a key must be text")
        value: Any = [] if isinstance(event, yaml.SequenceStartEvent) else {}
        path = self._path()
        self._remember(path, event)
        self._stack.append(_Frame(value, path, event.anchor))

    def _close(self, event: Any) -> None:
        frame = self._stack.pop()
        if isinstance(frame.value, dict):
            for merged in frame.merges:
                for key, value in merged.items():
                    frame.value.setdefault(key, value)
        if frame.anchor:
            self._anchors[frame.anchor] = (frame.value, frame.size)
        self._add(frame.value, event, frame.size, closed=True)

    def _add(self, value: Any, event: Any, size: int, *, closed: bool = False) -> None:
        anchor = getattr(event, "anchor", None)
        if anchor and isinstance(event, yaml.ScalarEvent):
            self._anchors[anchor] = (value, 1)
        if not self._stack:
            if not closed:
                self._remember("", event)
            self._document.value = value
            return
        frame = self._stack[-1]
        frame.size += size
        if frame.size > MAX_NODES:
            raise _Refused(f"more than {MAX_NODES} values")
        if isinstance(frame.value, list):
            if not closed:
                self._remember(self._path(), event)
            frame.value.append(value)
        elif frame.key is None:
            self._key(frame, value, event)
        else:
            self._member(frame, value)

    def _key(self, frame: _Frame, value: Any, event: Any) -> None:
        if value is None or isinstance(value, dict | list):
            raise _Refused("a key must be text")
        frame.key = value if isinstance(value, str) else json.dumps(value)
        plain = isinstance(event, yaml.ScalarEvent) and event.implicit[0]
        if frame.key == "<<" and not plain:
            frame.key = "<<\0"  # a quoted key that only looks like a merge
        self._remember(self._path(), event)

    def _member(self, frame: _Frame, value: Any) -> None:
        key, frame.key = frame.key, None
        assert key is not None
        if key == "<<":
            merged = value if isinstance(value, list) else [value]
            if not all(isinstance(item, dict) for item in merged):
                raise _Refused("'<<' must refer to a mapping")
            frame.merges += merged
            return
        key = key.replace("<<\0", "<<")
        if key in frame.value:
            self._document.duplicates.append(f"{frame.path}.{key}" if frame.path else key)
        frame.value[key] = value

    def _expects_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None

    def _path(self) -> str:
        if not self._stack:
            return ""
        frame = self._stack[-1]
        if isinstance(frame.value, list):
            return f"{frame.path}[{len(frame.value)}]"
        return f"{frame.path}.{frame.key}" if frame.path else str(frame.key)

    def _remember(self, path: str, event: Any) -> None:
        mark = event.start_mark
        self._document.places.setdefault(path, Place(mark.line + 1, mark.column + 1))

    def _alias(self, event: Any) -> tuple[Any, int]:
        if event.anchor not in self._anchors:
            raise _Refused(f"alias '*{event.anchor}' stands before or inside its anchor")
        return self._anchors[event.anchor]

    def _scalar(self, event: Any) -> Any:
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        return _value(str(tag).rsplit(":", 1)[-1], event.value)


def _value(kind: str, text: str) -> Any:
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in ("yes", "true", "on", "y")
    if kind == "int":
        return _integer(text)
    if kind == "float":
        return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _integer(text: str) -> int:
    digits = text.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    if len(digits) > 40:
        raise _Refused(f"'{text[:20]}...' is not a number that Kubernetes can hold")
    for prefix, base in (("0x", 16), ("0b", 2), ("0o", 8)):
        if digits.startswith(prefix):
            return sign * int(digits[2:] or "0", base)
    if len(digits) > 1 and digits.startswith("0"):
        return sign * int(digits, 8)
    return sign * int(digits)
