"""kopf's settings: watching only, tuned by measurement."""

import kopf

from vllm_operator.api.meta import GROUP, MODEL_LABEL, PLURAL, VERSION
from vllm_operator.kube.resources import CHILDREN


def settings() -> kopf.OperatorSettings:
    """No peering, no posting, no annotation, no finalizer; long patience with a sick API server."""
    configured = kopf.OperatorSettings()
    configured.posting.enabled = False
    configured.posting.loggers = False
    configured.peering.standalone = True
    configured.process.ultimate_exiting_timeout = None  # the kubelet's grace period bounds our end
    # Namespaces are given by name, never as patterns: no need to list or watch namespaces and CRDs.
    configured.scanning.disabled = True
    # A worker per object stays for idle_timeout after each event: short, or thousands of tasks pile up.
    configured.queueing.idle_timeout = 0.05
    configured.queueing.worker_limit = None
    configured.watching.chunk_size = 500
    for resource in CHILDREN:
        group, _, version = resource.api_version.rpartition("/")
        configured.watching.label_selectors[group, version, resource.plural] = MODEL_LABEL
    # A watcher that gives up ends the process; ride out about five minutes of 5xx before that.
    configured.networking.error_backoffs = (1, 2, 4, 8, 15, 30, 60, 60, 60, 60)
    configured.networking.request_timeout = 30
    # Unused, as no handler here needs a finalizer; but never kopf's own name on our objects.
    configured.persistence.finalizer = f"{PLURAL}.{GROUP}/{VERSION}"
    return configured
