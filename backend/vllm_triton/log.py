"""Writes to Triton's log."""

from __future__ import annotations

import traceback

import triton_python_backend_utils as pb_utils

_PREFIX = "[vllm] "


def info(text: str) -> None:
    """Log something an administrator may want to know."""
    pb_utils.Logger.log_info(_PREFIX + text)


def warning(text: str) -> None:
    """Log something an administrator should look at."""
    pb_utils.Logger.log_warn(_PREFIX + text)


def error(text: str) -> None:
    """Log a failure."""
    pb_utils.Logger.log_error(_PREFIX + text)


def defect(text: str, cause: BaseException) -> None:
    """Log a failure that should not happen, with its traceback."""
    trace = "".join(traceback.format_exception(cause))
    pb_utils.Logger.log_error(f"{_PREFIX}{text}: {trace}")
