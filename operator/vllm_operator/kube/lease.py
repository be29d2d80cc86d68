"""One holder at a time, by a Lease. Who cannot renew in time ends the process: the only fence that holds.

Times are taken from CLOCK_BOOTTIME, which also runs while the process, or the machine, is stopped.
A renewal counts from before it was sent, so the holder gives up earlier than any other may take over.
"""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from vllm_operator.kube.client import KubeClient
from vllm_operator.kube.errors import ApiError
from vllm_operator.kube.resources import LEASES
from vllm_operator.telemetry import logs

_log = logs.get("kube.lease")


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _end_process(why: str) -> None:
    """No clean-up: whatever is half done must not be finished by this process."""
    _log.critical("lease lost, ending at once", because=why)
    os._exit(1)


@dataclass(slots=True)
class Lease:
    """Acquire, keep, release. `client` must time out faster than the lease does and carry no fence."""

    client: KubeClient
    namespace: str
    name: str
    identity: str
    duration_seconds: float
    renew_deadline_seconds: float
    retry_period_seconds: float
    end_process: Callable[[str], None] = _end_process
    previous_renewal: datetime | None = None
    """When the holder before this one last renewed it, by its clock and never later than now: until then its
    watches and probes made progress. None: there was none, or it is not known."""
    _held: dict[str, Any] | None = None
    _tried: bool = False
    """A write was sent. Whether it was taken is not known where its answer did not come."""
    _renewed: float = 0.0
    _seen: tuple[Any, float] = field(default=(None, 0.0))

    async def acquire(self) -> None:
        """Wait, as long as it takes, until the lease is ours."""
        while True:
            try:
                if await self._try_acquire():
                    return
            except ApiError as error:
                if error.status in (401, 403):
                    raise
                _log.warning("lease not read", problem=str(error))
            await asyncio.sleep(self.retry_period_seconds)

    async def keep(self, stalled: Callable[[], str] = str) -> None:
        """Renew for ever; ends the process when that fails for the renew deadline.

        `stalled` says what of the holder's work does not get on: while it says anything nothing is renewed.
        """
        while True:
            await asyncio.sleep(self.retry_period_seconds)
            self.fence()
            if problem := stalled():
                _log.error("lease not renewed, another replica may do better", problem=problem)
                continue
            try:
                async with asyncio.timeout(self._remaining()):
                    await self._write(self._held)
            except TimeoutError:
                self.end_process("no renewal within the renew deadline")
            except ApiError as error:
                if error.status == 409:
                    await self._resolve_conflict()
                else:
                    _log.warning("lease not renewed", problem=str(error))

    def predecessor_until(self) -> datetime | None:
        """Until when the holder before this one may have written: it held on for the renew deadline.

        Never later than now; None if there was none, or it is not known.
        """
        if self.previous_renewal is None:
            return None
        last = self.previous_renewal + timedelta(seconds=self.renew_deadline_seconds)
        return min(last, datetime.now(UTC))

    def fence(self) -> None:
        """Ends the process unless the lease is held and fresh. Called before each write."""
        if self._held is None or self._remaining() <= 0:
            self.end_process("the lease is not held or was not renewed in time")

    async def release(self) -> None:
        """Let another holder in at once. Called when nothing of ours writes any more."""
        if self._held is None:
            return
        spec = {**self._held["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        held, self._held = self._held, None
        try:
            await self.client.replace({**held, "spec": spec})
        except ApiError as error:
            _log.warning("lease not released, it runs out by itself", problem=str(error))

    def _remaining(self) -> float:
        return self._renewed + self.renew_deadline_seconds - _now()

    async def _try_acquire(self) -> bool:
        try:
            found = await self.client.get(LEASES, self.namespace, self.name)
        except ApiError as error:
            if not error.not_found:
                raise
            return await self._write(None)
        spec = found.get("spec") or {}
        version = found["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, _now())
        holder = spec.get("holderIdentity") or ""
        # Others' clocks are not ours: a lease is over when it has not changed for its duration as seen here.
        patience = float(spec.get("leaseDurationSeconds") or self.duration_seconds)
        if holder not in ("", self.identity) and _now() - self._seen[1] < patience:
            return False
        return await self._write(found)

    async def _write(self, found: dict[str, Any] | None) -> bool:
        """Create or replace; False when another was quicker while this one does not hold it."""
        sent = _now()
        if not (self._tried and self._is_ours(found)):
            self.previous_renewal = _renewal(found)
        self._tried = True
        lease = self._manifest(found)
        try:
            if found is None:
                answer = await self.client.create(lease, field_manager="vllm-operator")
            else:
                answer = await self.client.replace(lease)
        except ApiError as error:
            if error.status == 409 and self._held is None:
                return False
            raise
        self._held, self._renewed = answer, sent
        return True

    def _manifest(self, found: dict[str, Any] | None) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = (found or {}).get("spec") or {}
        same_holder = self._is_ours(found)
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": round(self.duration_seconds),
            "acquireTime": before.get("acquireTime", now) if same_holder else now,
            "renewTime": now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (not same_holder),
        }
        metadata = found["metadata"] if found else {"name": self.name, "namespace": self.namespace}
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": metadata,
            "spec": spec,
        }

    def _is_ours(self, found: dict[str, Any] | None) -> bool:
        return ((found or {}).get("spec") or {}).get("holderIdentity") == self.identity

    async def _resolve_conflict(self) -> None:
        """Somebody wrote the Lease: an edit of its labels is no matter, another holder is the end."""
        try:
            found = await self.client.get(LEASES, self.namespace, self.name)
        except ApiError as error:
            if error.not_found:
                self.end_process("the lease was deleted")
            return
        if not self._is_ours(found):
            self.end_process("another holder has the lease")
        self._held = found


def _renewal(found: dict[str, Any] | None) -> datetime | None:
    text = ((found or {}).get("spec") or {}).get("renewTime")
    try:
        return min(datetime.fromisoformat(str(text)), datetime.now(UTC))
    except (ValueError, TypeError):
        return None
