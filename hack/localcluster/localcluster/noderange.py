"""Addresses of a node: ranges that neither this machine nor another local cluster routes."""

import ipaddress
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from localcluster.commands import run
from localcluster.errors import LocalClusterError

HIGHEST_INDEX = 15


@dataclass(frozen=True)
class NodeRange:
    """The addresses of cluster number `index`; no two indices overlap."""

    index: int

    @property
    def interface(self) -> str:
        """The host's end of the link to the node."""
        return f"localcluster{self.index}"

    @property
    def host(self) -> str:
        """The host's address on that link."""
        return f"10.89.{self.index}.1"

    @property
    def node(self) -> str:
        """The node's address on that link."""
        return f"10.89.{self.index}.2"

    @property
    def link(self) -> str:
        """The link's network."""
        return f"10.89.{self.index}.0/24"

    @property
    def pods(self) -> str:
        """Pod addresses."""
        return f"10.90.{self.index}.0/24"

    @property
    def services(self) -> str:
        """ClusterIP addresses."""
        return f"10.91.{self.index}.0/24"

    def networks(self) -> list[ipaddress.IPv4Network]:
        """All three ranges."""
        return [ipaddress.IPv4Network(text) for text in (self.link, self.pods, self.services)]


def choose(taken: Iterable[int]) -> NodeRange:
    """Pick the lowest index that no running cluster has and whose ranges this machine does not route."""
    routed = _routed_networks()
    unavailable = set(taken)
    for index in range(HIGHEST_INDEX + 1):
        candidate = NodeRange(index)
        clash = any(network.overlaps(route) for network in candidate.networks() for route in routed)
        if index not in unavailable and not clash:
            return candidate
    raise LocalClusterError(
        "This machine routes every one of the ranges 10.89-91.0-15.0/24 that local clusters use; "
        "end another cluster or the VPN that does."
    )


def _routed_networks() -> list[ipaddress.IPv4Network]:
    routes = json.loads(run(["ip", "-j", "-4", "route", "show", "table", "all"]))
    destinations = [re.sub(r"^(broadcast|local|multicast) ", "", route["dst"]) for route in routes]
    networks = [ipaddress.IPv4Network(text) for text in destinations if re.match(r"\d", text)]
    return [network for network in networks if network.prefixlen > 8]


def interface_exists(name: str) -> bool:
    """Whether this machine has such a network interface."""
    return Path(f"/sys/class/net/{name}").exists()
