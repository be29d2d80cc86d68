"""The simple commands of a shell text and their words, as a POSIX shell splits them; nothing is expanded."""

import re
from collections.abc import Iterator
from typing import Final

#: A word, and where it begins in the text.
Word = tuple[str, int]

_BLANK: Final = re.compile(r"(?:\s|\\\n)+|\\\Z")
_COMMENT: Final = re.compile(r"#[^\n]*")
#: A file descriptor may stand before the sign: `2>&1`. A placeholder, `<model>`, is none: people paste those.
_REDIRECTION: Final = re.compile(r"(?:\d*(?:<<<|<<-?|<>|>>|>\||[<>]&|<(?!\()|>(?!\())|&>>?)[ \t]*")
_PLACEHOLDER: Final = re.compile(r"<[A-Za-z][A-Za-z0-9_./-]*>(?!\S)")
_SEPARATOR: Final = re.compile(r";;|;|&&|&|\|\||\|&|\||[()]")
_PLAIN: Final = re.compile(r"[^\s'\"\\`$|&;<>()]+")
_SINGLE: Final = re.compile(r"'([^']*)'")
_DOUBLE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BACKQUOTED: Final = re.compile(r"`(?:[^`\\]|\\.)*`", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED_IN_DOUBLE: Final = re.compile(r"\\([$`\"\\\n])")


class OpenQuote(ValueError):
    """A quote, or a `$(`, that the text never closes."""


def commands(text: str) -> Iterator[list[Word]]:
    """Each simple command between `;`, `&`, `&&`, `|`, `||` and parentheses, without its redirections.

    Raises OpenQuote.
    """
    words: list[Word] = []
    position = 0
    while position < len(text):
        if found := _BLANK.match(text, position) or _COMMENT.match(text, position):
            position = found.end()
        elif not _PLACEHOLDER.match(text, position) and (found := _REDIRECTION.match(text, position)):
            position = _word(text, found.end())[1]
        elif found := _SEPARATOR.match(text, position):
            position = found.end()
            if words:
                yield words
            words = []
        else:
            start = position
            word, position = _word(text, position)
            words.append((word, start))
    if words:
        yield words


def _word(text: str, position: int) -> tuple[str, int]:
    """The word that begins here, with its quotes taken off, and where it ends."""
    pieces: list[str] = []
    while position < len(text):
        piece, end = _piece(text, position)
        if end == position:
            break
        pieces.append(piece)
        position = end
    return "".join(pieces), position


def _piece(text: str, position: int) -> tuple[str, int]:
    """One quoted or unquoted part of a word; of no length where the word ends."""
    if found := _PLAIN.match(text, position) or _PLACEHOLDER.match(text, position):
        return found[0], found.end()
    first = text[position]
    if first == "'" and (found := _SINGLE.match(text, position)):
        return found[1], found.end()
    if first == '"' and (found := _DOUBLE.match(text, position)):
        return _ESCAPED_IN_DOUBLE.sub(lambda m: "" if m[1] == "\n" else m[1], found[1]), found.end()
    if first == "\\" and (found := _ESCAPED.match(text, position)):
        return ("" if found[1] == "\n" else found[1]), found.end()
    if first == "`" and (found := _BACKQUOTED.match(text, position)):
        return found[0], found.end()
    if first in "'\"`":
        raise OpenQuote(f"an open {first}")
    if text.startswith(("$(", "<(", ">("), position):
        end = _closed(text, position + 1)
        return text[position:end], end
    return (first, position + 1) if first == "$" else ("", position)


def _closed(text: str, position: int) -> int:
    """Where the parenthesis that opens here is closed."""
    depth = 0
    for index in range(position, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            return index + 1
    raise OpenQuote("an open (")
