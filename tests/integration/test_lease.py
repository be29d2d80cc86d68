"""Two replicas, one leader: it is killed, stopped for a while or cut off, and the other takes over."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import pytest

from localcluster.controlplane import ControlPlane
from operatorkit.api import Api
from operatorkit.kubelet import Kubelet
from operatorkit.models import Models
from operatorkit.process import OperatorProcess
from operatorkit.proxy import Proxy, Write
from operatorkit.release import Release
from operatorkit.waiting import wait_for

_TAKE_OVER_SECONDS = 25
_LEASE_SECONDS = 15
_REQUEST_TIMEOUT_SECONDS = 10
#: The times that the chart ships; other tests run with more patience.
_SHIPPED = {"LEASE_DURATION_SECONDS": "15", "LEASE_RENEW_DEADLINE_SECONDS": "10"}


class Pair:
    """Two operators of one release, each with a wire of its own on which its writes are noted."""

    def __init__(self, models: Models, operators: list[OperatorProcess], wires: list[Proxy]) -> None:
        self.models = models
        self.first, self.second = operators
        self.wires = wires
        self.landed: list[float] = []
        """When a write of the first one, other than to the Lease, reached the API server."""
        wires[0].hook = self._note

    def _note(self, stage: Literal["before", "after"], write: Write) -> None:
        if stage == "after" and not write.is_lease:
            self.landed.append(time.monotonic())

    def keep_busy(self, number: int) -> None:
        """Give the leader, whoever thinks to be it, something to write."""
        self.models.edit("llama", engineArgs={"max_model_len": 100 + number})

    def wait_for_take_over(self) -> float:
        """Wait until the second one leads, editing all the while; returns the seconds it took."""
        began = time.monotonic()
        edits = iter(range(1000))

        def leads() -> bool:
            self.keep_busy(next(edits))
            return self.second.leads()

        wait_for("the other takes over", leads, _TAKE_OVER_SECONDS)
        return time.monotonic() - began


@pytest.fixture
def pair(
    control_plane: ControlPlane,
    api: Api,
    kubelet: Kubelet,
    new_namespace: Callable[[str], str],
    tmp_path: Path,
) -> Iterator[Pair]:
    """The first one leads and serves a model, the second one is a ready standby."""
    namespace = new_namespace("lease")
    release = Release(control_plane, api, namespace=namespace, watch=(namespace,))
    models = Models(api, namespace)
    with ExitStack() as stack:
        wires, operators = [], []
        for name in ("first", "second"):
            (directory := tmp_path / name).mkdir()
            wires.append(stack.enter_context(Proxy(release.kubeconfig(), directory)))
            settings = release.settings(POD_NAME=name, **_SHIPPED)
            operators.append(stack.enter_context(OperatorProcess(wires[-1].kubeconfig, settings)))
            if name == "first":
                operators[0].wait_until_leading()
        second = operators[1]
        wait_for("the standby is ready", lambda: second.get("/readyz")[0] == 200)
        assert not second.leads()
        models.create("llama")
        models.wait_serving("llama")
        yield Pair(models, operators, wires)
    api.delete("namespaces", "", namespace)


def _serves_under_the_second(pair: Pair) -> None:
    assert pair.second.returncode() is None
    pair.models.edit("llama", engineArgs={"max_model_len": 77})
    pair.models.wait_serving("llama", seconds=40)


@contextmanager
def _nothing_late_from_the_first(pair: Pair, lease_ended: float) -> Iterator[None]:
    yield
    late = [at - lease_ended for at in pair.landed if at > lease_ended + _REQUEST_TIMEOUT_SECONDS]
    assert late == [], "writes landed this long after the lease had ended"


def test_killed(pair: Pair) -> None:
    pair.first.kill()
    assert pair.wait_for_take_over() <= _TAKE_OVER_SECONDS
    _serves_under_the_second(pair)


def test_stopped_for_thirty_seconds_and_continued(pair: Pair) -> None:
    pair.keep_busy(1)
    pair.first.pause()
    stopped = time.monotonic()
    with _nothing_late_from_the_first(pair, stopped + _LEASE_SECONDS):
        pair.wait_for_take_over()
        thirty = iter(range(2000, 9000))

        def over() -> bool:
            pair.keep_busy(next(thirty))
            return time.monotonic() >= stopped + 30

        wait_for("thirty seconds are over", over, 35)
        pair.first.resume()
        assert pair.first.wait(10) == 1, "who lost the lease ends"
        _serves_under_the_second(pair)


def test_cut_off_from_the_api_server(pair: Pair) -> None:
    pair.keep_busy(1)
    pair.wires[0].cut()
    cut = time.monotonic()
    with _nothing_late_from_the_first(pair, cut + _LEASE_SECONDS):
        assert pair.first.wait(15) == 1, "it ends within the renew deadline and a retry"
        pair.wait_for_take_over()
        pair.wires[0].mend()
        _serves_under_the_second(pair)


def test_sigterm_hands_over_at_once(pair: Pair) -> None:
    assert pair.first.terminate() == 0
    wait_for("the other leads", pair.second.leads, 10)
    _serves_under_the_second(pair)
