"""Decodes a Triton request into what it asks for, with the contract's defaults."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from .errors import Kind, RequestFailed, invalid

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_RETURN_FLAGS = (
    "return_finish_reason",
    "return_cumulative_logprob",
    "return_logprobs",
    "return_num_input_tokens",
    "return_num_output_tokens",
    "return_token_ids",
)
_STREAM_WITH_INPUT = "When streaming, `exclude_input_in_output` = False is not allowed."


@dataclass(slots=True)
class Outputs:
    """Which optional output tensors the client asked for."""

    finish_reason: bool = False
    cumulative_logprob: bool = False
    logprobs: bool = False
    num_input_tokens: bool = False
    num_output_tokens: bool = False
    token_ids: bool = False

    @property
    def text_only(self) -> bool:
        """Whether nothing beyond the text is wanted: the common case."""
        return not (
            self.finish_reason
            or self.cumulative_logprob
            or self.logprobs
            or self.num_input_tokens
            or self.num_output_tokens
            or self.token_ids
        )


@dataclass(slots=True)
class Generation:
    """A request for text."""

    text: str | None
    messages: list[Any] | None
    prompt_token_ids: list[int] | None
    images: list[bytes]
    stream: bool
    prepend_prompt: bool
    parameters: dict[str, Any]
    outputs: Outputs = field(default_factory=Outputs)
    timeout_us: int = 0
    # The tokens of `text`, where they are known already.
    encoded: list[int] | None = None


@dataclass(slots=True)
class Pooling:
    """A request for an embedding, class probabilities or scores."""

    task: str
    document: dict[str, Any]
    parameters: dict[str, Any]
    outputs: Outputs = field(default_factory=Outputs)
    timeout_us: int = 0


@dataclass(slots=True)
class Information:
    """A request for the backend's versions and state; nothing is inferred."""


Asked = Generation | Pooling | Information


def decode(request: Any) -> Asked:
    """Decode one Triton request; raises `RequestFailed` naming the tensor that is wrong."""
    tensors = {tensor.name(): tensor for tensor in request.inputs()}
    if _flag(tensors, "backend_info_request", False):
        return Information()
    outputs = Outputs(*(_flag(tensors, name, False) for name in _RETURN_FLAGS))
    timeout_us = int(request.timeout())
    if "embedding_request" in tensors:
        document = _json_object(_text(tensors, "embedding_request"), "embedding_request")
        return Pooling("embed", document, _parameters(tensors, request), outputs, timeout_us)
    if "pooling_request" in tensors:
        document = _json_object(_text(tensors, "pooling_request"), "pooling_request")
        task = document.get("task")
        if not isinstance(task, str):
            raise invalid("`pooling_request` needs a string `task`: embed, classify or score.")
        return Pooling(task, document, _parameters(tensors, request), outputs, timeout_us)
    return _generation(tensors, request, outputs, timeout_us)


def _generation(tensors: dict[str, Any], request: Any, outputs: Outputs, timeout_us: int) -> Generation:
    stream = _flag(tensors, "stream", False)
    exclude_input = _flag(tensors, "exclude_input_in_output", None)
    if stream and exclude_input is False:
        raise invalid(_STREAM_WITH_INPUT)
    text = _text(tensors, "text_input") if "text_input" in tensors else None
    messages = _messages(tensors) if "messages" in tensors else None
    token_ids = _token_ids(tensors) if "prompt_token_ids" in tensors else None
    # A server with a required text_input makes some clients send an empty one beside the real prompt.
    if text == "" and (messages is not None or token_ids is not None):
        text = None
    given = [
        name
        for name, value in (("text_input", text), ("messages", messages), ("prompt_token_ids", token_ids))
        if value is not None
    ]
    if not given:
        raise invalid("one of `text_input`, `messages` and `prompt_token_ids` is required.")
    if len(given) > 1:
        raise invalid(f"only one of `{given[0]}` and `{given[1]}` can be given.")
    pictures = _images(tensors)
    if pictures and text is None:
        raise invalid(f"`image` goes with `text_input`, not with `{given[0]}`.")
    return Generation(
        text=text,
        messages=messages,
        prompt_token_ids=token_ids,
        images=pictures,
        stream=stream,
        prepend_prompt=not stream and exclude_input is not True and text is not None,
        parameters=_parameters(tensors, request),
        outputs=outputs,
        timeout_us=timeout_us,
    )


def _parameters(tensors: dict[str, Any], request: Any) -> dict[str, Any]:
    """Return the sampling parameters: the tensor wins, otherwise the request's own parameters."""
    given = "sampling_parameters" in tensors
    raw = _text(tensors, "sampling_parameters") if given else request.parameters()
    if not raw:
        return {}
    try:
        parameters = json.loads(raw)
    except ValueError:
        raise RequestFailed(
            Kind.INVALID_ARG, "Invalid sampling_parameters: expected a valid JSON object."
        ) from None
    if not isinstance(parameters, dict):
        raise RequestFailed(Kind.INVALID_ARG, "Invalid sampling_parameters: expected a JSON object.")
    return parameters


def _first(tensors: dict[str, Any], name: str) -> Any:
    values = tensors[name].as_numpy().reshape(-1)
    if values.size == 0:
        raise invalid(f"`{name}` is empty.")
    if values.size > 1:
        raise invalid(f"`{name}` takes one value, {values.size} were given.")
    return values[0]


def _flag(tensors: dict[str, Any], name: str, default: Any) -> Any:
    """Read a boolean; a model whose user declared the tensor as a string may carry "false"."""
    if name not in tensors:
        return default
    value = _first(tensors, name)
    if isinstance(value, (bytes, str)):
        return parse_bool(_decode(value, name), name)
    return bool(value)


def parse_bool(value: str, name: str) -> bool:
    """Read a boolean written as text: "false" is false."""
    lowered = value.strip().lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise invalid(f"`{name}` must be true or false, not {value[:40]!r}.")


def _text(tensors: dict[str, Any], name: str) -> str:
    return _decode(_first(tensors, name), name)


def _decode(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    try:
        return bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        raise invalid(f"`{name}` is not valid UTF-8.") from None


def _json_object(raw: str, name: str) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except ValueError:
        raise invalid(f"`{name}` is not valid JSON.") from None
    if not isinstance(document, dict):
        raise invalid(f"`{name}` must be a JSON object.")
    return document


def _messages(tensors: dict[str, Any]) -> list[Any]:
    raw = _text(tensors, "messages")
    try:
        messages = json.loads(raw)
    except ValueError:
        raise invalid("`messages` is not valid JSON.") from None
    if (
        not isinstance(messages, list)
        or not messages
        or not all(isinstance(message, dict) and isinstance(message.get("role"), str) for message in messages)
    ):
        raise invalid("`messages` must be a non-empty JSON list of objects, each with a `role`.")
    return messages


def _token_ids(tensors: dict[str, Any]) -> list[int]:
    token_ids: list[int] = tensors["prompt_token_ids"].as_numpy().reshape(-1).tolist()
    if not token_ids:
        raise invalid("`prompt_token_ids` is empty.")
    return token_ids


def _images(tensors: dict[str, Any]) -> list[bytes]:
    if "image" not in tensors:
        return []
    return [
        value if isinstance(value, bytes) else bytes(str(value), "utf-8")
        for value in tensors["image"].as_numpy().reshape(-1)
    ]
