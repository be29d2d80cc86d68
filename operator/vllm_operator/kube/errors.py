"""What the API server answers instead of an object."""

import json
from collections.abc import Mapping
from typing import Any

from vllm_operator.kube.retry import asked_wait

_LONGEST_WAIT_SECONDS = 60.0


class ApiError(Exception):
    """The API server refused a request (`status` is the HTTP code) or could not be asked (`status` 0)."""

    def __init__(
        self,
        attempted: str,
        status: int,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        body = body or {}
        self.attempted = attempted
        self.status = status
        self.reason = str(body.get("reason") or "")
        self.message = str(body.get("message") or "")
        details = body.get("details")
        details = details if isinstance(details, Mapping) else {}
        self.causes: tuple[str, ...] = tuple(
            str(cause.get("reason") or "") for cause in details.get("causes") or ()
        )
        self.asked_wait = asked_wait(headers or {}, details)
        """Seconds that the server asked to wait, None where it did not."""
        super().__init__(f"{attempted}: {status or 'no answer'} {self.reason} {self.message}".strip())

    @property
    def not_found(self) -> bool:
        """The object, or its namespace, is not there."""
        return self.status == 404

    @property
    def already_exists(self) -> bool:
        """A create met an object of that name."""
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def namespace_terminating(self) -> bool:
        """Nothing can be created any more: the namespace is going away."""
        return self.status == 403 and "NamespaceTerminating" in self.causes

    @property
    def throttled_seconds(self) -> float | None:
        """When to ask again what the server had no time for; None for all other refusals."""
        if self.status in (429, 503) or (self.status >= 500 and self.asked_wait is not None):
            return min(self.asked_wait or 0, _LONGEST_WAIT_SECONDS)
        return None

    @property
    def invalid(self) -> bool:
        """The object as sent can never be accepted."""
        return self.status in (400, 422)


class TooLarge(ApiError):
    """The answer is larger than this process will read; fewer objects at once may do."""


def status_of(payload: bytes) -> Mapping[str, Any]:
    """The Status object of a refusal; a proxy in between may answer something else."""
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        return {"message": payload[:200].decode(errors="replace")}
    return body if isinstance(body, dict) else {}
