"""The Deployment of a model."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from vllm_operator.api.runtime import Rollout
from vllm_operator.api.v1alpha1 import ModelIdentity
from vllm_operator.desired.metadata import metadata, selector
from vllm_operator.desired.pod import REPOSITORY_VOLUME

#: ReplicaSets kept for `kubectl rollout undo`-like looks back; each keeps its ConfigMap alive.
REVISION_HISTORY_LIMIT: Final = 2
#: Scheduling, a node that an autoscaler must add, and the pull of a large image, before a load even starts.
_BEFORE_START_SECONDS: Final = 1200


def strategy(rollout: Rollout) -> dict[str, Any]:
    """How new pods replace old ones."""
    if rollout.type == "Recreate":
        return {"type": "Recreate"}
    update = rollout.rolling_update
    surge, unavailable = (update.max_surge, update.max_unavailable) if update else (1, 0)
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


def progress_deadline_seconds(startup_timeout_seconds: int) -> int:
    """How long a pod may take before the Deployment says that it makes no progress."""
    return startup_timeout_seconds + _BEFORE_START_SECONDS


def deployment(
    identity: ModelIdentity,
    *,
    replicas: int,
    template: Mapping[str, Any],
    config_map: str,
    rollout_strategy: Mapping[str, Any],
    deadline_seconds: int,
) -> dict[str, Any]:
    """The Deployment; its template is the revision's with the ConfigMap's name filled in."""
    pod_template = deepcopy(dict(template))
    for volume in pod_template["spec"]["volumes"]:
        if volume["name"] == REPOSITORY_VOLUME:
            volume["configMap"]["name"] = config_map
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(identity, identity.name),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": REVISION_HISTORY_LIMIT,
            "progressDeadlineSeconds": deadline_seconds,
            "selector": {"matchLabels": selector(identity.name)},
            "strategy": deepcopy(dict(rollout_strategy)),
            "template": pod_template,
        },
    }
