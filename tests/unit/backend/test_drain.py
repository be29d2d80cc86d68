"""The time that requests in flight have, which can be taken back."""

import threading

import pytest

from vllm_triton.drain import Drain

SECONDS = 10.0


class Requests:
    """Requests in flight: the time runs out, or they end, when the test says so."""

    def __init__(self) -> None:
        self.asked: float | None = None
        self.all_sent = False
        self.over = threading.Event()
        self.ended = threading.Event()

    def run_out(self, seconds: float) -> bool:
        self.asked = seconds
        assert self.over.wait(SECONDS)
        return self.all_sent


@pytest.mark.parametrize(
    ("all_sent", "cancelled", "ended"),
    [(False, False, True), (True, False, False), (False, True, False), (True, True, False)],
)
def test_what_is_late_is_ended_unless_it_was_taken_back(all_sent: bool, cancelled: bool, ended: bool) -> None:
    requests = Requests()
    before = set(threading.enumerate())
    drain = Drain(requests.run_out, requests.ended.set, 30.0)
    drain.begin()
    (thread,) = set(threading.enumerate()) - before
    if cancelled:
        drain.cancel()
    requests.all_sent = all_sent
    requests.over.set()
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert requests.asked == 30.0
    assert requests.ended.is_set() is ended


def test_who_begins_it_does_not_wait() -> None:
    requests = Requests()
    Drain(requests.run_out, requests.ended.set, 30.0).begin()
    assert not requests.over.is_set()
    requests.over.set()
    assert requests.ended.wait(SECONDS)
