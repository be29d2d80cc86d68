"""Who may talk to the API server: static tokens of components and administrator, and kubeconfigs."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ADMINISTRATOR = "localcluster-admin"
CONTROLLER_MANAGER = "system:kube-controller-manager"
SCHEDULER = "system:kube-scheduler"
PROXY = "system:kube-proxy"


@dataclass(frozen=True)
class Identity:
    """A user of the API server, as upstream's own role bindings know it."""

    user: str
    groups: tuple[str, ...] = ()


def node_identity(node: str) -> Identity:
    """The identity that the Node authorizer lets act for one node."""
    return Identity(f"system:node:{node}", ("system:nodes",))


def identities(node: str | None) -> list[Identity]:
    """Everyone who gets a token when the cluster starts."""
    always = [
        Identity(ADMINISTRATOR, ("system:masters",)),
        Identity(CONTROLLER_MANAGER),
        Identity(SCHEDULER),
    ]
    return always if node is None else [*always, Identity(PROXY), node_identity(node)]


def write_tokens(path: Path, known: list[Identity]) -> dict[str, str]:
    """Write the API server's token file and return each user's token."""
    tokens = {identity.user: secrets.token_urlsafe(24) for identity in known}
    lines = [
        f'{tokens[one.user]},{one.user},{one.user},"{",".join(one.groups)}"'
        if one.groups
        else f"{tokens[one.user]},{one.user},{one.user}"
        for one in known
    ]
    path.touch(mode=0o600)
    path.write_text("\n".join([*lines, ""]))
    return tokens


def write_kubeconfig(
    path: Path, *, server: str, authority: Path, user: str, token: str, context: str
) -> Path:
    """Write a kubeconfig that needs no other file but the authority's certificate."""
    document: Mapping[str, object] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": context, "cluster": {"server": server, "certificate-authority": str(authority)}}
        ],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": user}}],
        "current-context": context,
    }
    path.touch(mode=0o600)
    # JSON is YAML, and every client reads it.
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path
