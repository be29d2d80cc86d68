"""Errors that a client is meant to read: one sentence and a kind that maps to Triton's error codes."""

from __future__ import annotations

import enum

UNHEALTHY = "Model is unavailable due to unhealthy vLLM engine"
CANCELLED = "Request was cancelled"


class Kind(enum.Enum):
    """The kinds of failure; the names are those of Triton's error codes."""

    INVALID_ARG = "INVALID_ARG"
    NOT_FOUND = "NOT_FOUND"
    UNAVAILABLE = "UNAVAILABLE"
    CANCELLED = "CANCELLED"
    UNSUPPORTED = "UNSUPPORTED"
    INTERNAL = "INTERNAL"


class RequestFailed(Exception):
    """A request that ends with an error; `str()` is the text that the client receives."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class ModelInvalid(ValueError):
    """A model that cannot be loaded as configured; `str()` names every problem found."""


def generating(kind: Kind, text: str) -> RequestFailed:
    """Build the error of a request that was understood but could not be generated."""
    return RequestFailed(kind, f"Error generating stream: {text}")


def invalid(text: str) -> RequestFailed:
    """Build the error of a request whose content is wrong."""
    return generating(Kind.INVALID_ARG, text)


def unhealthy() -> RequestFailed:
    """Build the error of a request that needs an engine which is dead."""
    return RequestFailed(Kind.UNAVAILABLE, UNHEALTHY)


def cancelled() -> RequestFailed:
    """Build the error that ends a cancelled request."""
    return RequestFailed(Kind.CANCELLED, CANCELLED)


def internal(request_id: str) -> RequestFailed:
    """Build the error for a defect of ours: its details go to the log, under the request's id."""
    return generating(
        Kind.INTERNAL, f"internal error while serving request {request_id}, see the server's log"
    )
