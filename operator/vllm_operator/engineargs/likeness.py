"""The name that was meant: near in its letters, and never one that says the opposite."""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from itertools import takewhile
from typing import Final

#: First words that turn a switch on or off.
_POLARITY: Final = {"no": False, "disable": False, "enable": True}
#: Likeness of whole names, and of what differs behind common first words.
_WHOLE, _REST, _VALUE = 0.7, 0.8, 0.6
#: Letters at the start that make two words of one stem: `cache` and `caching`.
_STEM: Final = 4
#: Letters that tell a word of which they are the beginning.
_SHORTEST: Final = 3
#: From this many letters on, one wrong letter makes no other name.
_LONG: Final = 6
#: Short forms that people write, and vLLM's words for them.
_ALIASES: Final = {
    "fp16": "float16",
    "bf16": "bfloat16",
    "fp32": "float32",
    "f16": "float16",
    "f32": "float32",
}


def folded(name: str) -> str:
    """The name as vLLM's Python spells it: `--Max-Model-Len` is `max_model_len`."""
    return name.strip().lstrip("-").replace("-", "_").lower()


def positive(name: str) -> tuple[str, bool]:
    """The name without its first word of polarity, and whether that word turned it off."""
    first, _, rest = name.partition("_")
    return (rest, not _POLARITY[first]) if first in _POLARITY and rest else (name, False)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The likeliest of `names`, None where none is alike enough or only one of the other polarity is."""
    wanted = folded(name)
    known = [candidate for candidate in names if not candidate.startswith("_")]
    if wanted in known:
        return wanted
    if len(shortened := [candidate for candidate in known if _shortens(wanted, candidate)]) == 1:
        return shortened[0]
    if len(slips := [candidate for candidate in known if _is_slip(wanted, candidate)]) == 1:
        return slips[0]
    near = get_close_matches(wanted[:100], known, n=5, cutoff=_WHOLE)
    return next((candidate for candidate in near if _is_meant(wanted, candidate)), None)


def nearest_value(value: str, values: Iterable[str]) -> str | None:
    """The likeliest of `values`, whatever its case and whether its words are joined by `-` or `_`."""
    spelt = {_letters(candidate): candidate for candidate in values}
    wanted = _letters(value)
    wanted = _ALIASES.get(wanted, wanted) if wanted not in spelt else wanted
    if wanted in spelt:
        return spelt[wanted]
    started = [letters for letters in spelt if len(wanted) > 3 and letters.startswith(wanted)]
    near = started or get_close_matches(wanted[:100], list(spelt), n=1, cutoff=_VALUE)
    return spelt[near[0]] if near else None


def _shortens(wanted: str, candidate: str) -> bool:
    """`gpu_mem_util` for `gpu_memory_utilization`: each word by its first letters."""
    ours, theirs = wanted.split("_"), candidate.split("_")
    return len(ours) == len(theirs) and all(
        word == full or (len(word) >= _SHORTEST and full.startswith(word))
        for word, full in zip(ours, theirs, strict=True)
    )


def _is_slip(wanted: str, candidate: str) -> bool:
    """One letter more, less, or another one, or two neighbours changed, in a name that is long enough."""
    if min(len(wanted), len(candidate)) < _LONG or abs(len(wanted) - len(candidate)) > 1:
        return False
    same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(wanted, candidate, strict=False))))
    ours, theirs = wanted[same:], candidate[same:]
    changed = len(ours) > 1 and ours[:2] == theirs[:2][::-1] and ours[2:] == theirs[2:]
    return changed or ours[1:] == theirs[1:] or ours == theirs[1:] or ours[1:] == theirs


def _is_meant(wanted: str, candidate: str) -> bool:
    if _polarity(wanted) != _polarity(candidate):
        return False
    ours, theirs = wanted.split("_"), candidate.split("_")
    while ours and theirs and ours[0] == theirs[0]:
        ours, theirs = ours[1:], theirs[1:]
    rest, other = "_".join(ours), "_".join(theirs)
    if not rest or not other or rest.startswith(other) or other.startswith(rest):
        return True
    stem = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(rest, other, strict=False))))
    if stem >= _STEM and stem >= 0.6 * min(len(rest), len(other)):
        return True
    return SequenceMatcher(None, rest, other).ratio() >= _REST


def _polarity(name: str) -> bool:
    return _POLARITY.get(name.partition("_")[0], True)


def _letters(value: str) -> str:
    return value.strip().lower().replace("-", "_")
