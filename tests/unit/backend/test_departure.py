"""When a model counts as leaving: one sign after the other, and below a server that answers as told."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from vllm_triton import departure
from vllm_triton.departure import Judgement, Sign, Sockets, sign_of_index

BACKEND = Path(__file__).parents[3] / "backend"
SECONDS = 20.0
SERVED, UNLOADING, AWAY, ANSWERED, NOTHING = Sign


@pytest.mark.parametrize(
    ("signs", "leaving"),
    [
        ([SERVED], False),
        ([SERVED, UNLOADING], False),
        ([SERVED, UNLOADING, UNLOADING], True),
        ([SERVED, UNLOADING, NOTHING, UNLOADING], True),
        ([SERVED, UNLOADING, ANSWERED, UNLOADING], False),
        ([UNLOADING, UNLOADING, ANSWERED, ANSWERED], True),
        ([UNLOADING, UNLOADING, SERVED], False),
        ([SERVED] + [ANSWERED] * 1000, False),
        ([SERVED] + [NOTHING] * 1000, False),
        ([AWAY, AWAY], False),
        ([AWAY, AWAY, AWAY], True),
        ([AWAY, AWAY, NOTHING, AWAY], True),
        ([AWAY, AWAY, ANSWERED, AWAY], False),
        ([AWAY, AWAY, AWAY, ANSWERED], False),
        ([AWAY, AWAY, AWAY, SERVED, SERVED], False),
    ],
)
def test_judgement(signs: Sequence[Sign], leaving: bool) -> None:
    judgement = Judgement()
    for sign in signs:
        judgement.take(sign)
    assert judgement.leaving is leaving


HTTP, GRPC = ("127.0.0.1", 8000), ("127.0.0.1", 8001)


@pytest.mark.parametrize(
    ("lists", "closed"),
    [
        ([set(), {HTTP}, {HTTP, GRPC}, {HTTP, GRPC}], False),
        ([{HTTP, GRPC}, {GRPC}, {HTTP, GRPC}, {HTTP}], False),
        ([{HTTP, GRPC}, {GRPC}, {HTTP}, {HTTP, GRPC}], False),
        ([{HTTP, GRPC}, {GRPC}, {GRPC}], True),
        ([{HTTP, GRPC}, {GRPC}, set()], True),
        ([{HTTP, GRPC}, set(), set()], True),
    ],
)
def test_a_socket_is_closed_when_two_lists_lack_it(lists: Sequence[set[Any]], closed: bool) -> None:
    sockets = Sockets()
    for listed in lists:
        sockets.take(listed)
    assert sockets.closed is closed


@pytest.mark.parametrize(
    ("status", "models", "sign"),
    [
        (200, [{"name": "m", "version": "1", "state": "READY"}], SERVED),
        (200, [{"name": "m", "version": "1", "state": "UNLOADING", "reason": ""}], UNLOADING),
        (200, [{"name": "m", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"}], UNLOADING),
        (200, [{"name": "m", "version": "1", "state": "LOADING"}], ANSWERED),
        (200, [{"name": "other", "version": "1", "state": "READY"}], UNLOADING),
        (
            200,
            [
                {"name": "m", "version": "2", "state": "READY"},
                {"name": "m", "version": "1", "state": "UNLOADING"},
            ],
            UNLOADING,
        ),
        (200, [{"name": "m"}], UNLOADING),
        (403, {"error": "This API is restricted, expecting header 'x'"}, ANSWERED),
        (503, [], ANSWERED),
        (200, None, ANSWERED),
    ],
)
def test_what_the_index_says(status: int, models: Any, sign: Sign) -> None:
    assert sign_of_index(status, json.dumps(models).encode(), "m", "1") is sign
    assert sign_of_index(status, b"<html>", "m", "1") is ANSWERED


class Triton:
    """An HTTP endpoint that answers as told, and a watch in a process below this one, as a stub is."""

    def __init__(self, folder: Path) -> None:
        self.ready: Iterator[int] | int = 200
        self.index: tuple[int, Any] = (200, [{"name": "m", "version": "1", "state": "READY"}])
        self.asked: Queue[int] = Queue()
        triton = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/v2":
                    self._answer(200, {"name": "triton"})
                    return
                status = triton.ready if isinstance(triton.ready, int) else next(triton.ready, 200)
                self._answer(status, {})
                triton.asked.put(status)

            def do_POST(self) -> None:
                self._answer(*triton.index)

            def _answer(self, status: int, content: Any) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        program = """
