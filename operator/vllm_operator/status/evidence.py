"""What is known of whether a pod answers inferences, of which pod it is known, and how old it may be.

Evidence is kept per pod: a verdict of this operator's probes, or the pod's UID in `status.servingPods`, where
the operator that led before wrote whom it had found serving. The lease dates that list: it is renewed only
while watches and probes make progress, and who cannot renew it writes no longer than its renew deadline.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from types import MappingProxyType
from typing import Any, Final, Protocol

from vllm_operator.observed import fields
from vllm_operator.observed.state import ProbeResult, ProbeVerdict

#: Evidence of a former leader that is older than this says nothing.
MAX_AGE: Final = timedelta(minutes=10)
#: In periods: nobody's standing lapses sooner after a takeover.
_MIN_PATIENCE: Final = 2
#: In seconds: without a revision there is no probe.
_NO_PROBE: Final = 60.0


class Standing(Enum):
    """What the evidence makes of a pod."""

    SERVING = auto()
    FAILING = auto()
    UNREACHABLE = auto()
    NEW = auto()
    """Nobody has judged it yet, and it is soon enough for that."""
    STALE = auto()
    """What is known of it, if anything, is too old."""


@dataclass(frozen=True, slots=True)
class Probing:
    """What dates the evidence. All times are of the operator's clock.

    `since`: by pod UID, when this operator began to probe the pod; absent: it begins now.
    `inherited_until`: until when the leader before this one may have written; None if there was none.
    `period_seconds`: how far apart the probes of a pod are; 0: as far as the spec says.
    """

    since: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    inherited_until: datetime | None = None
    period_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one model's pods, to be asked pod by pod."""

    probing: Probing
    inherited: frozenset[str]
    """UIDs that the previous status calls serving."""
    patience: timedelta
    now: datetime

    def standing(self, uid: str, probe: ProbeResult | None, ready_since: datetime | None) -> Standing:
        """The standing of a ready pod, given its UID and the verdict about it, if there is one."""
        if probe is not None:
            if probe.stale:
                return Standing.STALE
            known = {ProbeVerdict.SERVING: Standing.SERVING, ProbeVerdict.UNREACHABLE: Standing.UNREACHABLE}
            return known.get(probe.verdict, Standing.FAILING)
        if self.now >= self.lapses_at(uid):
            return Standing.STALE
        # Ready only since nobody led: it was another container that was found serving.
        until = self.probing.inherited_until
        restarted = until is not None and ready_since is not None and ready_since > until
        return Standing.SERVING if uid in self.inherited and not restarted else Standing.NEW

    def lapses_at(self, uid: str) -> datetime:
        """When a pod that this operator has not judged is no longer taken for what it was."""
        lapses = self.probing.since.get(uid, self.now) + self.patience
        until = self.probing.inherited_until
        if uid not in self.inherited or until is None:
            return lapses
        return max(lapses, min(until, self.now) + MAX_AGE)


class ProbeTimes(Protocol):
    """What the spec says of its probe, in seconds."""

    @property
    def period_seconds(self) -> int: ...  # noqa: D102
    @property
    def timeout_seconds(self) -> int: ...  # noqa: D102
    @property
    def failure_threshold(self) -> int: ...  # noqa: D102


def gather(
    previous: Mapping[str, Any],
    probing: Probing,
    probe: ProbeTimes | None,
    *,
    ready: frozenset[str],
    now: datetime,
) -> Evidence:
    """The evidence, given the previous status, the spec's probe, and who is ready by the kubelet."""
    inherited = _said_serving(previous, ready)
    patience = max(_MIN_PATIENCE * probing.period_seconds, _to_a_verdict(probe) if probe else _NO_PROBE)
    return Evidence(probing, inherited, timedelta(seconds=patience), now)


def _to_a_verdict(probe: ProbeTimes) -> float:
    """Seconds after which a pod has been judged, also one that fails: later than that nobody probes it."""
    slowest = probe.failure_threshold * max(probe.period_seconds, probe.timeout_seconds)
    return max(_MIN_PATIENCE * probe.period_seconds, slowest + probe.period_seconds)


def _said_serving(previous: Mapping[str, Any], ready: frozenset[str]) -> frozenset[str]:
    if "servingPods" in previous:
        return frozenset(fields.texts(previous, "servingPods"))
    # Written by a version that only counted: it meant these pods if they are no more than it counted.
    return ready if len(ready) <= fields.number(previous, "readyReplicas") else frozenset()


def was(previous: Mapping[str, Any], kind: str) -> str:
    """Status of a condition in the previous status, empty if it had none."""
    return fields.text(fields.condition({"status": previous}, kind), "status")
