"""What has been seen of one VLLMModel's children and of the answers its pods give."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

#: A Kubernetes object as the API server sends it.
Object = Mapping[str, Any]


class ProbeVerdict(StrEnum):
    """What the probes of one pod say, hysteresis applied."""

    SERVING = "Serving"
    FAILED = "ProbeFailed"
    TIMEOUT = "ProbeTimeout"
    UNREACHABLE = "ProbeUnreachable"
    PROTOCOL_ERROR = "ProbeProtocolError"
    HUNG = "EngineHung"
    """The pod itself says that its engine has requests and makes no progress."""


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """What the backend in a pod says of itself; empty strings and tuples where it did not say."""

    triton: str = ""
    vllm: str = ""
    model_revisions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The standing verdict about one pod. `at` is when the verdict last changed, timezone-aware.

    `stale`: no probe has ended for two effective periods, so the verdict says nothing of now.
    """

    pod_uid: str
    verdict: ProbeVerdict
    message: str
    at: datetime
    backend: BackendInfo = field(default_factory=BackendInfo)
    stale: bool = False


@dataclass(frozen=True, slots=True)
class ObservedState:
    """One model's children as last seen. `probes` is keyed by pod UID; a pod not probed yet is absent."""

    deployment: Object | None = None
    service: Object | None = None
    replica_sets: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    config_maps: tuple[Object, ...] = ()
    controller_revisions: tuple[Object, ...] = ()
    probes: Mapping[str, ProbeResult] = field(default_factory=lambda: MappingProxyType({}))
