"""The container's own answer to whether it can serve: a small HTTP endpoint for the kubelet."""

import http.client
import json
import socketserver
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

PATH: Final = "/ready"
#: Triton's own answer may take 5 s, for which it waits for the backend; the kubelet waits for 6 s.
TRITON_SECONDS: Final = 5.5
#: Who asks gets so long for each line of the question.
CLIENT_SECONDS: Final = 5.0
#: The kubelet asks one or two at a time; more than this many are turned away.
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
    """Not `http.server`'s, which asks the network for this host's name before it listens."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    unready: Callable[[], str | None]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._room = threading.Semaphore(MOST_AT_ONCE)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked went away: nothing to say to the log."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "triton-runtime"
    sys_version = ""
    timeout = CLIENT_SECONDS

    def do_GET(self) -> None:
        """Answer 200 or 503, and say why."""
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
    """Why tritonserver cannot serve the model, by its own word; None if it can. Takes 5.5 s at most."""
    path = f"/v2/models/{model}/ready" if model else "/v2/health/ready"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TRITON_SECONDS)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except ConnectionRefusedError:
        return "tritonserver is loading the model"
    except (OSError, http.client.HTTPException):
        return "tritonserver did not answer in time"
    finally:
        connection.close()
    return None if status == HTTPStatus.OK else f"tritonserver says that the model is not ready ({status})"
