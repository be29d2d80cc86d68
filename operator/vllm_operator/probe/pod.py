"""What the probes of one pod have come to: the standing verdict, and what the pod still has to prove."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from vllm_operator.observed.state import BackendInfo, ProbeResult, ProbeVerdict
from vllm_operator.observed.store import Key
from vllm_operator.observed.target import ProbeTarget
from vllm_operator.probe.outcome import Outcome
from vllm_operator.probe.schedule import CONTENT_PERIODS


@dataclass(slots=True, eq=False)
class PodProbe:
    """One pod: its standing verdict, and the failures since its last success. Times are the event loop's."""

    key: Key
    target: ProbeTarget
    due: float
    judged: float
    """When the last probe ended, or when the pod was first seen."""
    period: float = 0.0
    """The effective period when it was judged: what was promised then stands, also where periods shrink."""
    result: ProbeResult | None = None
    failures: list[ProbeVerdict] = field(default_factory=list)
    owed: int = 1
    """Successes until it is neither new nor suspect."""
    proved: float | None = None
    """When it last answered an inference of ours in full."""
    embeds: bool = False
    stale: bool = False
    started: float | None = None
    attempt: asyncio.Task[Outcome] | None = None
    at_work: asyncio.TimerHandle | None = None
    """Of an attempt that has its slot still."""
    first: bool = True
    """No probe has ended yet."""
    gone: bool = False

    @property
    def urgent(self) -> bool:
        """New or suspect, so its period is the spec's. It settles with the successes that it owes."""
        return self.owed > 0 or self.target.ask_only

    def standing(self) -> ProbeResult | None:
        """The verdict with its age."""
        return replace(self.result, stale=True) if self.result and self.stale else self.result

    def must_infer(self, now: float, period: float) -> bool:
        """Whether only an inference of ours counts now, whatever the backend says of others' requests.

        Its account proves that the engine answers. It does not prove what an answer contains, nor that the
        model answers the kind of request that the spec asks for.
        """
        if self.target.kind == "auto":
            return False
        if self.proved is None:
            return True
        return self.target.expect_contains is not None and now - self.proved >= CONTENT_PERIODS * period

    def turn(self, target: ProbeTarget) -> bool:
        """Take the pod's newest description; True when it is now to be asked otherwise, and at once."""
        before, self.target = self.target, target
        if before.ask_only == target.ask_only:
            if _question(before) == _question(target):
                return False
            self.owed, self.proved = max(self.owed, 1), None
            return True
        # Turned away, or back: what it proved before says nothing of now. Why it failed still does.
        self.owed, self.proved, self.stale = 1, None, False
        if self.result is not None and self.result.verdict is ProbeVerdict.SERVING:
            self.result = None
            self.failures.clear()
        return True

    def judge(self, outcome: Outcome) -> bool:
        """Apply the hysteresis; True when the standing verdict, or what the backend says of itself, changed.

        One success is enough to be serving. To fail takes as many failures in a row as the threshold; which
        failure it is then called follows the latest. What the pod is certain of itself is believed at once.
        """
        before, threshold = self.result, self.target.failure_threshold
        if outcome.verdict is None:
            return self._take_back(outcome)
        if outcome.verdict is ProbeVerdict.SERVING:
            self.failures.clear()
            self.owed = max(self.owed - 1, 0)
        else:
            self.owed = threshold
            self.failures.extend([outcome.verdict] * (threshold if outcome.certain else 1))
            del self.failures[:-threshold]
            if len(self.failures) < threshold:
                return False
            if before and before.verdict is not ProbeVerdict.SERVING and len(set(self.failures)) > 1:
                return False  # failing either way: rename it only when it has settled on another kind
        return self._stand(outcome.verdict, outcome)

    def _take_back(self, outcome: Outcome) -> bool:
        """A pod that was only asked how it is holds nothing against itself, or did not answer."""
        if outcome.backend is None or self.result is None or self.result.verdict is not ProbeVerdict.HUNG:
            return False
        self.result = None
        self.failures.clear()
        return True

    def _stand(self, verdict: ProbeVerdict, outcome: Outcome) -> bool:
        before = self.result
        backend = outcome.backend or (before.backend if before else BackendInfo())
        if before and (before.verdict, before.backend) == (verdict, backend):
            return False
        unchanged = before is not None and before.verdict is verdict
        self.result = ProbeResult(
            pod_uid=self.target.pod_uid,
            verdict=verdict,
            message=outcome.message,
            at=before.at if before and unchanged else datetime.now(UTC),
            backend=backend,
        )
        return True


def _question(target: ProbeTarget) -> ProbeTarget:
    """What is asked, without when."""
    return replace(target, period_seconds=0, timeout_seconds=0, failure_threshold=0)
