"""One log stream on stderr, JSON or for a terminal: our structlog events and everybody else's records."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

#: Chatty by design: events that our handlers count already, and tracebacks where a part of kopf ends,
#: whose reason watch/unit.py says in a line.
_QUIET = {
    "kopf.objects": logging.WARNING,
    "kopf.activities": logging.WARNING,
    "kopf._core.engines.activities": logging.WARNING,
    "kopf._core.reactor": logging.CRITICAL,
    "aiohttp.access": logging.WARNING,
    "kubernetes": logging.INFO,
}


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for one module; keyword arguments become fields."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def configure(*, log_format: Literal["json", "console"], level: str) -> None:
    """Route everything through one handler. Called once, before anything logs."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(allow=()),
        _add_kopf_reference,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[structlog.types.Processor]
    if log_format == "json":
        render = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        # Plain: a rich traceback would print every local variable, tokens among them.
        plain = structlog.dev.plain_traceback
        render = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(quiet)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _add_kopf_reference(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """kopf puts the object a record is about on the record itself."""
    record = event.get("_record")
    reference = getattr(record, "k8s_ref", None)
    if reference:
        event["namespace"] = reference.get("namespace")
        event["object"] = f"{reference.get('kind')} {reference.get('namespace')}/{reference.get('name')}"
    return event
