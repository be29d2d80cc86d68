"""What a cluster could leave on a machine: everything but the cache is looked at before and after."""

import json
import os
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path

from localcluster import cgroups
from localcluster.cache import Cache
from localcluster.cluster import Cluster

PLACES_OF_OTHERS = (
    "/etc/cni",
    "/opt/cni",
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/log/pods",
)


@dataclass(frozen=True)
class Traces:
    """A machine's state, as far as a cluster could change it."""

    processes: frozenset[str]
    mounts: frozenset[str]
    network_namespaces: frozenset[str]
    interfaces: frozenset[str]
    routes: frozenset[str]
    packet_filter: str
    groups: frozenset[str]
    files: frozenset[str]

    def beyond(self, earlier: "Traces") -> dict[str, object]:
        """What is there now and was not there earlier."""
        left: dict[str, object] = {}
        for field in fields(self):
            now, before = getattr(self, field.name), getattr(earlier, field.name)
            more = now - before if isinstance(now, frozenset) else (now if now != before else "")
            if more:
                left[field.name] = more
        return left


def traces(name: str) -> Traces:
    """Look at the machine; of processes, only those that a cluster of this name would have."""
    directory = Cache.default().clusters / name
    return Traces(
        processes=frozenset(_processes(str(directory))),
        mounts=frozenset(line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()),
        network_namespaces=frozenset(_network_namespaces(str(directory))),
        interfaces=frozenset(os.listdir("/sys/class/net")),
        routes=frozenset(route["dst"] for route in json.loads(_output("ip", "-j", "-4", "route"))),
        packet_filter=_output("nft", "list", "ruleset"),
        groups=frozenset(str(group) for group in cgroups.existing(Cluster(name).cgroup)),
        files=frozenset(_files(str(directory))),
    )


def _files(directory: str) -> list[str]:
    there = [path for path in [*PLACES_OF_OTHERS, directory] if os.path.exists(path)]
    return [*there, *(str(path) for place in there if place != directory for path in Path(place).rglob("*"))]


def _processes(directory: str) -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if directory in command:
            found.append(f"{pid}: {command}")
    return found


def _network_namespaces(directory: str) -> set[str]:
    namespaces = set()
    for line in _processes(directory):
        try:
            namespaces.add(os.readlink(f"/proc/{line.partition(':')[0]}/ns/net"))
        except OSError:
            continue
    return namespaces - {os.readlink("/proc/self/ns/net")}


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