import os, resource, signal, sys
sys.path.insert(0, sys.argv[1])
# Told by a signal, it has no descriptor left for a new file, until the next one.
def starve(*_):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = limits[1] if limits[0] < 64 else 4
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, limits[1]))
    print("starved" if soft == 4 else "fed", flush=True)
signal.signal(signal.SIGUSR1, starve)
import http.client, json, socket
from vllm_triton.departure import DepartureWatch
say = lambda word: lambda: print(word, flush=True)
words = {word: say(word) for word in ("leaving", "closing", "staying", "drained")}
DepartureWatch("m", "1", **words)
sys.stdin.read()
"""
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(BACKEND)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TRITON_VLLM_ENGINE_STATE_FILE": str(folder / "state.json")},
            text=True,
        )
        self.said: Queue[str] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.said.put(line.strip())

    def polled(self, status: int, times: int = 1) -> None:
        """Wait until the watch has been answered so."""
        while times:
            times -= self.asked.get(timeout=SECONDS) == status

    def silent(self) -> bool:
        try:
            print(self.said.get_nowait())
        except Empty:
            return True
        return False

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def triton(tmp_path: Path) -> Iterator[Triton]:
    triton = Triton(tmp_path)
    yield triton
    triton.close()


@pytest.mark.parametrize("status", [400, 503])
def test_a_server_under_load_that_says_not_ready_goes_on_serving(triton: Triton, status: int) -> None:
    triton.polled(200)
    triton.ready = iter([status])
    triton.polled(200, 2)
    triton.ready = status
    triton.polled(status, 6)
    assert triton.silent()


@pytest.mark.parametrize("answer", [(403, {"error": "restricted"}), (500, {}), (404, {})])
def test_nor_does_it_count_where_the_index_cannot_be_asked(triton: Triton, answer: Any) -> None:
    triton.index = answer
    triton.polled(200)
    triton.ready = 503
    triton.polled(503, 6)
    assert triton.silent()


def test_an_unloading_counts_and_is_taken_back(triton: Triton) -> None:
    triton.polled(200)
    triton.index = (200, [{"name": "m", "version": "1", "state": "UNLOADING"}])
    triton.ready = 400
    assert triton.said.get(timeout=SECONDS) == "closing"
    triton.ready = 200
    assert triton.said.get(timeout=SECONDS) == "staying"
    triton.polled(200)
    assert triton.silent()


def test_a_shutdown_counts_at_once(triton: Triton) -> None:
    triton.polled(200)
    triton.server.shutdown()
    triton.server.server_close()
    assert triton.said.get(timeout=SECONDS) == "leaving"


def test_a_look_that_fails_shows_nothing_and_the_watch_goes_on(triton: Triton) -> None:
    """No descriptor is left for a while; the shutdown that comes after that is seen."""
    triton.polled(200)
    triton.process.send_signal(signal.SIGUSR1)
    assert triton.said.get(timeout=SECONDS) == "starved"
    with pytest.raises(Empty):
        triton.said.get(timeout=3)
    triton.process.send_signal(signal.SIGUSR1)
    assert triton.said.get(timeout=SECONDS) == "fed"
    triton.server.shutdown()
    triton.server.server_close()
    assert triton.said.get(timeout=SECONDS) == "leaving"


@pytest.mark.parametrize("unreadable", ["tcp", "tcp6"])
def test_a_list_of_which_a_part_cannot_be_read_is_none(
    unreadable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_text

    def fail(self: Path, *args: Any, **also: Any) -> str:
        if self.name == unreadable:
            raise OSError(errno.EMFILE, "Too many open files")
        return read(self, *args, **also)

    monkeypatch.setattr(Path, "read_text", fail)
    with pytest.raises(OSError, match="Too many open files"):
        list(departure._listening(os.getpid()))


def test_the_entry_points_word_counts_before_anything_is_closed(triton: Triton, tmp_path: Path) -> None:
    triton.polled(200)
    (tmp_path / "terminating").touch()
    assert [triton.said.get(timeout=SECONDS) for _ in range(2)] == ["leaving", "drained"]


def test_connections_turned_away_count(triton: Triton, monkeypatch: pytest.MonkeyPatch) -> None:
    triton.polled(200)
    turn_away: Callable[..., None] = lambda *_: None  # noqa: E731 - in place of the whole handler
    monkeypatch.setattr(triton.server, "finish_request", turn_away)
    assert triton.said.get(timeout=SECONDS) == "closing"
    monkeypatch.undo()
    assert triton.said.get(timeout=SECONDS) == "staying"
