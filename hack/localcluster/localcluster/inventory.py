"""What the cache holds: running clusters, leftovers, images, disk; and giving all of it back."""

from collections.abc import Iterator
from pathlib import Path

from localcluster import description
from localcluster.cache import Cache, remove_tree
from localcluster.cluster import Cluster
from localcluster.commands import run
from localcluster.imagestore import ImageStore
from localcluster.prerequisites import require_root
from localcluster.progress import say, step
from localcluster.supervised import Supervised, lock_is_held


def status_lines(cache: Cache) -> Iterator[str]:
    """Describe everything there is, one thing a line."""
    for directory in cluster_directories(cache):
        state = "running" if lock_is_held(directory / "lock") else "left over (remove it with `down`)"
        described = description.read(directory)
        version = f"Kubernetes {described['version']}" if "version" in described else "image root"
        yield f"{directory.name}: {state}, {version}, {directory}"
    for tag, record in ImageStore(cache).records().items():
        if ":key-" not in tag:
            yield f"{tag}: {record.bytes / 1e6:.0f} MB, built in {record.seconds:.0f} s, {record.digest}"
    if cache.root.exists():
        # One call: files that are hard-linked between the store and the nodes count once.
        kilobytes = int(run(["du", "-sk", cache.root], timeout=600).split()[0])
        yield f"{cache.root}: {kilobytes / 1024**2:.1f} GiB"


def cluster_directories(cache: Cache) -> list[Path]:
    """The folder of everything that runs or has left something."""
    return sorted(path for path in cache.clusters.glob("*") if path.is_dir())


def end_all(cache: Cache) -> None:
    """End every cluster, control plane and image root of this cache."""
    for directory in cluster_directories(cache):
        say(f"ending {directory.name}")
        if description.read(directory).get("profile") == "node":
            Cluster(directory.name, cache=cache).down()
        else:
            Supervised(directory).stop(gracefully=False)
            remove_tree(directory)


def clean(cache: Cache) -> None:
    """End everything and give the whole cache back."""
    if cache.store.exists():
        require_root("Removing images")
    end_all(cache)
    with step(f"removing {cache.root}"):
        remove_tree(cache.root)
