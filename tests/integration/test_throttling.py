"""A third of all requests refused with 429 for half a minute: everything converges, and rests soon after."""

import time
from pathlib import Path

from integration.conftest import StartOperator
from localcluster.controlplane import ControlPlane
from operatorkit.models import Models
from operatorkit.proxy import Proxy, Refusal, share_refused
from operatorkit.release import Release
from operatorkit.waiting import wait_for

_THROTTLED_SECONDS = 30
_MODELS = 12
#: From the end of the throttling: the last models serve, and nothing is written any more.
_QUIET_SECONDS = 10


def test_throttling_costs_time_but_no_reconcile_and_leaves_no_back_off_behind(
    control_plane: ControlPlane,
    release: Release,
    models: Models,
    start_operator: StartOperator,
    tmp_path: Path,
) -> None:
    names = [f"llama-{number}" for number in range(_MODELS)]
    with Proxy(release.kubeconfig(), tmp_path) as wire:
        operator = start_operator(kubeconfig=wire.kubeconfig)
        wire.fault = share_refused(3, Refusal(429, retry_after="1"))
        began = time.monotonic()
        for name in names:
            models.create(name)
        edits = iter(range(10_000))

        def over() -> bool:
            """Edits go on all the time: there is always something to write."""
            number = next(edits)
            models.edit(names[number % _MODELS], engineArgs={"max_model_len": 64 + number // _MODELS})
            return time.monotonic() - began >= _THROTTLED_SECONDS

        wait_for("the throttling is over", over, _THROTTLED_SECONDS + 10)
        wire.fault = None
        ended = time.monotonic()
        for name in names:
            models.wait_serving(name, seconds=ended + _QUIET_SECONDS - time.monotonic())
        mark = control_plane.audit.position()
        since = time.monotonic()

        def quiet() -> bool:
            nonlocal mark, since
            writes = control_plane.audit.writes(user=release.user, since=mark)
            if any(event.resource != "leases" for event in writes):
                mark, since = control_plane.audit.position(), time.monotonic()
            return time.monotonic() - since >= 3

        wait_for("nothing is written for three seconds", quiet, _QUIET_SECONDS)
        retries = [line for line in operator.log() if line.get("event") == "retry"]
        assert [line for line in retries if "429" in line.get("problem", "")] == []
        operator.kill()
