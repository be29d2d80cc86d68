"""Whether the engine gets on, where it may be several ranks of which one can hang while others serve. Pure.

With data parallelism each rank is an engine of its own with its own requests. The steps of one say nothing
of another. So what counts is rounds: one is over when every rank that had requests at its start, and has
them still, has sent something.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet


class Progress:
    """Counts rounds, from one message of a rank after the other."""

    def __init__(self) -> None:
        self.rounds = 0
        self._owing: set[int] = set()

    def sent(self, rank: int, busy: AbstractSet[int]) -> None:
        """Take a message of `rank` into account; `busy` are the ranks that have requests after it."""
        self._owing &= busy
        self._owing.discard(rank)
        if not self._owing:
            self._next(busy)

    def all_answered(self, busy: AbstractSet[int]) -> None:
        """Take an answer into account that all ranks gave."""
        self._next(busy)

    def _next(self, busy: AbstractSet[int]) -> None:
        self.rounds += 1
        self._owing = set(busy)
