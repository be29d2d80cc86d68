"""kopf's settings: watching only, tuned by measurement."""

from collections.abc import Iterable
from typing import Any

import kopf

from vllm_operator.api.meta import GROUP, PLURAL, VERSION

#: Each watch of kopf's ends and begins anew after this long, so that its answer is seen once a minute
#: (telemetry/progress.py): the bookmarks in between are kopf's own.
SERVER_SECONDS = 60


def settings() -> kopf.OperatorSettings:
    """No peering, no posting, no annotation, no finalizer, no copy of any object."""
    configured = kopf.OperatorSettings()
    configured.posting.enabled = False
    configured.posting.loggers = False
    configured.peering.standalone = True
    configured.process.ultimate_exiting_timeout = None  # app.py bounds the end of the process
    # Namespaces are given by name, never as patterns: no need to list or watch namespaces and CRDs.
    configured.scanning.disabled = True
    # A worker per object stays for idle_timeout after each event: short, or thousands of tasks pile up.
    configured.queueing.idle_timeout = 0.05
    configured.queueing.worker_limit = None
    configured.watching.chunk_size = 50  # of at most 1.5 MiB each: that is all in memory at once
    configured.watching.server_timeout = SERVER_SECONDS
    # From an expired watch to the next list: one that expires each time would be a list without a pause.
    configured.watching.reconnect_backoff = 2.0
    # A watcher that gives up ends its unit, which starts anew by itself (unit.py).
    configured.networking.error_backoffs = (1, 2, 4, 8)
    configured.networking.request_timeout = 30
    # Unused, as no handler here needs a finalizer; but never kopf's own name on our objects.
    configured.persistence.finalizer = f"{PLURAL}.{GROUP}/{VERSION}"
    configured.persistence.diffbase_storage = _NoDiffBase()
    return configured


class _NoDiffBase(kopf.DiffBaseStorage):
    """kopf copies and compares each object for handlers of changes. There are none: half of the CPU time."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing is stored anywhere."""
