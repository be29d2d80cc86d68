"""The operator as a process of its own, as the image runs it, with its log at hand."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from operatorkit.waiting import wait_for

REPOSITORY = Path(__file__).resolve().parents[2]
_END_SECONDS = 20.0


class OperatorProcess:
    """`python -m vllm_operator.cli run` under a kubeconfig, with settings as VLLM_OPERATOR_* variables.

    `source` is the folder of the code, for another version of it.
    """

    #: All that there are, for who must end them without their `with`.
    known: ClassVar[weakref.WeakSet[Any]] = weakref.WeakSet()

    def __init__(
        self, kubeconfig: Path, settings: Mapping[str, str], source: Path = REPOSITORY / "operator"
    ) -> None:
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("VLLM_OPERATOR_")},
            "KUBECONFIG": str(kubeconfig),
            "PYTHONPATH": str(source),
            "VLLM_OPERATOR_HTTP_PORT": "0",
            **{f"VLLM_OPERATOR_{name}": value for name, value in settings.items()},
        }
        self._log = tempfile.NamedTemporaryFile(prefix="vllm-operator-", suffix=".log")  # noqa: SIM115
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0
        OperatorProcess.known.add(self)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._log.close()

    def start(self) -> None:
        """Start it (again); returns at once."""
        self._started_at = Path(self._log.name).stat().st_size
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vllm_operator.cli", "run"],
            env=self._environment,
            cwd=tempfile.gettempdir(),
            stderr=subprocess.STDOUT,
            stdout=self._log,
            stdin=subprocess.DEVNULL,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def returncode(self) -> int | None:
        """How it ended, None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> int:
        """SIGTERM, as the kubelet ends it; returns the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(_END_SECONDS)

    def wait(self, seconds: float) -> int:
        """Wait until it ends by itself; returns the exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    def pause(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def leads(self) -> bool:
        """Whether this start of it has said that it leads."""
        return any(line.get("event") == "leading" for line in self.log())

    def wait_until_leading(self, seconds: float = 120) -> None:
        """Return when it has the lease."""
        wait_for("the operator leads", lambda: self.leads() or self.returncode() is not None, seconds)
        assert self.returncode() is None, f"the operator ended: {self.log_text()[-3000:]}"

    def log(self) -> list[dict[str, Any]]:
        """The lines since the last start; what is not JSON is kept as `text`."""
        lines = []
        for line in self.log_text().splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append({"text": line})
        return lines

    def log_text(self) -> str:
        """The same, as it was written."""
        with open(self._log.name, "rb") as file:
            file.seek(self._started_at)
            return file.read().decode(errors="replace")

    def get(self, path: str) -> tuple[int, str]:
        """Ask its health server."""
        port = wait_for("the health server's port", self._port)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def usage(self) -> tuple[float, float]:
        """CPU seconds used so far, and resident memory in MiB."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        status = Path(f"/proc/{self.pid}/status").read_text()
        resident = re.search(r"VmRSS:\s+(\d+) kB", status)
        return seconds, int(resident.group(1)) / 1024 if resident else 0.0

    def _port(self) -> int | None:
        for line in self.log():
            if line.get("event") == "serving health and metrics":
                return int(line["port"])
        if self.returncode() is not None:
            raise AssertionError(f"the operator ended: {self.log_text()[-3000:]}")
        return None
