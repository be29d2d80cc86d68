"""One tenant's hanging models do not keep another tenant's pod from being judged in time."""

from collections.abc import Callable, Iterator

import pytest

from localcluster.controlplane import ControlPlane
from operatorkit.api import Api
from operatorkit.kubelet import Kubelet, ready
from operatorkit.models import Models
from operatorkit.process import OperatorProcess
from operatorkit.release import Release
from operatorkit.waiting import wait_for
from tritonstandin import TritonStandIn

_HANGING = 60
_PERIOD, _TIMEOUT, _THRESHOLD = 5, 5, 3
#: The status follows the verdict within a reconcile, and this machine may be busy.
_RECONCILE_SECONDS = 3


@pytest.fixture(scope="module")
def other_models(api: Api, new_namespace: Callable[[str], str]) -> Iterator[Models]:
    """Models of the tenant whose models hang."""
    name = new_namespace("other")
    yield Models(api, name)
    api.delete("namespaces", "", name)


@pytest.fixture(scope="module")
def release(
    control_plane: ControlPlane, api: Api, namespace: str, other_models: Models, kubelet: Kubelet
) -> Release:
    """The chart for both tenants' namespaces."""
    return Release(control_plane, api, namespace=namespace, watch=(namespace, other_models.namespace))


@pytest.fixture(scope="module")
def hanging() -> Iterator[TritonStandIn]:
    """The Triton of all pods that hang."""
    with TritonStandIn("hang", calls=4 * _HANGING) as server:
        yield server


def test_sixty_hanging_models_do_not_delay_another_tenants_verdict(
    models: Models,
    other_models: Models,
    name: str,
    kubelet: Kubelet,
    triton: TritonStandIn,
    hanging: TritonStandIn,
    operator: OperatorProcess,
) -> None:
    kubelet.behave(models.namespace, name, ready(triton.address))
    for number in range(_HANGING):
        kubelet.behave(other_models.namespace, f"hangs-{number}", ready(hanging.address))
        probe = {"periodSeconds": 5, "timeoutSeconds": 20, "failureThreshold": 1}
        other_models.create(f"hangs-{number}", probe=probe)
    wait_for(
        "all of them hang", lambda: hanging.in_flight >= _HANGING, 180, note=lambda: f"{hanging.in_flight}"
    )

    models.create(
        name, probe={"periodSeconds": _PERIOD, "timeoutSeconds": _TIMEOUT, "failureThreshold": _THRESHOLD}
    )
    models.wait_serving(name)
    triton.behaviour = "error"
    limit = _PERIOD * _THRESHOLD + _TIMEOUT + _RECONCILE_SECONDS
    models.wait_condition(name, "Ready", "False", "ProbeFailed", seconds=limit)
    triton.behaviour = "serve"
    models.wait_serving(name, seconds=_PERIOD + _RECONCILE_SECONDS)

    assert hanging.most_in_flight <= _HANGING, "one attempt a pod"
    for number in range(_HANGING):
        other_models.wait_condition(f"hangs-{number}", "Ready", "False", "ProbeTimeout", seconds=60)
    text = operator.get("/metrics")[1]
    for namespace in (models.namespace, other_models.namespace):
        assert f'vllm_operator_probe_effective_period_seconds{{namespace="{namespace}"}} 5.0' in text
    assert "vllm_operator_probe_stale_verdicts 0.0" in text
