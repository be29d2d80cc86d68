"""Clients that go on sending while a model is rolled, and count what fails."""

import http.client
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import tritonclient.grpc as grpc_client

from demo import triton
from e2e.models import TAUGHT, Served

LONG: Final = TAUGHT["long"]
ENOUGH_FAILURES: Final = 10
#: Between two requests of a client: new pods load on the same two cores that the old ones answer on.
PAUSE_SECONDS: Final = 5.0


@dataclass
class Clients:
    """Streaming clients of each kind, and connections that stay idle, for as long as the block lasts."""

    model: Served
    answered: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> "Clients":
        self._address = self.model.address
        self._stop = threading.Event()
        self._idle_http = [self._idle_connection() for _ in range(3)]
        self._idle_grpc = [grpc_client.InferenceServerClient(f"{self._address}:8001") for _ in range(2)]
        for idle in self._idle_grpc:
            assert idle.is_server_live()
        kept = grpc_client.InferenceServerClient(f"{self._address}:8001")
        kinds: dict[str, Callable[[], str]] = {
            "gRPC stream, a new connection each": lambda: self._stream(None),
            "gRPC stream, one connection kept": lambda: self._stream(kept),
            "HTTP, a new connection each": self._generate,
        }
        self._threads = [
            threading.Thread(target=self._send, args=kind, daemon=True) for kind in kinds.items()
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=90)
            assert not thread.is_alive(), "a client's request did not end"
        for connection in self._idle_http:
            connection.close()
        for idle in self._idle_grpc:
            idle.close()

    def _send(self, kind: str, request: Callable[[], str]) -> None:
        began = time.monotonic()
        while not self._stop.is_set():
            at = time.monotonic() - began
            try:
                text = request()
            except Exception as error:
                self._failed(f"{at:.1f} s: {kind}: {type(error).__name__}: {error}")
                continue
            if text != LONG["continuation"]:
                self._failed(f"{at:.1f} s: {kind}: another answer than taught: {text!r}")
            self.answered[kind] = self.answered.get(kind, 0) + 1
            self._stop.wait(PAUSE_SECONDS)

    def _failed(self, what: str) -> None:
        """One failure fails the test; a few are enough to see what it is, and to leave the server alone."""
        print(f"request failed: {what}", flush=True)
        self.failures.append(what)
        if len(self.failures) >= ENOUGH_FAILURES:
            self._stop.set()

    def _stream(self, client: grpc_client.InferenceServerClient | None) -> str:
        address = f"{self._address}:8001"
        return "".join(triton.stream(address, self.model.name, LONG["prompt"], max_tokens=400, client=client))

    def _generate(self) -> str:
        return triton.generate(f"{self._address}:8000", self.model.name, LONG["prompt"], max_tokens=400)

    def _idle_connection(self) -> http.client.HTTPConnection:
        """A keep-alive connection that has had one answer and then stays silent."""
        connection = http.client.HTTPConnection(self._address, 8000, timeout=30)
        connection.request("GET", "/v2/health/live")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        assert isinstance(connection.sock, socket.socket), "the server closed the connection"
        return connection
