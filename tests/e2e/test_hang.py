"""A real pod whose engine is stopped: out of the Service, told as what it is, ended, and serving again."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from demo import triton
from demo.conditions import condition, wait_for
from demo.install import make_namespace
from demo.kubectl import CommandFailed, Kubectl
from e2e.models import LOADED_WITHIN, TAUGHT, TINY_IMAGE, Served

#: In place of 60 s and 300 s (docs/backend.md, "Signs of life"). No tenant and no administrator can set them:
#: the test lays them over the Deployment, as a field manager of its own.
NO_PROGRESS, HANG_END = 6, 60
#: Silence, as long again for an answer, three of the kubelet's probes 5 s apart, and time for a busy machine.
LEFT_WITHIN: Final = 2 * NO_PROGRESS + 3 * 5 + 15
ENDED_WITHIN: Final = HANG_END * 1.2 + 60

STOP = """
import os, signal
from pathlib import Path
names = {int(p.name): (p / "comm").read_text() for p in Path("/proc").glob("[0-9]*")}
(engine,) = [pid for pid, name in names.items() if name.startswith("VLLM::EngineCor")]
os.kill(engine, signal.SIGSTOP)
"""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def hanging(kubectl: Kubectl, installed: object) -> Iterator[Served]:
    """A model of this test's own, with short times; it starts only when they are set."""
    make_namespace(kubectl, "hanging")
    model = Served(kubectl, "hanging", "hanging")
    model.apply({"image": {"reference": TINY_IMAGE}}, gpus={"count": 0}, replicas=0)
    wait_for("the Deployment", lambda: kubectl.get("deployment", model.name, model.namespace), timeout=60)
    kubectl.run(
        "set", "env", f"deployment/{model.name}", "--namespace", model.namespace,
        f"TRITON_VLLM_NO_PROGRESS_SECONDS={NO_PROGRESS}", f"TRITON_VLLM_HANG_END_SECONDS={HANG_END}",
    )  # fmt: skip
    model.scale(1)
    yield model
    kubectl.delete("vllm", model.name, model.namespace)


def ready_endpoints(model: Served) -> list[Any]:
    slices = model.kubectl.list("endpointslices", model.namespace, f"kubernetes.io/service-name={model.name}")
    return [
        each for piece in slices for each in piece.get("endpoints") or [] if each["conditions"].get("ready")
    ]


def container(model: Served) -> dict[str, Any]:
    (pod,) = model.pods()
    return dict(pod["status"]["containerStatuses"][0])


def test_a_stopped_engine_leaves_the_service_and_is_restarted(hanging: Served) -> None:
    hanging.wait(LOADED_WITHIN, Ready="True", Available="True")
    assert len(ready_endpoints(hanging)) == 1
    (pod,) = hanging.pods()
    name, restarts = pod["metadata"]["name"], container(hanging)["restartCount"]

    hanging.kubectl.run("exec", name, "--namespace", hanging.namespace, "--", "python3", "-c", STOP)
    stopped = time.monotonic()
    client = Asking(hanging)
    wait_for("no endpoint to be ready", lambda: not ready_endpoints(hanging), timeout=LEFT_WITHIN)
    print(f"out of the Service after {time.monotonic() - stopped:.0f} s")

    hanging.wait(ENDED_WITHIN, Ready="EngineHung")
    assert condition(hanging.get(), "Ready")["status"] == "False"
    assert container(hanging)["restartCount"] == restarts, "the status says so before the container is ended"

    wait_for(
        "the container to be started again",
        lambda: container(hanging)["restartCount"] > restarts,
        timeout=ENDED_WITHIN,
    )
    print(f"started again after {time.monotonic() - stopped:.0f} s")
    assert "unhealthy vLLM engine" in client.error(), "who waited has an answer"
    ended = container(hanging)["lastState"]["terminated"]
    assert json.loads(ended["message"])["reason"] == "EngineHung"
    assert "Fatal Python error" not in ended["message"]
    assert "run_busy_loop" in previous_log(hanging, name)

    hanging.wait(LOADED_WITHIN, Ready="True", Available="True")
    hanging.stream(TAUGHT["prompts"][0])
    assert [each["metadata"]["name"] for each in hanging.pods()] == [name], "the same pod"


class Asking:
    """A request in flight while the engine hangs."""

    def __init__(self, model: Served) -> None:
        self._model = model
        self._error = ""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        address = f"{self._model.address}:8001"
        try:
            list(triton.stream(address, self._model.name, "x", max_tokens=300, timeout=2 * ENDED_WITHIN))
        except Exception as error:
            self._error = str(error)

    def error(self) -> str:
        """What it ended with."""
        self._thread.join(30)
        return self._error


def previous_log(model: Served, pod: str) -> str:
    try:
        return model.kubectl.run("logs", "--previous", pod, "--namespace", model.namespace)
    except CommandFailed as error:
        raise AssertionError(f"no log of the run before: {error}") from error
