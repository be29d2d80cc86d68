"""Where the API server is and how to prove who we are: KUBECONFIG, the service account, or ~/.kube/config."""

import os
from dataclasses import dataclass

from kubernetes.aio import config as kube_config
from kubernetes.aio.client import Configuration

_NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"


class CannotConnect(Exception):
    """There is neither a service account nor a usable kubeconfig."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach the API server, for other clients (the watch layer has its own)."""

    server: str
    ca_path: str | None
    ca_data: str | bytes | None
    insecure: bool
    scheme: str | None
    token: str | None
    certificate_path: str | None
    private_key_path: str | None
    proxy_url: str | None


async def current_credentials(configuration: Configuration) -> Credentials:
    """What the configuration holds now; a token is read anew when it is due."""
    authorization = str(await configuration.get_api_key_with_prefix("BearerToken") or "")
    scheme, _, token = authorization.rpartition(" ")
    return Credentials(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        ca_data=configuration.ca_cert_data,
        insecure=not configuration.verify_ssl,
        scheme=scheme.capitalize() or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
    )


async def load_credentials(configuration: Configuration) -> str:
    """Fill in server and credentials; returns the namespace this process is at home in."""
    in_cluster = "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ
    try:
        if in_cluster:
            kube_config.load_incluster_config(client_configuration=configuration)
            with open(_NAMESPACE_FILE) as file:  # noqa: ASYNC230 - a projected file, in memory
                return file.read().strip()
        loader = await kube_config.load_kube_config(client_configuration=configuration)
    except (kube_config.ConfigException, OSError) as error:
        raise CannotConnect(f"no access to a Kubernetes API server: {error}") from error
    return str(loader.current_context["context"].get("namespace") or "default")
