"""A ready Triton that does not serve turns Available and Ready away from True in time."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from operatorkit.kubelet import Kubelet, ready
from operatorkit.models import Models
from operatorkit.waiting import wait_for
from tritonstandin import TritonStandIn

pytestmark = pytest.mark.usefixtures("operator")

_PERIOD, _TIMEOUT, _THRESHOLD = 5, 5, 3
#: The status follows the verdict within a reconcile, and this machine may be busy.
_RECONCILE_SECONDS = 3
#: Behaviour to the reason and the status of Ready that a user then sees.
_EXPECTED = {
    "hang": ("ProbeTimeout", "False"),
    "error": ("ProbeFailed", "False"),
    "mute": ("ProbeProtocolError", "False"),
    "closed": ("ProbeUnreachable", "Unknown"),
}


@pytest.fixture(scope="module")
def pods(kubelet: Kubelet, models: Models) -> Iterator[dict[str, TritonStandIn]]:
    """One serving model per behaviour, each with a Triton of its own."""
    with ExitStack() as stack:
        servers = {behaviour: stack.enter_context(TritonStandIn()) for behaviour in _EXPECTED}
        for behaviour, server in servers.items():
            kubelet.behave(models.namespace, f"will-{behaviour}", ready(server.address))
            probe = {"periodSeconds": _PERIOD, "timeoutSeconds": _TIMEOUT, "failureThreshold": _THRESHOLD}
            models.create(f"will-{behaviour}", probe=probe)
        yield servers


def test_misbehaviour_is_seen_in_time_and_so_is_recovery(
    models: Models, pods: dict[str, TritonStandIn]
) -> None:
    for behaviour in pods:
        models.wait_serving(f"will-{behaviour}")
    for behaviour, server in pods.items():
        if behaviour == "closed":
            server.stop()
        server.behaviour = behaviour
    began = time.monotonic()
    took: dict[str, float] = {}

    def all_turned() -> bool:
        for behaviour in pods.keys() - took.keys():
            name = f"will-{behaviour}"
            reason, status = _EXPECTED[behaviour]
            seen = models.condition(name)
            if seen.get("status") != "True" and models.condition(name, "Available").get("status") != "True":
                assert (seen["reason"], seen["status"]) == (reason, status)
                took[behaviour] = time.monotonic() - began
        return took.keys() == pods.keys()

    limit = _PERIOD * _THRESHOLD + _TIMEOUT + _RECONCILE_SECONDS
    wait_for("all are seen to fail", all_turned, limit, note=lambda: f"seen: {took}")
    print("seconds until Ready and Available left True:", took)
    assert pods["hang"].most_in_flight == 1

    for behaviour, server in pods.items():
        server.behaviour = "serve"
        if behaviour == "closed":
            server.start()
    for behaviour in pods:
        models.wait_serving(f"will-{behaviour}", seconds=_PERIOD * 2)


def test_one_failure_is_no_verdict_yet(
    models: Models, name: str, kubelet: Kubelet, triton: TritonStandIn
) -> None:
    kubelet.behave(models.namespace, name, ready(triton.address))
    models.create(name)
    models.wait_serving(name)
    before = triton.inferences
    triton.behaviour = "error"
    wait_for("one inference failed", lambda: triton.inferences > before)
    triton.behaviour = "serve"
    wait_for("the next one was answered", lambda: triton.inferences > before + 1)
    assert models.condition(name)["status"] == "True"


def test_a_model_that_embeds_is_probed_by_an_embedding(
    models: Models, name: str, kubelet: Kubelet, triton: TritonStandIn
) -> None:
    triton.generates = False
    kubelet.behave(models.namespace, name, ready(triton.address))
    models.create(name)
    models.wait_serving(name)


def test_a_pod_that_hangs_for_long_gets_one_inference_at_a_time(
    models: Models, name: str, kubelet: Kubelet, triton: TritonStandIn
) -> None:
    kubelet.behave(models.namespace, name, ready(triton.address))
    models.create(name, probe={"periodSeconds": 5, "timeoutSeconds": 20, "failureThreshold": 1})
    models.wait_serving(name)
    assert "spec.probe.timeoutSeconds" in models.condition(name, "RepositoryReady")["message"]
    triton.behaviour = "hang"
    before, began = triton.inferences, time.monotonic()
    models.wait_condition(name, "Ready", "False", "ProbeTimeout", seconds=5 + 20 + _RECONCILE_SECONDS)
    wait_for("it is asked again", lambda: triton.inferences >= before + 3, 60)
    took = time.monotonic() - began
    assert triton.most_in_flight == 1
    assert triton.inferences - before <= took / 20 + 2


def test_what_an_answer_must_contain_is_checked_under_traffic(
    models: Models, name: str, kubelet: Kubelet, triton: TritonStandIn
) -> None:
    assert triton.info is not None
    triton.info["seconds_since_last_success"] = 0.1
    kubelet.behave(models.namespace, name, ready(triton.address))
    models.create(
        name,
        probe={
            "periodSeconds": _PERIOD,
            "timeoutSeconds": _TIMEOUT,
            "failureThreshold": _THRESHOLD,
            "generate": {"expectContains": "Paris"},
        },
    )
    models.wait_serving(name)
    triton.text = " London"
    limit = 4 * _PERIOD + (_THRESHOLD - 1) * _PERIOD + _TIMEOUT + _RECONCILE_SECONDS
    found = models.wait_condition(name, "Ready", "False", "ProbeFailed", seconds=limit)
    assert "Paris" in found["message"]
    triton.text = " Paris"
    models.wait_serving(name, seconds=_PERIOD * 2)


def test_a_backend_that_calls_its_engine_hung_is_believed_at_once(
    models: Models, name: str, kubelet: Kubelet, triton: TritonStandIn
) -> None:
    assert triton.info is not None
    kubelet.behave(models.namespace, name, ready(triton.address))
    models.create(name)
    models.wait_serving(name)
    triton.info["engine"] = "hung"
    models.wait_condition(name, "Ready", "False", "EngineHung", seconds=_PERIOD + _RECONCILE_SECONDS)
    triton.info["engine"] = "healthy"
    models.wait_serving(name, seconds=_PERIOD * 2)
