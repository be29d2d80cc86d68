"""The API server's JSON: users store values nested as deep as it takes them, and Python must read them."""

import json
import sys
from typing import Any, Final

from vllm_operator.kube.errors import ApiError

#: The API server takes 10,000 levels in an object, and nests it in a list and its fields in managedFields.
#: Python counts a level as one call or two, beside its own; 8 MiB of stack hold all of them.
_RECURSION_LIMIT: Final = 30_000


def allow_deep_objects() -> None:
    """Once at the start of the process: Python's own limit is passed by what anybody may store."""
    sys.setrecursionlimit(max(_RECURSION_LIMIT, sys.getrecursionlimit()))


def decode(payload: bytes, attempted: str, status: int) -> dict[str, Any]:
    """A JSON object. Raises ApiError with the answer's own status: the server answered, but unreadably."""
    try:
        answer = json.loads(payload)
    except (ValueError, RecursionError) as error:
        message = f"the answer cannot be read: {type(error).__name__}: {error}"
        raise ApiError(attempted, status, {"message": message}) from error
    if not isinstance(answer, dict):
        raise ApiError(attempted, status, {"message": "the answer is no JSON object"})
    return answer
