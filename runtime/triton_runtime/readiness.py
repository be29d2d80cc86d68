"""The container's own answer to whether it can serve: a small HTTP endpoint for the kubelet."""

import contextlib
import http.client
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

PATH: Final = "/ready"
#: Triton's own answer may take 5 s, for which it waits for the backend; the kubelet waits for 6 s.
TRITON_SECONDS: Final = 5.5
#: A question must be there whole so long after its connection, and its answer be taken in as much time.
CLIENT_SECONDS: Final = 5.0
#: The kubelet asks one or two at a time. More connections than this cost those that wait longest for their
#: question, never one that has asked.
MOST_AT_ONCE: Final = 32


class Endpoint:
    """Listens from its making on; answers once it is told whom to ask."""

    def __init__(self, port: int) -> None:
        self._server = _Server(("", port), _Handler)

    def start(self, unready: Callable[[], str | None]) -> None:
        """Answer in threads of its own; `unready` says why the container cannot serve, None if it can."""
        self._server.unready = unready
        threading.Thread(target=self._server.serve_forever, name="readiness", daemon=True).start()


class _Server(socketserver.ThreadingTCPServer):
    """Not `http.server`'s, which asks the network for this host's name before it listens.

    Who connects and does not ask, or asks a byte at a time, must not keep the kubelet out: anybody who
    reaches the port could take the model out of its Service.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    unready: Callable[[], str | None]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._lock = threading.Lock()
        # Connections without their whole question, the oldest first, with the time until which they may wait.
        self._unasked: dict[socket.socket, float] = {}
        self._answering = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            full = len(self._unasked) + self._answering >= MOST_AT_ONCE
            if full and self._unasked:
                self._drop_oldest()
                full = False
            if not full:
                self._unasked[request] = time.monotonic() + CLIENT_SECONDS
        if full:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._unasked.pop(request, None)

    def service_actions(self) -> None:
        """End those whose time is over; `serve_forever` calls this twice a second and at each connection."""
        now = time.monotonic()
        with self._lock:
            while self._unasked and next(iter(self._unasked.values())) <= now:
                self._drop_oldest()

    @contextlib.contextmanager
    def answering(self, request: socket.socket) -> Iterator[None]:
        """Hold a place that nobody takes away, for who has asked."""
        with self._lock:
            self._unasked.pop(request, None)
            self._answering += 1
        try:
            yield
        finally:
            with self._lock:
                self._answering -= 1

    def _drop_oldest(self) -> None:
        """Its thread then reads an end, and closes."""
        request = next(iter(self._unasked))
        del self._unasked[request]
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked went away: nothing to say to the log."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "triton-runtime"
    sys_version = ""
    timeout = CLIENT_SECONDS

    def do_GET(self) -> None:
        """Answer 200 or 503, and say why."""
        with self.server.answering(self.connection):
            self._answer()

    def _answer(self) -> None:
        if self.path != PATH:
            self._send(HTTPStatus.NOT_FOUND, {"error": f"only {PATH} is here"})
            return
        reason = self.server.unready()
        if reason is None:
            self._send(HTTPStatus.OK, {"ready": True})
        else:
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, {"ready": False, "reason": reason})

    def _send(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing: there is a question every few seconds."""


def triton_unready(port: int, model: str) -> str | None:
    """Why tritonserver cannot serve the model, by its own word; None if it can. Takes 5.5 s at most.

    Triton sends its whole answer at once, so that only the wait for its beginning counts.
    """
    path = f"/v2/models/{model}/ready" if model else "/v2/health/ready"
    end = time.monotonic() + TRITON_SECONDS
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TRITON_SECONDS)
    try:
        connection.request("GET", path)
        # The time of a socket is for each operation: what the connection took is not there for the answer.
        connection.sock.settimeout(max(0.1, end - time.monotonic()))
        status = connection.getresponse().status
    except ConnectionRefusedError:
        return "tritonserver is loading the model"
    except (OSError, http.client.HTTPException):
        return "tritonserver did not answer in time"
    finally:
        connection.close()
    return None if status == HTTPStatus.OK else f"tritonserver says that the model is not ready ({status})"
