"""Since when the reconciles of each model fail, and whether that has been told."""

from dataclasses import dataclass, field
from datetime import datetime

from vllm_operator.observed.store import Key
from vllm_operator.reconcile.errors import Bug, ReconcileError
from vllm_operator.telemetry import logs

_log = logs.get("reconcile.failures")


@dataclass(slots=True)
class _Streak:
    since: datetime
    told: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Failures:
    """One streak per model: a success ends it."""

    _streaks: dict[Key, _Streak] = field(default_factory=dict)

    def note(self, key: Key, failure: ReconcileError | None, now: datetime) -> datetime | None:
        """How a reconcile ended; returns since when they have failed, None if this one did not.

        The traceback of a bug is logged once per streak: the model comes back soon, and often.
        """
        if failure is None:
            self.forget(key)
            return None
        streak = self._streaks.setdefault(key, _Streak(now))
        if isinstance(failure, Bug) and str(failure) not in streak.told:
            streak.told.add(str(failure))
            _log.error("bug in the operator, please report it", model=str(key), exc_info=failure.__cause__)
        return streak.since

    def forget(self, key: Key) -> None:
        """It ended well, or the model is gone."""
        self._streaks.pop(key, None)
