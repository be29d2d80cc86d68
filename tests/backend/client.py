"""Clients of the backend over gRPC streams, as those written for the reference are."""

import asyncio
import contextlib
import json
import queue
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.grpc.aio as aioclient
from tritonclient.utils import InferenceServerException

GREEDY = {"temperature": 0, "max_tokens": 16}


def tensors(**values: Any) -> list[Any]:
    """Input tensors from Python values: booleans, text, bytes, JSON documents, lists of integers."""
    inputs = []
    for name, value in values.items():
        if isinstance(value, bool):
            data, kind = np.array([value]), "BOOL"
        elif name == "prompt_token_ids":
            data, kind = np.array(value, dtype=np.int32), "INT32"
        else:
            items = value if isinstance(value, list) and name != "messages" else [value]
            texts = [item if isinstance(item, str | bytes) else json.dumps(item) for item in items]
            data = np.array([t.encode() if isinstance(t, str) else t for t in texts], dtype=np.object_)
            kind = "BYTES"
        tensor = grpcclient.InferInput(name, list(data.shape), kind)
        tensor.set_data_from_numpy(data)
        inputs.append(tensor)
    return inputs


@dataclass
class Answer:
    """Everything one request got back."""

    responses: list[dict[str, np.ndarray]] = field(default_factory=list)
    error: str | None = None

    def texts(self, sequence: int = 0) -> list[str]:
        """The text of each response for one of the sequences."""
        return [response["text_output"][sequence].decode() for response in self.responses]

    @property
    def text(self) -> str:
        """All text of the first sequence."""
        return "".join(self.texts())

    def values(self, name: str) -> list[Any]:
        """One output tensor of each response."""
        return [response[name] for response in self.responses]

    def document(self, name: str = "text_output", position: int = 0) -> Any:
        """The JSON text in a tensor of the only response."""
        (response,) = self.responses
        return json.loads(response[name][position])


class Client:
    """Sends requests to one model."""

    def __init__(self, port: int, model: str = "vllm_model") -> None:
        self.address = f"127.0.0.1:{port}"
        self.model = model

    def ask(
        self,
        *,
        timeout: float = 60,
        parameters: dict[str, Any] | None = None,
        server_timeout: int | None = None,
        **values: Any,
    ) -> Answer:
        """One request to its end."""
        with Stream(self, parameters=parameters, server_timeout=server_timeout, **values) as stream:
            return stream.result(timeout)

    def text(self, prompt: str, **sampling: Any) -> str:
        """The greedy continuation of a prompt."""
        answer = self.ask(
            text_input=prompt, exclude_input_in_output=True, sampling_parameters={**GREEDY, **sampling}
        )
        assert answer.error is None, answer.error
        return answer.text

    def kind_of_error(self, **values: Any) -> str:
        """The gRPC status of a request that fails, which Triton sends where a client asks for it."""
        client = grpcclient.InferenceServerClient(self.address)
        found: queue.Queue[Any] = queue.Queue()
        client.start_stream(lambda result, error: found.put(error), headers={"triton_grpc_error": "true"})
        client.async_stream_infer(self.model, tensors(**values))
        error = found.get(timeout=60)
        client.stop_stream(cancel_requests=True)
        client.close()
        if error is not None:
            print(error.message())
        return "OK" if error is None else str(error.status())

    def info(self) -> dict[str, Any]:
        """What the backend says of itself."""
        return dict(self.ask(backend_info_request=True).document("backend_info"))


class Stream:
    """A request in flight."""

    def __init__(
        self, client: Client, *, parameters: Any = None, server_timeout: int | None = None, **values: Any
    ) -> None:
        self._client = grpcclient.InferenceServerClient(client.address)
        self._queue: queue.Queue[Any] = queue.Queue()
        self.answer = Answer()
        self._ended = False
        self._client.start_stream(lambda result, error: self._queue.put((result, error)))
        self._client.async_stream_infer(
            client.model,
            tensors(**values),
            request_id="test",
            parameters=parameters,
            timeout=server_timeout,
            enable_empty_final_response=True,
        )

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        # Triton never frees a request that is cancelled as it ends (docs/backend.md, "Known limits").
        self._client.stop_stream(cancel_requests=not self._ended)
        self._client.close()

    def next(self, timeout: float = 60) -> bool:
        """Take one more message; return whether it was the last."""
        result, error = self._queue.get(timeout=timeout)
        if error is not None:
            self.answer.error = error.message()
            self._ended = True
            return True
        message = result.get_response()
        if message.outputs:
            self.answer.responses.append({o.name: result.as_numpy(o.name) for o in message.outputs})
        self._ended = bool(message.parameters["triton_final_response"].bool_param)
        return self._ended

    def result(self, timeout: float = 60) -> Answer:
        """Take everything to the end."""
        while not self.next(timeout):
            pass
        return self.answer

    def error_by(self, deadline: float) -> str | None:
        """Take everything to an error; None if there is no end by this time of the monotonic clock."""
        with contextlib.suppress(queue.Empty):
            while not self.next(max(0.0, deadline - time.monotonic())):
                pass
        return self.answer.error

    def cancel(self) -> None:
        """Cancel on the client's side; Triton answers nothing more on this stream."""
        self._client.stop_stream(cancel_requests=True)


async def ask_async(client: Any, model: str = "vllm_model", **values: Any) -> Answer:
    """One request over a shared asynchronous client."""
    answer = Answer()

    async def one() -> Any:
        yield {"model_name": model, "inputs": tensors(**values), "request_id": "async"}

    async for result, error in client.stream_infer(one()):
        # Read to its end also after an error: leaving cancels it, see "Known limits" in docs/backend.md.
        if error is not None:
            answer.error = error.message()
        else:
            outputs = result.get_response().outputs
            answer.responses.append({o.name: result.as_numpy(o.name) for o in outputs})
    return answer


class Flood:
    """Long streams in flight, each on a thread's event loop, with what became of them."""

    def __init__(self, port: int, count: int, **sampling: Any) -> None:
        self.answers: list[Answer | BaseException] = []
        self._started = threading.Semaphore(0)
        self._count = count
        self._sampling = {"temperature": 0, "max_tokens": 100_000, "ignore_eos": True, **sampling}
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(port)), daemon=True)
        self._thread.start()
        for _ in range(count):
            assert self._started.acquire(timeout=60)

    async def _run(self, port: int) -> None:
        # Closed at its end: Triton keeps a model for as long as a client's stream has used it.
        async with aioclient.InferenceServerClient(f"127.0.0.1:{port}") as client:
            streams = (self._one(client, number) for number in range(self._count))
            self.answers = list(await asyncio.gather(*streams, return_exceptions=True))

    async def _one(self, client: Any, number: int) -> Answer:
        answer = Answer()

        async def one() -> Any:
            values = tensors(text_input=f"{number}", stream=True, sampling_parameters=self._sampling)
            yield {"model_name": "vllm_model", "inputs": values, "request_id": str(number)}

        async for result, error in client.stream_infer(one()):
            if not answer.responses:
                self._started.release()
            if error is not None:
                answer.error = error.message()
            else:
                answer.responses.append({"text_output": result.as_numpy("text_output")})
        return answer

    def join(self, seconds: float) -> list[Answer | BaseException]:
        """Wait until every stream has ended."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"streams without an end after {seconds:g} s"
        return self.answers


__all__ = ["GREEDY", "Answer", "Client", "Flood", "InferenceServerException", "Stream", "ask_async"]
