"""One probe of one pod: a real inference over Triton's gRPC stream, and what its outcome means."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from vllm_operator.api.meta import GRPC_PORT
from vllm_operator.observed.state import BackendInfo, ProbeVerdict
from vllm_operator.observed.target import ProbeTarget
from vllm_operator.probe.outcome import Outcome

#: Under load a healthy server may take this long for one token; a shorter deadline would call that a hang.
_LEAST_DEADLINE_SECONDS = 5.0
_INFO_SECONDS = 2.0
_CONNECT_SECONDS = 1.0
_EXCERPT = 300
#: Of a version or a commit, and how many commits of one pod.
_LONGEST_SAID = 128
_MOST_SAID = 10
#: Of all that one call brings: an embedding of 16,384 numbers has a third of it.
_MOST_BYTES = 2**20
#: gRPC core's words for a peer that answers in another protocol.
_FOREIGN = (
    "http1.x server",
    "failed parsing http/2",
    "settings frame",
    "frame size",
    "deserializ",
    "http2 header",
)
_NO_GENERATE = "does not support 'generate' request"


class _Refused(Exception):
    """The server answered with an error in the stream."""


class _Misunderstood(Exception):
    """The server's answer is not one of our backend's."""


async def probe(
    target: ProbeTarget, *, embed: bool = False, suspect: bool = False, check: bool = False
) -> Outcome:
    """Ask for the backend's own account first; infer unless that tells of a success within half a period.

    `suspect`: the last probe failed, so only an inference counts now. `check`: an inference is due for what
    the account does not prove; where it gets no answer in time, the account still proves that others do.
    Nothing that the network or the server does makes it raise. Takes the deadline and a second at most.
    """
    deadline = deadline_seconds(target)
    info: Mapping[str, Any] = {}
    age: float | None = None
    embed = embed or target.kind == "embed"
    url = f"[{target.address}]" if ":" in target.address else target.address
    try:
        async with (
            InferenceServerClient(f"{url}:{GRPC_PORT}", channel_args=_CHANNEL) as client,
            asyncio.timeout(deadline),
        ):
            call = _Call(client, target)
            info = await _backend_info(call)
            told = _told(info)
            if told is not None:
                return told
            if target.ask_only:
                return Outcome(None, "", _backend(info))
            age = None if suspect else _recent_success(info, target)
            if age is not None and not check:
                return Outcome(ProbeVerdict.SERVING, "", _backend(info), success_age=age, embeds=embed)
            # After an answer the call takes the inference, too: a call is a third of a probe's cost.
            ask = call if info else _Call(client, target)
            return await _infer(client, ask, target, _backend(info), embed=embed)
    except TimeoutError:
        if age is not None:
            return Outcome(ProbeVerdict.SERVING, "", _backend(info), success_age=age, embeds=embed)
        outcome = Outcome(ProbeVerdict.TIMEOUT, f"no answer within {deadline:g} s", _backend(info))
        if not target.ask_only and not await _connects(target):
            outcome = _unreachable(target, _backend(info))
    except grpc.aio.AioRpcError as error:
        outcome = await _of_rpc_error(error, target, _backend(info), deadline)
    # A pod that was turned away may well not answer.
    return Outcome(None, "") if target.ask_only else outcome


def _told(info: Mapping[str, Any]) -> Outcome | None:
    """What the backend holds against itself."""
    engine = info.get("engine")
    if engine == "dead":
        message = "the backend reports that its engine is dead"
        return Outcome(ProbeVerdict.FAILED, message, _backend(info), certain=True)
    if engine == "hung":
        message = "the backend reports requests in flight and no sign of life from its engine"
        return Outcome(ProbeVerdict.HUNG, message, _backend(info), certain=True)
    return None


def _recent_success(info: Mapping[str, Any], target: ProbeTarget) -> float | None:
    """How many seconds ago a request of others was answered in full, if that was within half a period."""
    age = info.get("seconds_since_last_success")
    if isinstance(age, int | float) and not isinstance(age, bool) and 0 <= age < target.period_seconds / 2:
        return float(age)
    return None


def deadline_seconds(target: ProbeTarget) -> float:
    """How long an inference may take."""
    return max(_LEAST_DEADLINE_SECONDS, target.timeout_seconds)


#: A pod's address is its own: no proxy from the environment, no connection shared with another probe.
#: And there is nothing to look up for an address.
_CHANNEL = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.max_receive_message_length", _MOST_BYTES),
]


async def _infer(
    client: InferenceServerClient,
    call: "_Call",
    target: ProbeTarget,
    backend: BackendInfo | None,
    *,
    embed: bool,
) -> Outcome:
    try:
        if not embed:
            try:
                await _generate(call, target)
            except _Refused as error:
                if target.kind != "auto" or _NO_GENERATE not in str(error):
                    raise
                embed = True
                call = _Call(client, target)
        if embed:
            await _embed(call, target)
    except _Refused as error:
        return Outcome(ProbeVerdict.FAILED, _excerpt(f"inference failed: {error}"), backend, embeds=embed)
    except _Misunderstood as error:
        return Outcome(ProbeVerdict.PROTOCOL_ERROR, _excerpt(str(error)), backend, embeds=embed)
    return Outcome(ProbeVerdict.SERVING, "", backend, embeds=embed, inferred=True)


async def _generate(call: "_Call", target: ProbeTarget) -> None:
    sampling = {"max_tokens": target.max_tokens, "temperature": 0}
    answers = await call.last(
        [
            _text("text_input", target.prompt),
            _flag("stream"),
            _text("sampling_parameters", json.dumps(sampling)),
        ],
        output="text_output",
    )
    if not answers:
        raise _Refused("the stream ended without a response")
    if target.expect_contains is not None and target.expect_contains not in "".join(answers):
        raise _Refused(f"the answer does not contain '{target.expect_contains}'")


async def _embed(call: "_Call", target: ProbeTarget) -> None:
    request = _text("embedding_request", json.dumps({"input": target.embed_input}))
    answers = await call.last([request], output="text_output")
    if not answers:
        raise _Refused("the stream ended without a response")
    try:
        vector = json.loads(answers[0], parse_int=float)
    except (ValueError, RecursionError):
        raise _Misunderstood("the embedding is not JSON") from None
    numbers = isinstance(vector, list) and all(
        isinstance(x, int | float) and math.isfinite(x) for x in vector
    )
    if not vector or not numbers:
        raise _Refused("the embedding is not a list of finite numbers")


async def _backend_info(call: "_Call") -> Mapping[str, Any]:
    """What the backend says of itself; nothing where it does not know the question, or is too busy for it."""
    try:
        async with asyncio.timeout(_INFO_SECONDS):
            info = json.loads(await call.one([_flag("backend_info_request")], output="backend_info"))
    except (TimeoutError, ValueError, RecursionError, _Refused, _Misunderstood):
        return {}
    return info if isinstance(info, Mapping) else {}


def _backend(info: Mapping[str, Any]) -> BackendInfo | None:
    """What the pod says of itself as the status can take it, whoever answered."""
    if not info:
        return None
    revisions = info.get("model_revisions")
    return BackendInfo(
        triton=_said(info.get("triton")),
        vllm=_said(info.get("vllm")),
        model_revisions=tuple(
            said
            for revision in (revisions if isinstance(revisions, list) else ())
            if (said := _said(revision))
        )[:_MOST_SAID],
    )


def _said(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    return "".join(letter for letter in value[:_LONGEST_SAID] if letter.isprintable())


class _Call:
    """One bidirectional call to the pod. Of no use any more after an error, a timeout or `last`."""

    def __init__(self, client: InferenceServerClient, target: ProbeTarget) -> None:
        self._model = target.model_name
        self._requests: asyncio.Queue[Sequence[InferInput] | None] = asyncio.Queue()
        self._responses = client.stream_infer(self._send())
        self._bytes = 0

    async def one(self, inputs: Sequence[InferInput], *, output: str) -> str:
        """Send a request that has exactly one answer; its text."""
        self._requests.put_nowait(inputs)
        try:
            return "".join(self._texts(await anext(self._responses), output))
        except StopAsyncIteration:
            raise _Refused("the stream ended without a response") from None
        except BaseException:
            self._responses.cancel()
            raise

    async def last(self, inputs: Sequence[InferInput], *, output: str) -> list[str]:
        """Send the last request; its texts, until the server ends the call."""
        self._requests.put_nowait(inputs)
        self._requests.put_nowait(None)
        try:
            return [text async for response in self._responses for text in self._texts(response, output)]
        finally:
            self._responses.cancel()

    def _texts(self, response: tuple[Any, Any], output: str) -> list[str]:
        """What one message says. Whatever answers at a pod's address may say anything, for ever."""
        result, error = response
        if error is not None:
            raise _Refused(error.message())
        self._bytes += result.get_response().ByteSize()
        if self._bytes > _MOST_BYTES:
            raise _Misunderstood(f"the answer has more than {_MOST_BYTES} bytes")
        try:
            array = result.as_numpy(output)
        except Exception as error:
            # The client library trusts shapes and lengths, and fails at wrong ones in many ways.
            raise _Misunderstood(f"output '{output}' is no tensor: {error}") from error
        if array is None:
            raise _Misunderstood(f"the response has no output '{output}'")
        return [_decode(element) for element in array.reshape(-1)]

    async def _send(self) -> AsyncIterator[dict[str, Any]]:
        while (inputs := await self._requests.get()) is not None:
            yield {"model_name": self._model, "inputs": list(inputs)}


