"""Prompts sent to a served model as its clients send them: gRPC streams and the HTTP generate endpoints."""

import json
import queue
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tritonclient.grpc as grpc_client


class InferenceFailed(Exception):
    """The model did not answer as it should; the text says what it did instead."""


def stream(
    address: str,
    model: str,
    prompt: str,
    *,
    max_tokens: int,
    timeout: float = 60,
    client: grpc_client.InferenceServerClient | None = None,
) -> Iterator[str]:
    """The pieces of one streamed answer over gRPC, at temperature 0; a given client's connection is used."""
    own = client or grpc_client.InferenceServerClient(address)
    answers: queue.Queue[Any] = queue.Queue()
    try:
        own.start_stream(callback=lambda result, error: answers.put(error or result))
        own.async_stream_infer(
            model,
            [_text("text_input", prompt), _flag("stream", True)],
            parameters={"max_tokens": max_tokens, "temperature": 0},
            enable_empty_final_response=True,
        )
        yield from _pieces(answers, timeout)
    finally:
        own.stop_stream()
        if client is None:
            own.close()


def _pieces(answers: "queue.Queue[Any]", timeout: float) -> Iterator[str]:
    while True:
        try:
            answer = answers.get(timeout=timeout)
        except queue.Empty:
            raise InferenceFailed(f"no response within {timeout:.0f} s") from None
        if isinstance(answer, Exception):
            raise InferenceFailed(str(answer))
        text = answer.as_numpy("text_output")
        if text is not None and text.size:
            yield text.reshape(-1)[0].decode()
        if answer.get_response().parameters["triton_final_response"].bool_param:
            return


def _text(name: str, value: str) -> grpc_client.InferInput:
    tensor = grpc_client.InferInput(name, [1], "BYTES")
    tensor.set_data_from_numpy(np.array([value.encode()], dtype=np.object_))
    return tensor


def _flag(name: str, value: bool) -> grpc_client.InferInput:
    tensor = grpc_client.InferInput(name, [1], "BOOL")
    tensor.set_data_from_numpy(np.array([value]))
    return tensor


def generate_request(address: str, model: str, prompt: str, max_tokens: int) -> tuple[str, dict[str, Any]]:
    """URL and body of one request to the HTTP generate endpoint; the answer holds the new text only."""
    body = {
        "text_input": prompt,
        "exclude_input_in_output": True,
        "parameters": {"max_tokens": max_tokens, "temperature": 0},
    }
    return f"http://{address}/v2/models/{model}/generate", body


def generate(address: str, model: str, prompt: str, *, max_tokens: int, timeout: float = 60) -> str:
    """One answer from the HTTP generate endpoint."""
    url, body = generate_request(address, model, prompt, max_tokens)
    answer = post_json(url, body, timeout)
    text = answer.get("text_output")
    if not isinstance(text, str):
        raise InferenceFailed(f"{url} answered {answer}")
    return text


def post_json(url: str, body: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    """Send JSON, get JSON; an error status is raised with what the server says."""
    request = urllib.request.Request(  # noqa: S310 - always http:// to a Service of this cluster
        url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
            loaded = json.loads(answer.read())
    except OSError as error:
        detail = error.read().decode(errors="replace") if hasattr(error, "read") else ""
        raise InferenceFailed(f"{url}: {error} {detail}".strip()) from error
    assert isinstance(loaded, dict)
    return loaded
