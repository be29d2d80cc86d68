"""Who may probe next: slots shared among namespaces, so that no tenant keeps another one waiting."""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

#: A probe that waits for its pod costs a connection and no CPU, so many more may wait than work.
_WAITING_PER_SLOT: Final = 16


@dataclass(slots=True)
class _Queue(Generic[Item]):
    due: deque[Item] = field(default_factory=deque)
    first: deque[Item] = field(default_factory=deque)
    working: int = 0
    held: int = 0
    turn: int = 0
    first_is_next: bool = False

    def next(self, *, firsts: bool) -> Item:
        """By turns, so that neither a fault of many pods nor many new pods keep the others waiting."""
        take_first = firsts and bool(self.first) and (self.first_is_next or not self.due)
        self.first_is_next = not take_first
        return (self.first if take_first else self.due).popleft()


class Shares(Generic[Item]):
    """Queues of what is due, one per namespace, and the slots that they share.

    A probe takes one of `slots` while it is young, for that is when it costs CPU. One that waits for its pod
    gives that slot up (`wait`) and keeps a place among the waiting. Of those a namespace may hold no more
    than are free (the dynamic thresholds by which switches share a buffer): some are always left for others.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._places = slots * _WAITING_PER_SLOT
        self._queues: dict[str, _Queue[Item]] = defaultdict(_Queue)
        self._turns = 0

    def put(self, namespace: str, item: Item, *, first: bool) -> None:
        """Queue what is due. `first`: a pod that was never probed."""
        queue = self._queues[namespace]
        (queue.first if first else queue.due).append(item)

    def take(self, *, firsts: bool) -> Item | None:
        """The next to start, of the namespace with the fewest at work; round robin among equals.

        `firsts`: whether a first probe may start now.
        """
        if sum(queue.working for queue in self._queues.values()) >= self._slots:
            return None
        free = self._places - sum(queue.held for queue in self._queues.values())
        able = [
            queue
            for queue in self._queues.values()
            if queue.held < free and (queue.due or (firsts and queue.first))
        ]
        if not able:
            return None
        queue = min(able, key=lambda queue: (queue.working, queue.turn))
        self._turns += 1
        queue.turn = self._turns
        queue.working += 1
        queue.held += 1
        return queue.next(firsts=firsts)

    def wait(self, namespace: str) -> None:
        """A started probe waits for its pod: its slot is free for another."""
        self._queues[namespace].working -= 1

    def release(self, namespace: str, *, waited: bool) -> None:
        """A started probe has ended. `waited`: it had given its slot up."""
        queue = self._queues[namespace]
        queue.held -= 1
        if not waited:
            queue.working -= 1
        if not queue.held and not queue.due and not queue.first:
            del self._queues[namespace]

    def heads(self) -> list[Item]:
        """What has waited longest, by namespace and kind."""
        return [line[0] for queue in self._queues.values() for line in (queue.due, queue.first) if line]

    @property
    def first_waiting(self) -> bool:
        """Whether pods never probed are waiting."""
        return any(queue.first for queue in self._queues.values())
