"""Finds `vllm serve` commands in a shell script, on a pasted line or in a container's command."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Final

from vllm_operator.convert import options, words
from vllm_operator.convert.serving import Place, Serving

#: Variables by name, each with its value and where that is written.
Variables = Mapping[str, tuple[str, Place]]

_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_OLD_MODULE: Final = "vllm.entrypoints.openai.api_server"
_SHELLS: Final = frozenset({"sh", "bash", "ash", "dash", "zsh", "ksh"})
#: `-c`, `-lc`, `-euxc`: the next word is a script.
_RUNS_SCRIPT: Final = re.compile(r"-[A-Za-z]*c")
#: A line that may go on: a command of ours, or a script in quotes that may hold one.
_MAY_GO_ON: Final = re.compile(r"vllm|sh\b.*\s-[A-Za-z]*c\s")
_MAX_LINES: Final = 100


def read(text: str, at: Place | None = None, variables: Variables | None = None) -> Iterator[Serving]:
    """One Serving for each command of the text; other commands only lend their `export`s.

    `at` is where everything is said to stand, for a text inside a document; None for a text of its own.
    """
    exported = dict(variables or {})
    for first, lines in _commands(text):
        if not _MAY_GO_ON.search(lines) and "export" not in lines:
            continue
        place = _places(lines, first, at)
        try:
            found = [[(word, place(offset)) for word, offset in each] for each in words.commands(lines)]
        except words.OpenQuote:
            continue  # no command that could be read
        for command in found:
            exported |= _exports(command)
            yield from from_words(command, exported)


def from_words(command: list[options.Token], variables: Variables | None = None) -> Iterator[Serving]:
    """The `vllm serve` of one command, or those of the script that it gives to a shell."""
    if script := script_of(command):
        text, place = script
        yield from read(text, place, variables)
        return
    start = _start([text for text, _ in command])
    if start is None:
        return
    serving = Serving(place=command[start - 1][1])
    assigned = {name: given for word in command[:start] for name, given in _assignment(word)}
    for name, (value, place) in (dict(variables or {}) | assigned).items():
        serving.environment[name], serving.places[f"env.{name}"] = value, place
    options.read(serving, command[start:])
    yield serving


def script_of(command: list[options.Token]) -> options.Token | None:
    """The script of `sh -c '...'`, `bash -o pipefail -ec '...'` or `env A=1 sh -c '...'`, else None."""
    shell = next((i for i, (text, _) in enumerate(command) if text.rpartition("/")[2] in _SHELLS), None)
    if shell is None or _start([text for text, _ in command[:shell]]) is not None:
        return None
    before = ""
    for (text, _), following in pairwise(command[shell + 1 :]):
        if _RUNS_SCRIPT.fullmatch(text):
            return following
        if not text.startswith(("-", "+")) and not before.endswith("o"):
            return None  # a file with the script, whose own words follow
        before = text
    return None


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
        held += line.rstrip() + "\n" if line.rstrip().endswith("\\") else line + "\n"
        if held.endswith("\\\n"):
            continue
        # Only a command of ours may have a value of several lines, and no value has hundreds.
        if number - first < _MAX_LINES and _MAY_GO_ON.search(held) and _is_open(held):
            continue
        yield first, held
        held = ""
    if held:
        yield first, held


def _is_open(text: str) -> bool:
    try:
        list(words.commands(text))
    except words.OpenQuote:
        return True
    return False


def _exports(command: list[options.Token]) -> dict[str, tuple[str, Place]]:
    if not command or command[0][0] != "export":
        return {}
    return {name: given for word in command[1:] for name, given in _assignment(word)}


def _assignment(word: options.Token) -> Iterator[tuple[str, tuple[str, Place]]]:
    text, place = word
    if _ASSIGNMENT.fullmatch(text):
        name, _, value = text.partition("=")
        yield name, (value, place)


def _places(text: str, first: int, at: Place | None) -> Callable[[int], Place]:
    """Line and column of an offset in a logical line."""

    def place(offset: int) -> Place:
        return at or (first + text.count("\n", 0, offset), offset - text.rfind("\n", 0, offset))

    return place
