"""The control-plane profile: a real API server with its controllers, without nodes and without root.

All that tests of CRDs, RBAC, apply, garbage collection and reconciling need. Any number can run side by side;
each ends with the process that started it, also after a SIGKILL.
"""

import secrets
import signal
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from localcluster import description
from localcluster.access import Access
from localcluster.auditlog import AuditLog
from localcluster.binaries import kubernetes_binaries
from localcluster.cache import Cache, remove_tree
from localcluster.components import APISERVER, READY_SECONDS, Addresses, ControlPlaneFiles
from localcluster.credentials import write_kubeconfig
from localcluster.errors import LocalClusterError
from localcluster.kubernetesmodule import kubernetes_version
from localcluster.prerequisites import require_linux, require_memory
from localcluster.supervised import Supervised, lock_is_held, wait_until

PREFIX = "control-plane-"
SERVICES = "10.96.0.0/16"
MEMORY_GIB = 1.0
START_TRIES = 3


@dataclass(frozen=True)
class Component:
    """One program of a running control plane, to be stopped, killed, paused and brought back by a test."""

    name: str
    plane: "ControlPlane"

    @property
    def running(self) -> bool:
        """Whether it has a process."""
        return self.plane.supervised.running(self.name)

    def stop(self, grace: float = 3) -> None:
        """End it with SIGTERM, and kill it after the grace: with open watches an API server lingers."""
        self.plane.supervised.command("stop", self.name)
        if not wait_until(lambda: not self.running, grace):
            self.kill()

    def kill(self, timeout: float = 60) -> None:
        """End it with SIGKILL and wait for its end."""
        self.plane.supervised.command("signal", self.name, str(int(signal.SIGKILL)))
        self._wait_for_end(timeout)

    def start(self, timeout: float = READY_SECONDS) -> None:
        """Start it again; an API server is waited for until it is ready."""
        self.plane.supervised.command("start", self.name)
        if self.name == APISERVER:
            self.plane.wait_ready(timeout)

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, nothing is answered."""
        self.plane.supervised.command("signal", self.name, str(int(signal.SIGSTOP)))

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self.plane.supervised.command("signal", self.name, str(int(signal.SIGCONT)))

    def _wait_for_end(self, timeout: float) -> None:
        if not wait_until(lambda: not self.running, timeout):
            raise LocalClusterError(f"{self.name} did not end within {timeout:.0f} s.")


class ControlPlane(Access):
    """An API server of one's own: `with ControlPlane() as plane: plane.kubectl("get", "namespaces")`."""

    def __init__(
        self,
        name: str | None = None,
        *,
        version: str | None = None,
        audit: bool = True,
        cache: Cache | None = None,
    ) -> None:
        self.cache = cache or Cache.default()
        self.version = version or kubernetes_version()
        self.name = name or f"{PREFIX}{secrets.token_hex(4)}"
        self.directory = self.cache.clusters / self.name
        self.supervised = Supervised(self.directory)
        self._audit = audit

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *, attached: bool = True) -> Self:
        """Start it and return when it is ready; detached, it outlives this process."""
        require_linux()
        programs = kubernetes_binaries(self.cache, self.version)
        require_memory(MEMORY_GIB, "A control plane")
        for remaining in reversed(range(START_TRIES)):
            try:
                with ExitStack() as undo:
                    undo.callback(self.stop)
                    self._start(programs, attached)
                    undo.pop_all()
                return self
            except LocalClusterError as error:
                # A port that was free a moment ago may be someone else's by now.
                if "address already in use" not in str(error) or not remaining:
                    raise
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """End it and remove its folder; nothing of it is left."""
        if self.directory.exists():
            self.supervised.stop(gracefully=False)
            remove_tree(self.directory)

    @property
    def files(self) -> ControlPlaneFiles:
        """The running control plane's folder."""
        described = description.read(self.directory)
        if not described:
            raise LocalClusterError(f"There is no control plane {self.name}: start it with `up`.")
        api, etcd, peer = described["ports"]
        addresses = Addresses("127.0.0.1", api, etcd, peer, SERVICES)
        return ControlPlaneFiles(
            self.directory, Path(described["programs"]), addresses, None, bool(described["audit"])
        )

    @property
    def url(self) -> str:
        """The API server's URL."""
        return self.files.addresses.url

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig (cluster-admin)."""
        return self.files.kubeconfig

    @property
    def kubectl_program(self) -> Path:
        """Kubectl of the same version."""
        return self.files.programs / "kubectl"

    @property
    def audit(self) -> AuditLog:
        """Who asked the API server for what."""
        return AuditLog(self.files.audit_log)

    @property
    def apiserver(self) -> Component:
        """The API server, to be stopped, killed, paused and brought back."""
        return Component(APISERVER, self)

    def component(self, name: str) -> Component:
        """Any other program: etcd, kube-controller-manager, kube-scheduler."""
        return Component(name, self)

    def wait_ready(self, timeout: float = READY_SECONDS) -> None:
        """Wait until the API server calls itself ready."""
        self.supervised.wait("the API server is ready", self.files.administrator().ready, timeout)

    def service_account_kubeconfig(self, namespace: str, name: str, *, seconds: int = 3600) -> Path:
        """A kubeconfig with a real token of an existing ServiceAccount, through the TokenRequest API."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        token = self.files.administrator().post(path, request)["status"]["token"]
        return write_kubeconfig(
            self.directory / f"serviceaccount-{namespace}-{name}.kubeconfig",
            server=self.url,
            authority=self.files.authority,
            user=f"system:serviceaccount:{namespace}:{name}",
            token=token,
            context=self.name,
        )

    def _start(self, programs: Path, attached: bool) -> None:
        with self.cache.locked("clusters"):
            sweep(self.cache)
            if lock_is_held(self.directory / "lock"):
                raise LocalClusterError(f"A cluster named {self.name} is running; end it first.")
            remove_tree(self.directory)
            self.directory.mkdir(parents=True, mode=0o700)
            description.update(
                self.directory,
                profile="control-plane",
                version=self.version,
                programs=str(programs),
                ports=free_ports(3),
                audit=self._audit,
            )
            self.files.write()
            self.supervised.start(self.files.control_plane(), attached=attached)
        self.files.start_rest(self.supervised)


def sweep(cache: Cache) -> None:
    """Remove what killed control planes have left; the caller holds the lock under which they are made."""
    for directory in cache.clusters.glob(f"{PREFIX}*"):
        if not lock_is_held(directory / "lock"):
            Supervised(directory).stop(gracefully=False)
            remove_tree(directory)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now."""
    with ExitStack() as open_sockets:
        ports = []
        for _ in range(count):
            one = open_sockets.enter_context(socket.socket())
            one.bind(("127.0.0.1", 0))
            ports.append(int(one.getsockname()[1]))
        return ports
