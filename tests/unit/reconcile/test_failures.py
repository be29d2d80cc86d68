"""A reconcile that raises: a status all the same, one traceback, and no word of it in the status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from unit.builders import NOW, SETTINGS, ModelBuilder, a_cluster
from unit.status.test_cases import MODEL, SERVED_BEFORE, serving
from vllm_operator.kube.errors import ApiError
from vllm_operator.observed.state import ObservedState, ProbeResult
from vllm_operator.observed.store import Key, ObservedStore
from vllm_operator.observed.target import ProbeTarget
from vllm_operator.reconcile.children import Children
from vllm_operator.reconcile.errors import Bug, ReconcileError, TerminalError, TransientError
from vllm_operator.reconcile.events import EventPoster
from vllm_operator.reconcile.failures import Failures
from vllm_operator.reconcile.reconciler import Reconciler
from vllm_operator.reconcile.refusals import refused

KEY = Key("default", "opt")


def test_a_streak_lasts_until_a_success() -> None:
    failures = Failures()
    assert failures.note(KEY, TransientError("no answer"), NOW) == NOW
    assert failures.note(KEY, TransientError("no answer"), NOW + timedelta(minutes=1)) == NOW
    assert failures.note(KEY, None, NOW + timedelta(minutes=2)) is None
    assert failures.note(KEY, TransientError("no answer"), NOW + timedelta(minutes=3)) > NOW  # type: ignore[operator]
    assert failures.note(Key("default", "other"), TransientError("x"), NOW) == NOW


def test_a_traceback_is_logged_once_a_streak() -> None:
    failures = Failures()
    with capture_logs() as logged:
        for _ in range(3):
            failures.note(KEY, Bug(KeyError("volumes")), NOW)
        failures.note(KEY, Bug(TypeError("another")), NOW)
        failures.note(KEY, None, NOW)
        failures.note(KEY, Bug(KeyError("volumes")), NOW)
    assert [repr(line["exc_info"]) for line in logged] == [
        "KeyError('volumes')", "TypeError('another')", "KeyError('volumes')"
    ]  # fmt: skip


@dataclass
class _Client:
    """An API server that holds one model and takes its status."""

    model: dict[str, Any]
    statuses: list[Mapping[str, Any]] = field(default_factory=list)

    async def get(self, *_: Any) -> dict[str, Any]:
        return self.model

    async def apply(self, obj: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        self.statuses.append(obj["status"])
        return {**self.model, "status": obj["status"]}

    async def create(self, obj: Mapping[str, Any], **_: Any) -> Mapping[str, Any]:
        return obj


class _Probes:
    def watch(self, key: Key, targets: Sequence[ProbeTarget]) -> None:
        pass

    def results(self, key: Key) -> Mapping[str, ProbeResult]:
        return {}

    def effective_period_seconds(self, key: Key) -> float:
        return 0


class _Applier:
    """Raises what it is told to."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def look(self, *_: Any) -> None:
        raise self.error

    def check(self, *_: Any) -> None:
        raise self.error

    def forget(self, *_: Any) -> None:
        pass


class _Store(ObservedStore):
    def __init__(self, observed: ObservedState) -> None:
        super().__init__()
        self.observed = observed

    def observe(self, *_: Any) -> ObservedState:
        return self.observed


def reconciler(error: Exception, model: ModelBuilder, observed: ObservedState) -> tuple[Reconciler, _Client]:
    obj = model.object()
    obj["metadata"]["resourceVersion"] = "1"
    client = _Client(obj)
    store = _Store(observed)
    return (
        Reconciler(
            client=client,  # type: ignore[arg-type]
            store=store,
            children=Children(_Applier(error), store),  # type: ignore[arg-type]
            probes=_Probes(),
            settings=SETTINGS,
            leading_since=NOW - timedelta(hours=1),
            events=EventPoster(client, "operator-0"),  # type: ignore[arg-type]
            clock=lambda: NOW,
        ),
        client,
    )


def ready(status: Mapping[str, Any], kind: str = "Ready") -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(c for c in status["conditions"] if c["type"] == kind)
    return found


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (KeyError("secret-looking text"), Bug),
        (RecursionError("deep"), Bug),
        (ApiError("PATCH /x", 500, {"message": "etcd is away"}), TransientError),
    ],
)
async def test_a_status_is_written_whatever_raises(error: Exception, raised: type[ReconcileError]) -> None:
    observed = serving().observed()
    works, client = reconciler(error, SERVED_BEFORE, observed)
    times = iter([NOW, NOW + timedelta(seconds=16)])
    for at in times:
        works.clock = lambda at=at: at  # type: ignore[misc]
        with pytest.raises(raised):
            await works.reconcile(KEY)
    first, last = client.statuses[0], client.statuses[-1]
    assert ready(first)["reason"] != "ReconcileFailed", "a short failure is nobody's business"
    assert (ready(last)["status"], ready(last)["reason"]) == ("Unknown", "ReconcileFailed")
    assert ready(last, "Available")["status"] == "True", "the pods serve on"
    text = ready(last)["message"]
    assert "Traceback" not in text
    assert "secret-looking" not in text
    assert "\n" not in text
    assert (type(error).__name__ if raised is Bug else "etcd is away") in text


async def test_a_young_leader_waits_two_periods() -> None:
    works, client = reconciler(KeyError("x"), SERVED_BEFORE, serving().observed())
    works.leading_since = NOW
    for seconds, reason in ((0, "Serving"), (29, "Serving"), (31, "ReconcileFailed")):
        works.clock = lambda seconds=seconds: NOW + timedelta(seconds=seconds)  # type: ignore[misc]
        with pytest.raises(Bug):
            await works.reconcile(KEY)
        assert ready(client.statuses[-1])["reason"] == reason


SELECTOR = 'Deployment.apps "opt" is invalid: spec.selector: Invalid value: {}: field is immutable'


@pytest.mark.parametrize(
    ("live", "message", "stalled"),
    [
        (True, SELECTOR, False),
        (
            True,
            'ConfigMap "x" is invalid: data: Forbidden: field is immutable when `immutable` is set',
            False,
        ),
        (
            True,
            'Service "opt" is invalid: spec.clusterIPs[0]: Invalid value: "None": may not change once set',
            False,
        ),
        (
            True,
            'Deployment.apps "opt" is invalid: spec.template.spec.containers[0].image: Required value',
            True,
        ),
        (False, SELECTOR, True),
    ],
)
def test_what_cannot_be_changed_is_the_objects_fault(live: bool, message: str, stalled: bool) -> None:
    wanted = a_cluster(MODEL).applied(MODEL.accepted()).deployment
    error = refused(wanted, wanted if live else None, ApiError("PATCH /x", 422, {"message": message}))
    assert isinstance(error, TerminalError)
    (problem,) = error.problems
    assert problem.stalled is stalled
    assert problem.reason == ("InvalidSpec" if stalled else "NameConflict")