def _text(name: str, value: str) -> InferInput:
    return InferInput(name, [1], "BYTES").set_data_from_numpy(np.array([value.encode()], dtype=np.object_))


def _flag(name: str) -> InferInput:
    return InferInput(name, [1], "BOOL").set_data_from_numpy(np.array([True]))


def _decode(element: Any) -> str:
    return element.decode(errors="replace") if isinstance(element, bytes) else str(element)


async def _of_rpc_error(
    error: grpc.aio.AioRpcError, target: ProbeTarget, backend: BackendInfo | None, deadline: float
) -> Outcome:
    """A call that ended without an answer of the model: who is to blame?"""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Outcome(ProbeVerdict.TIMEOUT, f"no answer within {deadline:g} s", backend)
    foreign = any(words in details.lower() for words in _FOREIGN)
    if code is grpc.StatusCode.UNIMPLEMENTED or foreign:
        message = "port is open but does not speak the KServe v2 gRPC protocol"
        return Outcome(ProbeVerdict.PROTOCOL_ERROR, message, backend)
    if code is grpc.StatusCode.UNAVAILABLE and not await _connects(target):
        return _unreachable(target, backend)
    return Outcome(ProbeVerdict.FAILED, _excerpt(f"call failed: {code.name}: {details}"), backend)


async def _connects(target: ProbeTarget) -> bool:
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(target.address, GRPC_PORT)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _unreachable(target: ProbeTarget, backend: BackendInfo | None) -> Outcome:
    message = f"cannot connect to port {GRPC_PORT} of the pod from the operator"
    return Outcome(ProbeVerdict.UNREACHABLE, message, backend)


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + "…"
