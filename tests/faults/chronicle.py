"""Every status ever written in a namespace, held against what was true at that time."""

import http.client
import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from operatorkit.api import Api, Refused
from operatorkit.waiting import wait_for


class Truth(StrEnum):
    """What is so, whatever the status says."""

    SERVES = "serves"
    """Pods answer inferences."""
    DOWN = "does not serve"
    """No pod does."""
    OPEN = "open"
    """It is changing, or nobody can tell."""


@dataclass(frozen=True)
class Written:
    """A status as the watch told of it, at a time of the monotonic clock."""

    at: float
    name: str
    conditions: Mapping[str, Mapping[str, str]]
    status: Mapping[str, Any]

    def says(self, kind: str) -> str:
        """Status and reason of a condition, empty where there is none."""
        found = self.conditions.get(kind)
        return f"{found['status']}/{found['reason']}" if found else ""


@dataclass(frozen=True)
class Falsehood:
    """A statement that was not true, and how long it stood (seconds)."""

    name: str
    said: str
    truth: Truth
    seconds: float

    def __str__(self) -> str:
        return f"{self.name} was called {self.said} for {self.seconds:.1f} s while it {self.truth}"


class Chronicle:
    """A thread that watches VLLMModels; the test says what is true."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self.statuses: dict[str, list[Written]] = {}
        self.truths: dict[str, list[tuple[float, Truth]]] = {}
        self._open = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chronicle", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for("the chronicle watches", self._open.is_set)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()  # its last watch ends by itself

    def true(self, name: str, truth: Truth) -> None:
        """From now on this is so."""
        self.truths.setdefault(name, []).append((time.monotonic(), truth))

    def since(self, name: str) -> float:
        """When the truth about a model last changed."""
        return self.truths[name][-1][0]

    def of(self, name: str) -> list[Written]:
        """A model's statuses, oldest first."""
        return self.statuses.get(name, [])

    def falsehoods(self) -> Iterator[Falsehood]:
        """Each untrue statement with its length, up to now."""
        for name, truths in self.truths.items():
            yield from _false(name, self.of(name), truths, time.monotonic())

    def turned_false_while_serving(self) -> Iterator[str]:
        """Statuses that turned Available to False without any evidence there could have been."""
        for name, truths in self.truths.items():
            statuses = self.of(name)
            for before, after in itertools.pairwise(statuses):
                now, then = after.says("Available"), before.says("Available")
                turned = now.startswith("False") and not then.startswith("False")
                if turned and _truth_at(truths, after.at) is Truth.SERVES:
                    yield f"{name} serves and Available turned {now}"

    def lines(self) -> Iterator[str]:
        """Every status in words, with the seconds from the first of all."""
        first = min((told[0].at for told in self.statuses.values() if told), default=0.0)
        for told in self.statuses.values():
            for one in told:
                said = f"Available={one.says('Available')} Ready={one.says('Ready')}"
                message = one.conditions.get("Ready", {}).get("message", "")
                yield f"{one.at - first:7.2f} {one.name} {said} {one.status.get('replicaSummary')} {message}"

    def _run(self) -> None:
        version = ""
        while not self._stop.is_set():
            try:
                if not version:
                    items, version = self._api.snapshot("vllmmodels", self._namespace)
                    for item in items:
                        self._note(item)
                    self._open.set()
                for event in self._api.watch("vllmmodels", self._namespace, version):
                    if event["type"] == "ERROR":
                        version = ""
                        break
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] in ("ADDED", "MODIFIED"):
                        self._note(event["object"])
                    if self._stop.is_set():
                        break
            except (Refused, OSError, http.client.HTTPException, ValueError):
                # The API server is away; after an expired version a list starts anew.
                version = ""
                self._stop.wait(0.2)

    def _note(self, model: Mapping[str, Any]) -> None:
        status = model.get("status") or {}
        conditions = {found["type"]: found for found in status.get("conditions") or ()}
        name = model["metadata"]["name"]
        before = self.statuses.setdefault(name, [])
        if not before or before[-1].status != status:  # else it is an edit of the spec
            before.append(Written(time.monotonic(), name, conditions, status))


def _untrue(written: Written, truth: Truth) -> str:
    """What in a status contradicts the truth, empty where nothing does."""
    available, ready = written.says("Available"), written.says("Ready")
    if truth is Truth.SERVES and not available.startswith("True"):
        return f"Available={available}"
    if truth is Truth.DOWN and available.startswith("True"):
        return f"Available={available}"
    if truth is Truth.DOWN and ready.startswith("True"):
        return f"Ready={ready}"
    return ""


def _truth_at(truths: list[tuple[float, Truth]], at: float) -> Truth:
    return next((truth for since, truth in reversed(truths) if since <= at), Truth.OPEN)


def _false(
    name: str, statuses: list[Written], truths: list[tuple[float, Truth]], now: float
) -> Iterator[Falsehood]:
    """Walk over both histories; statements that are false one after the other count as one."""
    changes = sorted({*(written.at for written in statuses), *(since for since, _ in truths), now})
    said, truth, since = "", Truth.OPEN, 0.0
    told = known = -1
    for at in changes:
        while told + 1 < len(statuses) and statuses[told + 1].at <= at:
            told += 1
        while known + 1 < len(truths) and truths[known + 1][0] <= at:
            known += 1
        standing = statuses[told] if told >= 0 else None
        there = truths[known][1] if known >= 0 else Truth.OPEN
        untrue = _untrue(standing, there) if standing else ""
        if said and (not untrue or at == now or there is not truth):
            yield Falsehood(name, said, truth, at - since)
            said = ""
        if untrue and not said:
            said, truth, since = untrue, there, at
