"""Waiting on conditions with a deadline; tests never sleep a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.1


def wait_for(what: str, look: Callable[[], T], seconds: float = 60, *, note: Callable[[], str] = str) -> T:
    """Poll until `look` returns something true, and return that; fail with `what` and the note otherwise."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}. {note()}")
        time.sleep(_POLL_SECONDS)


def stays(what: str, look: Callable[[], bool], seconds: float) -> None:
    """Fail as soon as `look` turns false within the time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not look():
            raise AssertionError(f"it did not stay so for {seconds:g} s: {what}")
        time.sleep(_POLL_SECONDS)
