"""Figures that a remedy names and the text does not: worked out from those that it does."""

from collections.abc import Mapping
from typing import Final

#: What vLLM takes as max_lora_rank.
_LORA_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)


#: With less of the GPU than this, in hundredths, a model is not to be expected to fit beside something else.
_LEAST_SHARE: Final = 30


def share(found: Mapping[str, str]) -> Mapping[str, str]:
    """`cure`: the largest gpu_memory_utilization for `free` of `total` GiB, if a model can live there."""
    try:
        hundredths = int(float(found["free"]) / float(found["total"]) * 100)
    except (KeyError, ValueError, ZeroDivisionError):
        return {}
    if hundredths < _LEAST_SHARE:
        return {"cure": "end what else uses the GPU: what it leaves is too little to serve a model"}
    most = f"`spec.engineArgs.gpu_memory_utilization` to {hundredths / 100:.2f} or less"
    return {"cure": f"set {most}, or end what else uses the GPU"}


def divisors(found: Mapping[str, str]) -> Mapping[str, str]:
    """`sizes`: the tensor parallel sizes up to 64 that divide `heads`."""
    heads = int(found["heads"])
    return {"sizes": ", ".join(str(size) for size in range(1, min(heads, 64) + 1) if heads % size == 0)}


def lora_rank(found: Mapping[str, str]) -> Mapping[str, str]:
    """`allowed`: the smallest max_lora_rank that vLLM takes and that holds `rank`."""
    rank = int(found["rank"])
    return {"allowed": str(next((allowed for allowed in _LORA_RANKS if allowed >= rank), rank))}
