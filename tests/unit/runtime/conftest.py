"""A container without a container: the entry point with a small script in tritonserver's place."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
DEADLINE = 20.0


def wait_for(look: Callable[[], Any], what: str, within: float = DEADLINE) -> Any:
    end = time.monotonic() + within
    while True:
        if found := look():
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class Container:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "server" / "bin").mkdir(parents=True)
        (folder / "models" / "m").mkdir(parents=True)
        (folder / "models" / "m" / "config.pbtxt").touch()
        self.http_port, self.health_port = free_ports(2)
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "runtime"),
            "TMPDIR": str(folder),
            "TRITON_VLLM_SERVER_ROOT": str(folder / "server"),
            "TRITON_VLLM_MODEL_NAME": "m",
            "TRITON_VLLM_MODEL_REPOSITORY": str(folder / "models"),
            "TRITON_VLLM_DRAIN_DELAY_SECONDS": "0",
            "TRITON_VLLM_EXIT_TIMEOUT_SECONDS": "10",
            "TRITON_VLLM_TERMINATION_LOG": str(folder / "termination-log"),
            "TRITON_VLLM_HTTP_PORT": str(self.http_port),
            "TRITON_VLLM_HEALTH_PORT": str(self.health_port),
            "TRITON_SERVER_VERSION": "2.51.0",
        }
        (folder / "termination-log").touch()
        self.started: subprocess.Popen[bytes] | None = None

    def start(self, script: str, **env: str) -> subprocess.Popen[bytes]:
        """`script` runs in tritonserver's place; `folder` and `http_port` are its variables."""
        server = self.folder / "server" / "bin" / "tritonserver"
        prelude = f"""\
            #!{sys.executable}
            import os, signal, socket, subprocess, sys, time
            from pathlib import Path
            folder = Path({str(self.folder)!r})
            http_port = {self.http_port}
            def listen():
                global listener
                listener = socket.create_server(("127.0.0.1", http_port))
                (folder / "listening").touch()
            """
        server.write_text(textwrap.dedent(prelude) + textwrap.dedent(script))
        server.chmod(0o755)
        self.started = subprocess.Popen(
            [sys.executable, "-P", "-m", "triton_runtime"],
            env={**self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return self.started

    def until(self, name: str) -> Path:
        """Wait for a file that the script writes."""
        path = self.folder / name
        wait_for(path.exists, f"{name} was written")
        return path

    def pid(self, name: str) -> int:
        path = self.until(name)
        return int(wait_for(path.read_text, f"a pid in {name}"))

    def terminate(self) -> None:
        assert self.started
        self.started.send_signal(signal.SIGTERM)

    def end(self) -> tuple[int, str, str]:
        """(exit code, stdout, stderr)"""
        assert self.started
        out, err = self.started.communicate(timeout=DEADLINE)
        return self.started.returncode, out.decode(), err.decode()

    @property
    def message(self) -> dict[str, Any]:
        text = (self.folder / "termination-log").read_text()
        return json.loads(text) if text else {}


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    container = Container(tmp_path)
    yield container
    if container.started and container.started.poll() is None:
        container.started.kill()
        container.started.communicate()
    for file in tmp_path.glob("*.pid"):
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(file.read_text()), signal.SIGKILL)
