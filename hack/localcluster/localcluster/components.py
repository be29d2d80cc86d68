"""The control plane's programs and their flags, for both profiles."""

import json
from dataclasses import dataclass
from pathlib import Path

from localcluster.apiclient import ApiClient
from localcluster.auditlog import POLICY
from localcluster.commands import run
from localcluster.credentials import (
    ADMINISTRATOR,
    CONTROLLER_MANAGER,
    SCHEDULER,
    identities,
    write_kubeconfig,
    write_tokens,
)
from localcluster.supervised import Program, Supervised

APISERVER = "kube-apiserver"
READY_SECONDS = 90.0


@dataclass(frozen=True)
class Addresses:
    """Where the control plane listens."""

    host: str
    api_port: int
    etcd_port: int
    etcd_peer_port: int
    services: str

    @property
    def url(self) -> str:
        """The API server's URL."""
        return f"https://{self.host}:{self.api_port}"


@dataclass(frozen=True)
class ControlPlaneFiles:
    """The control plane's folder: what is written before anything starts, and the programs that read it."""

    directory: Path
    programs: Path
    addresses: Addresses
    node: str | None
    audit: bool

    @property
    def authority(self) -> Path:
        """The certificate (self-signed by the API server when it starts) that clients check the server by."""
        return self.directory / "certificates" / "apiserver.crt"

    @property
    def audit_log(self) -> Path:
        """Where the API server logs requests."""
        return self.directory / "audit.jsonl"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.kubeconfig_of(ADMINISTRATOR)

    def kubeconfig_of(self, user: str) -> Path:
        """The kubeconfig of one user that got a token at the start."""
        return self.directory / f"{user.replace(':', '-')}.kubeconfig"

    def client(self, token: str) -> ApiClient:
        """Requests as the user of this token."""
        return ApiClient(self.addresses.url, self.authority, token)

    def administrator(self) -> ApiClient:
        """Requests as the administrator."""
        user = json.loads(self.kubeconfig.read_text())["users"][0]["user"]
        return self.client(user["token"])

    def write(self) -> None:
        """Write tokens, kubeconfigs, the signing key and the audit policy."""
        tokens = write_tokens(self.directory / "tokens.csv", identities(self.node))
        for user, token in tokens.items():
            write_kubeconfig(
                self.kubeconfig_of(user),
                server=self.addresses.url,
                authority=self.authority,
                user=user,
                token=token,
                context=self.directory.name,
            )
        run([self.programs / "kubernetes", "service-account-key", self.directory / "service-account.key"])
        (self.directory / "audit-policy.json").write_text(json.dumps(POLICY))

    def control_plane(self) -> list[Program]:
        """Etcd and the API server start at once; who needs an API server starts when it is ready."""
        return [
            Program("etcd", self._etcd()),
            Program(APISERVER, self._apiserver()),
            Program("kube-controller-manager", self._controller_manager(), autostart=False),
            Program("kube-scheduler", self._scheduler(), autostart=False),
        ]

    def start_rest(self, supervised: Supervised) -> None:
        """Wait for the API server, start controllers and scheduler, and wait until the controllers work."""
        administrator = self.administrator()
        supervised.wait("the API server is ready", administrator.ready, READY_SECONDS)
        supervised.command("start", "kube-controller-manager")
        supervised.command("start", "kube-scheduler")
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        supervised.wait("controllers run", lambda: administrator.get(account) is not None, READY_SECONDS)

    def _program(self, name: str) -> str:
        return str(self.programs / name)

    def _etcd(self) -> list[str]:
        return [
            self._program("etcd"),
            f"--data-dir={self.directory}/etcd",
            f"--listen-client-url=http://127.0.0.1:{self.addresses.etcd_port}",
            f"--listen-peer-url=http://127.0.0.1:{self.addresses.etcd_peer_port}",
        ]

    def _apiserver(self) -> list[str]:
        key = f"{self.directory}/service-account.key"
        argv = [
            self._program(APISERVER),
            f"--etcd-servers=http://127.0.0.1:{self.addresses.etcd_port}",
            f"--bind-address={self.addresses.host}",
            f"--advertise-address={self.addresses.host}",
            f"--secure-port={self.addresses.api_port}",
            f"--cert-dir={self.authority.parent}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--token-auth-file={self.directory}/tokens.csv",
            "--authorization-mode=Node,RBAC",
            f"--service-cluster-ip-range={self.addresses.services}",
            "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP",
            "--profiling=false",
        ]
        if self.node is None:
            # A loopback address cannot be the endpoint of the `kubernetes` Service, and no pod would use it.
            argv.append("--endpoint-reconciler-type=none")
        if self.audit:
            argv += [
                f"--audit-policy-file={self.directory}/audit-policy.json",
                f"--audit-log-path={self.audit_log}",
                "--audit-log-mode=blocking",
            ]
        return argv

    def _controller_manager(self) -> list[str]:
        return [
            self._program("kube-controller-manager"),
            f"--kubeconfig={self.kubeconfig_of(CONTROLLER_MANAGER)}",
            f"--service-account-private-key-file={self.directory}/service-account.key",
            f"--root-ca-file={self.authority}",
            "--use-service-account-credentials",
            # At the default 20 requests a second, the controllers alone take 4 s to start.
            "--kube-api-qps=400",
            "--kube-api-burst=800",
            "--leader-elect=false",
            "--secure-port=0",
            # It would publish the self-signed certificate as an authority, and be refused again and again.
            "--controllers=*,-kube-apiserver-serving-clustertrustbundle-publisher-controller",
        ]

    def _scheduler(self) -> list[str]:
        return [
            self._program("kube-scheduler"),
            f"--kubeconfig={self.kubeconfig_of(SCHEDULER)}",
            "--leader-elect=false",
            "--secure-port=0",
        ]
