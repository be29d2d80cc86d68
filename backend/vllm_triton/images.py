"""Decodes base64 images off the event loop."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Sequence
from typing import Any

from .errors import invalid


async def decode(encoded: Sequence[bytes]) -> list[Any]:
    """Decode base64 images to RGB pictures in worker threads."""
    return list(
        await asyncio.gather(
            *(asyncio.to_thread(_decode, position, data) for position, data in enumerate(encoded))
        )
    )


def _decode(position: int, data: bytes) -> Any:
    from PIL import Image

    try:
        return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    except Exception:
        # Pillow's readers raise whatever a broken file leads them to.
        raise invalid(f"`image` element {position} is not a base64-encoded image.") from None
