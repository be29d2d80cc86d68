"""Embeddings, class probabilities and scores from pooling models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import invalid
from .requests import Pooling
from .sampling import Options
from .streams import Stream

if TYPE_CHECKING:
    from .engine import Engine
    from .service import Service


async def serve(service: Service, engine: Engine, stream: Stream, asked: Pooling, options: Options) -> None:
    """Serve one pooling request."""
    service.require_task(asked.task)
    raise invalid("pooling is not available.")
