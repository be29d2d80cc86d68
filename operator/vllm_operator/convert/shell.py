"""Finds `vllm serve` commands in a shell script or on a pasted line."""

import re
import shlex
from collections.abc import Iterator
from typing import Final

from vllm_operator.convert import options
from vllm_operator.convert.serving import Place, Serving

_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_OLD_MODULE: Final = "vllm.entrypoints.openai.api_server"
_MAX_LINES: Final = 100
_END: Final = frozenset({"&&", "||", ";", "|", "&", ">", ">>", "2>&1", "2>", "<", "&>", "1>"})


def read(text: str) -> Iterator[Serving]:
    """One Serving for each command of the text; other commands only lend their `export`s."""
    exported: dict[str, tuple[str, Place]] = {}
    for line, command in _commands(text):
        if "vllm" not in command and not command.lstrip().startswith("export "):
            continue
        try:
            words = shlex.split(command, comments=True)
        except ValueError:
            continue  # an open quote: no command that could be read
        exported |= _exports(words, line)
        yield from from_words([(word, (line, 1)) for word in words], exported, _lines(command, line))


def from_words(
    words: list[options.Token],
    exported: dict[str, tuple[str, Place]] | None = None,
    lines: dict[str, Place] | None = None,
) -> Iterator[Serving]:
    """The command among these words, with the variables before it; `lines` says where a word stands."""
    texts = [text for text, _ in words]
    start = _start(texts)
    if start is None:
        return
    end = next((i for i in range(start, len(texts)) if texts[i] in _END), len(texts))
    serving = Serving(place=words[start - 1][1])
    for name, (value, place) in (exported or {}).items():
        serving.environment[name], serving.places[f"env.{name}"] = value, place
    for text, place in words[:start]:
        if _ASSIGNMENT.fullmatch(text):
            name, _, value = text.partition("=")
            serving.environment[name], serving.places[f"env.{name}"] = value, place
    placed = [(text, (lines or {}).get(text, place)) for text, place in words[start:end]]
    options.read(serving, placed)
    yield serving


def _start(texts: list[str]) -> int | None:
    """Where the options begin: behind `vllm serve`, or behind the older module's name."""
    for index, text in enumerate(texts):
        if text.rpartition("/")[2] == "vllm" and texts[index + 1 : index + 2] == ["serve"]:
            return index + 2
        if text == _OLD_MODULE:
            return index + 1
    return None


def _commands(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their first line; `\\` and an open quote join lines."""
    held, first = "", 1
    for number, line in enumerate(text.splitlines(), start=1):
        first = first if held else number
        stripped = line.rstrip()
        if stripped.endswith("\\"):
            held += stripped[:-1] + "\n"
            continue
        held += line + "\n"
        # Only a command of ours may have a value of several lines, and no value has hundreds.
        if "vllm" in held and number - first < _MAX_LINES and _is_open(held):
            continue
        yield first, held
        held = ""
    if held:
        yield first, held


def _is_open(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return False


def _exports(words: list[str], line: int) -> dict[str, tuple[str, Place]]:
    if words[:1] != ["export"]:
        return {}
    pairs = [word.partition("=") for word in words[1:] if "=" in word]
    return {name: (value, (line, 1)) for name, _, value in pairs}


def _lines(command: str, first: int) -> dict[str, Place]:
    """Line and column of each option's text in a command of several lines."""
    found: dict[str, Place] = {}
    for offset, line in enumerate(command.splitlines()):
        for match in re.finditer(r"(?<!\S)-{1,2}[A-Za-z][^\s]*", line):
            found.setdefault(match[0].strip("'\""), (first + offset, match.start() + 1))
    return found
