"""Embeddings, class probabilities and scores from pooling models."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import triton_python_backend_utils as pb_utils

from . import engine as vllm_engine
from .errors import invalid
from .requests import Pooling
from .streams import Stream
from .tensors import strings

if TYPE_CHECKING:
    from .service import Service

_SCORE = "score"
_MAX_INPUTS = 2048


class Pooled:
    """The one and final answer to a pooling request: one JSON text for each input."""

    finished = True

    def __init__(self, asked: Pooling, results: Sequence[Any], input_tokens: int) -> None:
        self._asked = asked
        self._results = results
        self._input_tokens = input_tokens

    def tensors(self) -> list[Any]:
        """Build the response's tensors."""
        wanted = self._asked.outputs
        tensors = [strings("text_output", [json.dumps(result) for result in self._results])]
        if wanted.num_input_tokens:
            count = np.array(self._input_tokens, dtype=np.uint32)
            tensors.append(pb_utils.Tensor("num_input_tokens", count))
        if wanted.num_output_tokens:
            tensors.append(pb_utils.Tensor("num_output_tokens", np.array([0], dtype=np.uint32)))
        return tensors


async def serve(service: Service, stream: Stream, asked: Pooling, priority: int) -> None:
    """Serve one pooling request: every input of it goes to the engine at once."""
    stream.answer = lambda items: items[-1].tensors()
    values = pooling_values(asked.document.get("pooling_params"))
    if asked.task == _SCORE:
        results, tokens = await _score(service, stream, asked.document, values, priority)
    else:
        service.require_task(asked.task)
        prompts = [await _render(service, item) for item in inputs_of(asked.document.get("input"), "input")]
        params = vllm_engine.pooling_params(asked.task, values)
        outputs = await _run(service, stream, [(prompt, params) for prompt in prompts], priority)
        results = [output.outputs.data.tolist() for output in outputs]
        tokens = _input_tokens(outputs)
    service.deliver(stream, Pooled(asked, results, tokens))


def pooling_values(raw: Any) -> dict[str, Any]:
    """Read `pooling_params`; the reference's clients give `dimensions` as a list of one number."""
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise invalid("`pooling_params` must be a JSON object.")
    values = dict(raw)
    dimensions = values.get("dimensions")
    if isinstance(dimensions, list) and len(dimensions) == 1:
        dimensions = dimensions[0]
    if dimensions is not None:
        if isinstance(dimensions, bool) or not isinstance(dimensions, int):
            raise invalid("`dimensions` must be an integer.")
        values["dimensions"] = dimensions
    unknown = [name for name in values if name not in ("dimensions", "use_activation")]
    if unknown:
        raise invalid(f"unknown pooling parameter '{unknown[0]}', known are dimensions and use_activation.")
    if not isinstance(values.get("use_activation"), (bool, type(None))):
        raise invalid("`use_activation` must be true or false.")
    return values


def inputs_of(raw: Any, name: str) -> list[str | list[int]]:
    """Read one text, one list of token ids, or a list of either."""
    if isinstance(raw, str):
        return [raw]
    if isinstance(raw, list) and raw and len(raw) <= _MAX_INPUTS:
        if all(_is_token_id(item) for item in raw):
            return [raw]
        if all(isinstance(item, str) or _is_token_list(item) for item in raw):
            return raw
    raise invalid(
        f"`{name}` must be a text, a list of token ids, or a list of at most {_MAX_INPUTS} of them."
    )


def _is_token_id(item: Any) -> bool:
    return isinstance(item, int) and not isinstance(item, bool)


def _is_token_list(item: Any) -> bool:
    return isinstance(item, list) and bool(item) and all(_is_token_id(token) for token in item)


async def _render(service: Service, item: str | list[int]) -> Any:
    if isinstance(item, str):
        return await service.engine.render_text(item)
    return await service.engine.render_tokens(item)


async def _run(
    service: Service, stream: Stream, work: Sequence[tuple[Any, Any]], priority: int
) -> Sequence[Any]:
    """Give the inputs to the engine and wait for all of them."""
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[Any]] = []
    for number, (prompt, params) in enumerate(work):
        future: asyncio.Future[Any] = loop.create_future()
        futures.append(future)
        await service.submit(
            stream, prompt, params, priority, sink=partial(_settle, future), part=f"-{number}"
        )
        if stream.ended:
            break
    return await asyncio.gather(*futures)


def _settle(future: asyncio.Future[Any], output: Any) -> None:
    if future.done():
        return
    if isinstance(output, BaseException):
        future.set_exception(output)
    else:
        future.set_result(output)


def _input_tokens(outputs: Sequence[Any]) -> int:
    return sum(len(output.prompt_token_ids or ()) for output in outputs)


async def _score(
    service: Service, stream: Stream, document: Mapping[str, Any], values: Mapping[str, Any], priority: int
) -> tuple[list[Any], int]:
    """Score documents against a query in the way the model is made for."""
    query, documents = document.get("query"), document.get("documents")
    if isinstance(documents, str):
        documents = [documents]
    if (
        not isinstance(query, str)
        or not isinstance(documents, list)
        or not 0 < len(documents) <= _MAX_INPUTS
        or not all(isinstance(item, str) for item in documents)
    ):
        raise invalid("a score needs a text `query` and a text or a list of texts `documents`.")
    if "classify" in service.engine.tasks and service.engine.scores_pairs:
        work = []
        for item in documents:
            prompt, extra = await service.engine.render_pair(query, item)
            work.append((prompt, vllm_engine.pooling_params("classify", {**values, **extra})))
        outputs = await _run(service, stream, work, priority)
        return [float(output.outputs.data.reshape(-1)[0]) for output in outputs], _input_tokens(outputs)
    service.require_task("embed")
    params = vllm_engine.pooling_params("embed", values)
    prompts = [await service.engine.render_text(item) for item in (query, *documents)]
    outputs = await _run(service, stream, [(prompt, params) for prompt in prompts], priority)
    first, *others = [output.outputs.data.tolist() for output in outputs]
    return [cosine(first, other) for other in others], _input_tokens(outputs)


def cosine(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the cosine of the angle between two vectors."""
    product = math.sqrt(sum(value * value for value in left)) * math.sqrt(
        sum(value * value for value in right)
    )
    return sum(a * b for a, b in zip(left, right, strict=True)) / product if product else 0.0
