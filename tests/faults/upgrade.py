"""`make test-upgrade`: from the version before to this one and back, under serving models.

No pod template changes either way, and every status written meanwhile is read back from a watch: after the
upgrade none is false; after the way back none but what the version before writes by itself.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from faults.chronicle import Truth
from faults.scenario import Scenario
from faults.scene import PROBE, Hall, Scene
from localcluster.controlplane import ControlPlane
from operatorkit.kubelet import Kubelet, ready
from operatorkit.plane import connect, define
from operatorkit.process import REPOSITORY, OperatorProcess
from operatorkit.release import Release
from operatorkit.triton import healthy_triton
from operatorkit.waiting import wait_for

#: The last version before evidence was kept in the status.
BEFORE = "95dce64"
_WATCHED_SECONDS = 90.0


def main() -> int:
    """Upgrade and roll back; 0 when all held."""
    parser = argparse.ArgumentParser(prog="python -m faults.upgrade", description=__doc__)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--before", default=BEFORE, help="the commit to upgrade from")
    arguments = parser.parse_args()
    names = [f"llama-{number}" for number in range(arguments.models)]
    with (
        ControlPlane() as plane,
        healthy_triton() as triton,
        tempfile.TemporaryDirectory() as folder,
    ):
        before = _checked_out(arguments.before, Path(folder))
        api = connect(plane)
        with Kubelet(api, ready(triton)) as kubelet:
            scenario = Scenario(upgrade, bound=0, quick=False, alone=True)
            with Scene(Hall(plane, api, kubelet, triton), scenario) as scene:
                try:
                    _there_and_back(scene, before, names)
                except AssertionError as error:
                    print(f"NOT HELD: {error}\n{scene.log_text()}", flush=True)
                    return 1
    print(f"held: {len(names)} models, {arguments.before} to this version and back", flush=True)
    return 0


def upgrade(scene: Scene) -> None:
    """The operator is upgraded and rolled back"""


def _checked_out(commit: str, folder: Path) -> Path:
    """The operator's code, its chart and its definitions at a commit."""
    words = ["git", "archive", commit, "operator", "charts", "crds"]
    archive = subprocess.run(words, cwd=REPOSITORY, check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def _installed(scene: Scene, version: Path) -> Release:
    """What `helm upgrade` and `helm rollback` apply, but for the Deployment: the process is ours."""
    define(scene.api, version / "crds")
    chart = version / "charts/vllm-operator"
    watch = (scene.namespace,)
    return Release(scene.plane, scene.api, namespace=scene.namespace, watch=watch, chart=chart)


def _there_and_back(scene: Scene, before: Path, names: list[str]) -> None:
    release = _installed(scene, before)
    old = scene.operator(source=before / "operator", release=release, POD_NAME="before")
    _say(f"{len(names)} models under the version before")
    for name in names:
        scene.models.create(name, probe=PROBE)
    for name in names:
        scene.models.wait_serving(name, seconds=300)
        scene.chronicle.true(name, Truth.SERVES)
    scene.quiet(within=120)
    alone = _restarted(scene, old, "the version before, restarted by itself", names)
    templates = _generations(scene)

    assert old.terminate() == 0
    mark = time.monotonic()
    new = scene.operator(release=_installed(scene, REPOSITORY), POD_NAME="after")
    said = _watched(scene, new, "upgraded", names, mark)
    assert _generations(scene) == templates, "a Deployment was changed by the upgrade"
    _none(said, "False", "after the upgrade")
    _none(said, "Unknown", "after the upgrade")

    assert new.terminate() == 0
    mark = time.monotonic()
    _installed(scene, before)
    old.start()
    old.wait_until_leading()
    said = _watched(scene, old, "rolled back", names, mark)
    assert _generations(scene) == templates, "a Deployment was changed by the way back"
    foreign = {word for word in set(said) - set(alone) if not word.startswith("Available=True")}
    assert not foreign, f"after the way back: {foreign}, which the version before does not say by itself"


def _restarted(scene: Scene, operator: OperatorProcess, what: str, names: list[str]) -> Mapping[str, int]:
    """What a version says after a restart of its own: what the way back may say, too."""
    mark = time.monotonic()
    assert operator.terminate() == 0
    operator.start()
    operator.wait_until_leading()
    return _watched(scene, operator, what, names, mark)


def _watched(
    scene: Scene, operator: OperatorProcess, what: str, names: list[str], since: float
) -> Mapping[str, int]:
    """How often each statement about Available was written until all are probed again and some time after."""
    until = time.monotonic() + _WATCHED_SECONDS
    wait_for(what, lambda: time.monotonic() > until, _WATCHED_SECONDS + 10)
    assert operator.returncode() is None, f"{what}: the operator ended"
    said: dict[str, int] = {}
    for name in names:
        for written in scene.chronicle.of(name):
            if written.at >= since:
                word = f"Available={written.says('Available')}"
                said[word] = said.get(word, 0) + 1
        scene.reported(name, "Ready", "True", "Serving", within=120)
    _say(f"{what}: {said or 'no status was written'}")
    return said


def _generations(scene: Scene) -> dict[str, tuple[str, int]]:
    there = scene.api.list("deployments", scene.namespace)
    return {d["metadata"]["name"]: (d["metadata"]["uid"], d["metadata"]["generation"]) for d in there}


def _none(said: Mapping[str, int], status: str, when: str) -> None:
    false = {word: number for word, number in said.items() if word.startswith(f"Available={status}")}
    assert not false, f"{when}: {false} of models that serve"


def _say(what: str) -> None:
    print(what, flush=True)


if __name__ == "__main__":
    sys.exit(main())
