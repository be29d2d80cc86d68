"""Builds the output tensors of a response from what the engine produced."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import triton_python_backend_utils as pb_utils

from .requests import Outputs

_NOT_FINISHED = "None"


class SequenceOutput(Protocol):
    """The new part of one generated sequence (or all of it when not streaming)."""

    index: int
    text: str
    token_ids: Sequence[int]
    cumulative_logprob: float | None
    logprobs: Any
    finish_reason: str | None


class RequestOutput(Protocol):
    """What the engine yields for a request."""

    outputs: list[SequenceOutput]
    prompt_token_ids: list[int] | None
    finished: bool


def strings(name: str, values: Sequence[str]) -> Any:
    """Build a string tensor of shape [len(values)]."""
    array: Any = np.empty(len(values), dtype=np.object_)
    for position, value in enumerate(values):
        array[position] = value.encode("utf-8", "replace")
    return pb_utils.Tensor(name, array)


def serialise_strings(array: Any) -> Any:
    """Do what Triton's `serialize_byte_tensor` does, faster for the one string that most responses carry."""
    if array.size == 1:
        value = array.item()
        data = value if type(value) is bytes else str(value).encode("utf-8")
        return _LENGTH(len(data)) + data
    return _serialise_many(array)


_LENGTH = struct.Struct("<I").pack
_serialise_many = pb_utils.serialize_byte_tensor
# Triton looks the function up by its name for every string tensor. This process serves this backend only.
pb_utils.serialize_byte_tensor = serialise_strings


class Constants:
    """Tensors that come again and again. Each sender thread has its own: they are not safe to share."""

    _LARGEST = 256

    def __init__(self) -> None:
        self._tensors: dict[tuple[str, Any], Any] = {}

    def get(self, name: str, value: Any, build: Callable[[Any], Any]) -> Any:
        """Return the tensor of this name and value, building it if it is not at hand."""
        key = (name, value)
        tensor = self._tensors.get(key)
        if tensor is None:
            if len(self._tensors) >= self._LARGEST:
                self._tensors.clear()
            tensor = self._tensors[key] = build(value)
        return tensor


def _num_output_tokens(count: int) -> Any:
    return pb_utils.Tensor("num_output_tokens", np.array([count], dtype=np.uint32))


def _num_input_tokens(count: int) -> Any:
    return pb_utils.Tensor("num_input_tokens", np.array(count, dtype=np.uint32))


def _finish_reason(reason: str) -> Any:
    return strings("finish_reason", (reason,))


class _Delta:
    """What is new in one sequence since the last response."""

    __slots__ = ("logprobs", "text", "token_ids")

    def __init__(self) -> None:
        self.text = ""
        self.token_ids: list[int] = []
        self.logprobs: list[Any] = []


class Sequences:
    """The state of a request's n sequences: a response always covers all of them, in order.

    A sequence without news has an empty text and no tokens; its finish reason and cumulative log
    probability stay as last reported, so that the last response is complete.

    `has_logprobs` says whether the engine was asked for log probabilities in so many words: it also gives
    them where only the cumulative one is wanted.
    """

    __slots__ = (
        "_cumulative",
        "_finish",
        "_has_logprobs",
        "_n",
        "_outputs",
        "_prefix",
        "_simple",
        "_text_only",
    )

    def __init__(self, n: int, outputs: Outputs, prefix: str, *, has_logprobs: bool) -> None:
        self._n = n
        self._outputs = outputs
        self._prefix = prefix
        # One sequence without per-token details: what most requests are, and what must be cheap.
        self._simple = n == 1 and not (outputs.cumulative_logprob or outputs.logprobs or outputs.token_ids)
        self._has_logprobs = has_logprobs
        self._text_only = outputs.text_only
        self._finish: list[str] = [_NOT_FINISHED] * n
        self._cumulative: list[float] = [0.0] * n

    def tensors(self, items: Sequence[RequestOutput], constants: Constants) -> list[Any]:
        """Build the tensors of one response out of one output of the engine, or of several merged."""
        if self._simple:
            return self._simple_tensors(items, constants)
        deltas = [_Delta() for _ in range(self._n)]
        for item in items:
            for sequence in item.outputs:
                self._merge(deltas[sequence.index], sequence)
        return self._build(deltas, items[-1])

    def _simple_tensors(self, items: Sequence[RequestOutput], constants: Constants) -> list[Any]:
        last = items[-1].outputs[0]
        text = last.text if len(items) == 1 else "".join([item.outputs[0].text for item in items])
        array: Any = np.empty(1, dtype=np.object_)
        array[0] = (self._prefix + text).encode("utf-8", "replace")
        tensors = [pb_utils.Tensor("text_output", array)]
        if self._text_only:
            return tensors
        wanted = self._outputs
        if wanted.finish_reason:
            reason = _NOT_FINISHED if last.finish_reason is None else str(last.finish_reason)
            tensors.append(constants.get("finish_reason", reason, _finish_reason))
        if wanted.num_input_tokens:
            count = len(items[-1].prompt_token_ids or ())
            tensors.append(constants.get("num_input_tokens", count, _num_input_tokens))
        if wanted.num_output_tokens:
            count = sum([len(item.outputs[0].token_ids) for item in items])
            tensors.append(constants.get("num_output_tokens", count, _num_output_tokens))
        return tensors

    def _merge(self, delta: _Delta, sequence: SequenceOutput) -> None:
        delta.text += sequence.text
        delta.token_ids.extend(sequence.token_ids)
        if sequence.logprobs:
            delta.logprobs.extend(sequence.logprobs)
        if sequence.cumulative_logprob is not None:
            self._cumulative[sequence.index] = sequence.cumulative_logprob
        if sequence.finish_reason is not None:
            self._finish[sequence.index] = str(sequence.finish_reason)

    def _build(self, deltas: Sequence[_Delta], last: RequestOutput) -> list[Any]:
        wanted = self._outputs
        prefix = self._prefix
        tensors = [strings("text_output", [prefix + delta.text for delta in deltas])]
        if wanted.finish_reason:
            tensors.append(strings("finish_reason", self._finish))
        if wanted.cumulative_logprob:
            tensors.append(
                pb_utils.Tensor("cumulative_logprob", np.array(self._cumulative, dtype=np.float32))
            )
        if wanted.logprobs:
            tensors.append(strings("logprobs", [self._logprobs_json(delta.logprobs) for delta in deltas]))
        if wanted.num_input_tokens:
            tensors.append(_num_input_tokens(len(last.prompt_token_ids or ())))
        if wanted.num_output_tokens:
            counts = [len(delta.token_ids) for delta in deltas]
            tensors.append(pb_utils.Tensor("num_output_tokens", np.array(counts, dtype=np.uint32)))
        if wanted.token_ids:
            tensors.append(strings("token_ids", [json.dumps(list(d.token_ids)) for d in deltas]))
        return tensors

    def _logprobs_json(self, logprobs: list[Any]) -> str:
        """Write the log probabilities of one sequence as the contract has them; "null" if not requested."""
        if not self._has_logprobs:
            return "null"
        return json.dumps(
            [
                {
                    str(token_id): {
                        "logprob": entry.logprob,
                        "rank": entry.rank,
                        "decoded_token": entry.decoded_token,
                    }
                    for token_id, entry in position.items()
                }
                for position in logprobs
            ]
        )
