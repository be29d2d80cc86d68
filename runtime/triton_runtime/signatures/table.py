"""One row of the table of signatures."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Group(IntEnum):
    """Kinds of cause. Among lines of which none ended a process by itself, the first kind is believed.

    A configuration mistake often shows itself later as missing memory or a dead process, never the other way
    round: so the kinds go from what the user wrote, over what the pod can reach and read, to what the
    hardware lacks, and end with what merely died.
    """

    CONFIGURATION = 1
    ACCESS = 2
    FILES = 3
    CAPABILITY = 4
    MEMORY = 5
    COMMUNICATION = 6
    GENERIC = 7


#: A model that has served was configured, found, read and supported; requests can log such errors, too.
WHILE_SERVING: Final = frozenset({Group.MEMORY, Group.COMMUNICATION, Group.GENERIC})

#: Where something else may have been the cause: believed after all other kinds.
CONSEQUENCES: Final = frozenset({Group.COMMUNICATION, Group.GENERIC})

#: Works out more figures for detail and remedy from those in the text.
Figures = Callable[[Mapping[str, str]], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Signature:
    """One proof of one reason."""

    group: Group
    reason: str
    pattern: re.Pattern[str]
    detail: str = "{line}"
    """One sentence; {line} is the text itself, other names are groups of the pattern or figures."""
    remedy: str = ""
    """What to do, where the text says it better than the reason alone; used if all its figures are known."""
    frame: re.Pattern[str] | None = None
    """Where that must have been raised: searched in "path:function" of the traceback's frames."""
    figures: Figures | None = None
    last: bool = False
    """Believed only where no other row fits any exception of the chain."""


def row(
    group: Group,
    reason: str,
    pattern: str,
    detail: str = "{line}",
    remedy: str = "",
    *,
    frame: str = "",
    figures: Figures | None = None,
    last: bool = False,
) -> Signature:
    """One row; `pattern` and `frame` are searched in the exception on one line and in its frames."""
    where = re.compile(frame) if frame else None
    # Words of any length inside words of any length would take for ever on a log that repeats them.
    bounded = re.sub(r"\\([Sw])\*", r"\\\1{0,200}", pattern)
    return Signature(group, reason, re.compile(bounded), detail, remedy, where, figures, last)
