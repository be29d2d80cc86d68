"""A server that speaks the real KServe v2 gRPC protocol and misbehaves on demand: the project's one stand-in.

It answers as the backend in a model pod does, on port 8001 of a loopback address of its own, so that a pod's
status can name that address.
"""

import json
import random
import socket
import struct
import threading
from collections.abc import Generator, Iterator
from concurrent import futures
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

PORT = 8001
VECTOR = [0.25, -0.5, 1.0]


class TritonStandIn(service_pb2_grpc.GRPCInferenceServiceServicer):
    """One pod's Triton. `behaviour` may be changed at any time.

    serve       answer every inference
    hang        accept the call, never answer
    error       answer every inference with an error in the stream
    empty       end the stream without a response
    mute        answer with a response that lacks the output
    flood       answer with messages of `flood_bytes` each that never end
    garble      answer with an output whose bytes are not what its shape says
    """

    def __init__(self, behaviour: str = "serve", *, calls: int = 8) -> None:
        """`calls`: how many it can have open at once."""
        self.behaviour = behaviour
        self._calls = calls
        self.text = " Paris"
        self.generates = True
        self.info: Any = {
            "triton": "2.51.0",
            "vllm": "0.32.0",
            "backend": "0.1.0",
            "model_revisions": ["0123456789abcdef0123456789abcdef01234567"],
            "engine": "healthy",
            "seconds_since_last_success": None,
        }
        self.flood_bytes = 500_000
        self.inferences = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self._counting = threading.Lock()
        self.address = ""
        self._server: grpc.Server | None = None
        self._closing = threading.Event()

    def __enter__(self) -> Self:
        self.address = _free_address()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; the address stays the same over stop and start."""
        self._closing.clear()
        self._server = grpc.server(futures.ThreadPoolExecutor(self._calls))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"{self.address}:{PORT}")
        self._server.start()

    def stop(self) -> None:
        """Close the port: connections are refused from now on."""
        self._closing.set()
        if self._server is not None:
            self._server.stop(grace=0).wait()
            self._server = None

    def ModelStreamInfer(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        """Answer each request of the stream as `behaviour` says."""
        for request in requests:
            names = {tensor.name for tensor in request.inputs}
            if "backend_info_request" in names:
                yield from self._answer_info(request)
                continue
            with self._in_flight():
                if not (yield from self._answer(request, names, context)):
                    return

    def _answer(
        self, request: Any, names: set[str], context: grpc.ServicerContext
    ) -> Generator[Any, None, bool]:
        """Answer an inference; False when the call is over without an answer."""
        if self.behaviour == "hang":
            while context.is_active() and not self._closing.wait(0.02):
                pass
            return False
        if self.behaviour == "error":
            yield _error("Error generating stream: the engine is on fire")
        elif self.behaviour == "mute":
            yield _response(request, "something_else", "x")
        elif self.behaviour == "flood":
            while context.is_active() and not self._closing.is_set():
                yield _response(request, "text_output", "x" * self.flood_bytes)
            return False
        elif self.behaviour == "garble":
            garbled = _response(request, "text_output", "x")
            garbled.infer_response.outputs[0].shape[:] = [7, 2**40]
            yield garbled
        elif self.behaviour != "empty":
            yield self._infer(request, names)
        return True

    @contextmanager
    def _in_flight(self) -> Iterator[None]:
        """Count an inference."""
        with self._counting:
            self.inferences += 1
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            yield
        finally:
            with self._counting:
                self.in_flight -= 1

    def _answer_info(self, request: Any) -> Iterator[Any]:
        if self.info is None:
            yield _error("unexpected inference input 'backend_info_request' for model")
        else:
            text = self.info if isinstance(self.info, str) else json.dumps(self.info)
            yield _response(request, "backend_info", text)

    def _infer(self, request: Any, names: set[str]) -> Any:
        if "embedding_request" in names:
            if self.generates:
                return _error(f"Model {request.model_name} does not support 'embed' request")
            return _response(request, "text_output", json.dumps(VECTOR))
        if not self.generates:
            return _error(f"Model {request.model_name} does not support 'generate' request")
        return _response(request, "text_output", self.text)


def _error(message: str) -> Any:
    return service_pb2.ModelStreamInferResponse(error_message=message)


def _response(request: Any, output: str, text: str) -> Any:
    raw = text.encode()
    response = service_pb2.ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
    response.outputs.add(name=output, datatype="BYTES", shape=[1])
    response.raw_output_contents.append(struct.pack("<I", len(raw)) + raw)
    return service_pb2.ModelStreamInferResponse(infer_response=response)


def _free_address() -> str:
    """A loopback address whose port 8001 is free; other test runs take theirs in the same way."""
    for _ in range(100):
        address = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}.{random.randint(1, 254)}"
        with socket.socket() as probe:
            try:
                probe.bind((address, PORT))
            except OSError:
                continue
        return address
    raise RuntimeError("no loopback address with a free port 8001")
