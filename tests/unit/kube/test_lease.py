"""What a lease says of the time before it was taken."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from vllm_operator.kube.errors import ApiError
from vllm_operator.kube.lease import Lease


class _Server:
    """An API server with one Lease, or none."""

    def __init__(self, spec: dict[str, Any] | None, *, lost_answers: int = 0) -> None:
        self.spec = spec
        self.lost_answers = lost_answers

    async def get(self, *_: Any) -> dict[str, Any]:
        if self.spec is None:
            raise ApiError("GET", 404)
        return {"metadata": {"name": "l", "namespace": "n", "resourceVersion": "1"}, "spec": self.spec}

    async def create(self, lease: dict[str, Any], **_: Any) -> dict[str, Any]:
        self.spec = lease["spec"]
        if self.lost_answers > 0:
            self.lost_answers -= 1
            raise ApiError("PUT", 0, {"message": "no answer in time"})
        return lease

    replace = create


async def taken(spec: dict[str, Any] | None, *, lost_answers: int = 0) -> Lease:
    lease = Lease(
        client=_Server(spec, lost_answers=lost_answers),  # type: ignore[arg-type]
        namespace="n",
        name="l",
        identity="second",
        duration_seconds=15,
        renew_deadline_seconds=10,
        retry_period_seconds=0.01,
    )
    await lease.acquire()
    return lease


async def test_the_last_renewal_of_the_former_holder_is_kept() -> None:
    at = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    text = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    for holder in ("", "second"):
        lease = await taken({"holderIdentity": holder, "renewTime": text})
        assert lease.previous_renewal == at
        await lease._write(lease._held)
        assert lease.previous_renewal == at, "its own renewals change nothing"


@pytest.mark.parametrize(
    "spec", [None, {}, {"renewTime": None}, {"renewTime": "soon"}, {"renewTime": "2026-03-01"}]
)
async def test_no_time_is_none(spec: dict[str, Any] | None) -> None:
    assert (await taken(spec)).previous_renewal is None


async def test_a_lease_from_the_future_was_renewed_now_at_the_latest() -> None:
    future = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    lease = await taken({"renewTime": future})
    assert lease.previous_renewal is not None
    assert lease.previous_renewal <= datetime.now(UTC)


@pytest.mark.parametrize("holder", ["", "second"])
@pytest.mark.parametrize("lost_answers", [1, 2])
async def test_a_write_of_its_own_whose_answer_was_lost_is_no_predecessors(
    holder: str, lost_answers: int
) -> None:
    spec = {"holderIdentity": holder, "renewTime": "2026-03-01T12:00:00.000000Z"}
    lease = await taken(spec, lost_answers=lost_answers)
    assert lease.previous_renewal == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert (await taken(None, lost_answers=lost_answers)).previous_renewal is None


@pytest.mark.parametrize(("seconds_ago", "until_ago"), [(3600, 3590), (11, 1), (10, 0), (3, 0), (-5, 0)])
async def test_a_predecessor_may_have_written_for_the_renew_deadline(
    seconds_ago: float, until_ago: float
) -> None:
    now = datetime.now(UTC)
    renewed = (now - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    until = (await taken({"renewTime": renewed})).predecessor_until()
    assert until is not None
    assert timedelta() <= until - (now - timedelta(seconds=until_ago)) < timedelta(seconds=1)
    assert (await taken({})).predecessor_until() is None
