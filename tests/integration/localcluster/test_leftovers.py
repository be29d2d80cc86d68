"""Nothing of a control plane is left: not after its end, not after a SIGKILL of whoever started it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localcluster.controlplane import ControlPlane
from localcluster.supervised import Supervised, wait_until

PROGRAM = """
import sys
from localcluster.controlplane import ControlPlane
with ControlPlane() as plane:
    print(plane.directory, flush=True)
    sys.stdin.read()
"""
END_SECONDS = 20.0


def running(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]


@contextmanager
def in_another_process() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A program with a control plane of its own, as a test run is."""
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert program.stdout is not None
        yield program, Path(program.stdout.readline().strip())
    finally:
        program.kill()
        program.communicate()


def pids_of(directory: Path) -> list[int]:
    supervised = Supervised(directory)
    return [supervised.pid, *supervised.state()["running"].values()]


def test_two_stand_side_by_side_and_end_without_a_trace() -> None:
    with ControlPlane() as one, ControlPlane() as other:
        one.kubectl("create", "configmap", "mine")
        assert "mine" not in other.kubectl("get", "configmaps")
        pids = pids_of(one.directory) + pids_of(other.directory)
        assert len(running(pids)) == 10
    assert running(pids) == []
    assert not one.directory.exists()
    assert not other.directory.exists()


def test_a_sigkill_of_the_test_run_ends_every_process_and_the_next_start_removes_the_files() -> None:
    with in_another_process() as (program, directory):
        pids = pids_of(directory)
        assert len(running(pids)) == 5
        program.kill()
        program.wait()
        assert wait_until(lambda: running(pids) == [], END_SECONDS), running(pids)
        assert directory.exists()
        with ControlPlane():
            assert not directory.exists()


def test_a_sigkill_of_the_supervisor_ends_what_it_started() -> None:
    with in_another_process() as (_, directory):
        pids = pids_of(directory)
        os.kill(pids[0], signal.SIGKILL)
        assert wait_until(lambda: len(running(pids[1:])) == 0, END_SECONDS)


def test_one_that_outlives_its_command_is_ended_by_name() -> None:
    plane = ControlPlane("control-plane-detached-test").start(attached=False)
    try:
        pids = pids_of(plane.directory)
        again = ControlPlane("control-plane-detached-test")
        assert again.supervised.alive()
    finally:
        ControlPlane("control-plane-detached-test").stop()
    assert running(pids) == []
    assert not plane.directory.exists()


def test_up_twice_from_the_command_line_is_one_control_plane() -> None:
    def localcluster(*words: str) -> str:
        argv = [sys.executable, "-m", "localcluster", *words, "--profile=control-plane", "--name=cli-test"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(
            argv, env=environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()

    try:
        kubeconfig = Path(localcluster("up"))
        pids = pids_of(kubeconfig.parent)
        assert Path(localcluster("up")) == Path(localcluster("kubeconfig")) == kubeconfig
        assert pids_of(kubeconfig.parent) == pids
    finally:
        localcluster("down")
    assert running(pids) == []
    assert not kubeconfig.parent.exists()
