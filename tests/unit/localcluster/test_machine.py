"""What the cluster asks of the machine: sentences about what is missing, addresses that do not clash."""

import os
from pathlib import Path

import pytest

from localcluster import noderange, prerequisites
from localcluster.buildkit import host_settings
from localcluster.cache import Cache
from localcluster.containerd import socket_path
from localcluster.errors import LocalClusterError
from localcluster.noderange import NodeRange, choose


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def test_root_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(
        LocalClusterError, match="A cluster with a node needs root: run the same command with sudo"
    ):
        prerequisites.require_root("A cluster with a node")


def test_too_little_disk_and_memory_are_named_with_what_there_is(cache: Cache) -> None:
    with pytest.raises(LocalClusterError, match=r"Building needs 900000 GiB of free disk under .* are free"):
        prerequisites.require_disk(cache, 900_000, "Building")
    with pytest.raises(
        LocalClusterError, match=r"A node needs 900000\.0 GiB of available memory, and .* has"
    ):
        prerequisites.require_memory(900_000, "A node")


def test_a_missing_tool_names_its_package(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(LocalClusterError, match="Missing nft, runc: install the packages nftables runc"):
        prerequisites.require_tools(cache, ["runc", "nft"])
    with pytest.raises(LocalClusterError, match=r"needs Go \d\.\d+ or newer on PATH"):
        prerequisites.require_go()


def test_a_cache_too_deep_for_sockets_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalClusterError, match="XDG_CACHE_HOME"):
        socket_path(tmp_path / ("x" * 100) / "containerd.sock")


def test_no_two_clusters_overlap() -> None:
    networks = [network for index in range(16) for network in NodeRange(index).networks()]
    clashes = [(a, b) for i, a in enumerate(networks) for b in networks[i + 1 :] if a.overlaps(b)]
    assert clashes == []


def test_ranges_that_the_machine_routes_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = '[{"dst": "default"}, {"dst": "10.90.0.0/16"}]'
    monkeypatch.setattr(noderange, "run", lambda *_, **__: routes)
    with pytest.raises(LocalClusterError, match="This machine routes every one of the ranges"):
        choose([])
    monkeypatch.setattr(noderange, "run", lambda *_, **__: '[{"dst": "default"}, {"dst": "10.91.0.0/25"}]')
    assert choose([1]).index == 2


def test_builds_are_told_of_package_indexes_and_proxies_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/it's")
    monkeypatch.setenv("https_proxy", "http://proxy.example")
    monkeypatch.setenv("PIP_CERT", "/etc/here")
    monkeypatch.setenv("SECRET", "not this")
    lines = host_settings().splitlines()
    assert "export PIP_INDEX_URL='https://index.example/it'\\''s'" in lines
    assert "export UV_DEFAULT_INDEX='https://index.example/it'\\''s'" in lines
    assert "export https_proxy='http://proxy.example'" in lines
    assert not any("SECRET" in line or "PIP_CERT" in line for line in lines)
