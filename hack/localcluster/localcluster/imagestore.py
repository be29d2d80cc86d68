"""Images without a registry: one containerd image store in the cache, filled by BuildKit from the Dockerfile.

containerd and buildkitd run only while something is built or loaded, in mount and PID namespaces of their
own, so that an interrupted build leaves no process and no mount. A node starts from a hard-linked copy.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from localcluster import cgroups, description
from localcluster.binaries import container_binaries
from localcluster.buildkit import Builder, ImageBuild, ImageRecord
from localcluster.cache import Cache, remove_tree
from localcluster.containerd import PAUSE_IMAGE, builder_config, buildkit_config, socket_path
from localcluster.dockerfile import content_key
from localcluster.errors import LocalClusterError
from localcluster.prerequisites import BUILD_TOOLS, require_disk, require_root, require_tools
from localcluster.progress import say, step
from localcluster.rootfs import ensure_rootfs, rootfs_key
from localcluster.supervised import OWN_MOUNTS_AND_PIDS, Program, Supervised, lock_is_held

KEPT_PER_TAG = 2
FREE_GIB = 8.0


@dataclass(frozen=True)
class Target:
    """One stage of the Dockerfile, and the name its image gets."""

    name: str
    tag: str


class ImageStore:
    """The images of one cache."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.root = cache.store / "root"
        self.cgroup = f"localcluster-{cache.mark}-build"
        self._records = cache.store / "images.json"

    def build(
        self,
        dockerfile: Path,
        targets: Sequence[Target],
        *,
        context: Path,
        build_args: Mapping[str, str] | None = None,
    ) -> list[ImageRecord]:
        """Build the targets whose inputs have changed; the others are looked up."""
        arguments = dict(build_args or {})
        keys = {
            target.tag: content_key(
                dockerfile, context, target.name, rootfs_key(), *map(str, sorted(arguments.items()))
            )
            for target in targets
        }
        waiting = [target for target in targets if not self._current(target.tag, keys[target.tag])]
        for target in targets:
            if target not in waiting:
                say(f"{target.tag} is up to date ({keys[target.tag]})")
        if waiting:
            self._require()
            with ThreadPoolExecutor(max_workers=1) as pool:
                programs = pool.submit(container_binaries, self.cache)
                rootfs = ensure_rootfs(self.cache)
                programs.result()
            with self.builder() as builder:
                for target in waiting:
                    if self._recorded(target.tag, keys[target.tag]):
                        continue  # another command built it while this one waited for the store
                    build = ImageBuild(dockerfile, context, target.name, arguments, {"rootfs": rootfs})
                    self._build_one(builder, target.tag, keys[target.tag], build)
        return [self.record(target.tag) for target in targets]

    def load(self, archive: Path) -> list[str]:
        """Import an image archive (OCI or Docker format) and return the names it brought."""
        with self.builder() as builder:
            names = builder.import_archive(archive)
            for name in names:
                self._write_record(builder.describe(name, key=f"loaded-{time.time_ns()}", seconds=0.0))
        return names

    def tag(self, source: str, name: str) -> ImageRecord:
        """Give an image of the store one more name."""
        with self.builder() as builder:
            builder.tag(source, name)
            self._write_record(builder.describe(name, key=self.record(source).key, seconds=0.0))
        return self.record(name)

    def ensure_pause(self) -> None:
        """Make the image every pod's first container runs, from the program built beside containerd."""
        programs = container_binaries(self.cache)
        key = programs.name.rpartition("-")[2]
        if self._current(PAUSE_IMAGE, key):
            return
        folder = self.cache.store / "pause"
        folder.mkdir(parents=True, exist_ok=True)
        dockerfile = folder / "Dockerfile"
        dockerfile.write_text(
            'FROM scratch\nCOPY --from=programs /pause /pause\nUSER 65535:65535\nENTRYPOINT ["/pause"]\n'
        )
        with self.builder() as builder:
            build = ImageBuild(dockerfile, folder, "", {}, {"programs": programs})
            self._build_one(builder, PAUSE_IMAGE, key, build)

    def record(self, tag: str) -> ImageRecord:
        """Look a tag up."""
        records = self.records()
        if tag not in records:
            known = ", ".join(sorted(name for name in records if ":key-" not in name)) or "none"
            raise LocalClusterError(f"There is no image {tag} in the store (there: {known}); build it first.")
        return records[tag]

    def records(self) -> dict[str, ImageRecord]:
        """Everything in the store, by tag."""
        if not self._records.exists():
            return {}
        return {tag: ImageRecord(**values) for tag, values in json.loads(self._records.read_text()).items()}

    @contextmanager
    def builder(self) -> Iterator[Builder]:
        """Run containerd and buildkitd on the store for as long as the block lasts."""
        self._require()
        programs = container_binaries(self.cache)
        with self.cache.locked("store"):
            run_folder = self.cache.store / "run"
            remove_tree(run_folder)
            run_folder.mkdir(parents=True)
            cgroups.remove(self.cgroup)
            supervised = Supervised(run_folder)
            builder = Builder(
                programs, socket_path(run_folder / "containerd.sock"), run_folder / "buildkitd.sock"
            )
            try:
                self._start(supervised, programs, builder)
                yield builder
            finally:
                supervised.stop()
                cgroups.remove(self.cgroup)

    def _require(self) -> None:
        require_root("Building images")
        require_disk(self.cache, FREE_GIB, "Building images")
        require_tools(self.cache, BUILD_TOOLS)

    def _start(self, supervised: Supervised, programs: Path, builder: Builder) -> None:
        folder = supervised.directory
        containerd, buildkit = folder / "containerd.toml", folder / "buildkitd.toml"
        containerd.write_text(builder_config(self.root, folder / "containerd", builder.containerd_socket))
        root = self.cache.store / "buildkit"
        buildkit.write_text(buildkit_config(root, builder.socket, builder.containerd_socket, self.cgroup))
        path = {"PATH": f"{programs}:{os.environ['PATH']}"}
        daemons = [
            Program("containerd", [f"{programs}/containerd", "-c", str(containerd)], path),
            Program("buildkitd", [f"{programs}/buildkitd", "--config", str(buildkit)], path, autostart=False),
        ]
        supervised.start(daemons, namespaces=OWN_MOUNTS_AND_PIDS, attached=True)
        supervised.wait("containerd answers", builder.containerd_answers, 30)
        supervised.command("start", "buildkitd")
        supervised.wait("buildkitd answers", builder.answers, 60)

    def _build_one(self, builder: Builder, tag: str, key: str, build: ImageBuild) -> None:
        began = time.monotonic()
        keyed = f"{tag.rpartition(':')[0]}:key-{key}"
        log = self.cache.log(f"image-{tag.replace('/', '_').replace(':', '_')}")
        with step(f"building the image {tag}", log):
            builder.build(build, [tag, keyed], log)
        seconds = time.monotonic() - began
        for name in (tag, keyed):
            self._write_record(builder.describe(name, key=key, seconds=seconds))
        self._forget_old(builder, tag)

    def _forget_old(self, builder: Builder, tag: str) -> None:
        """Remove what was built long before, unless something that runs uses its layers."""
        prefix = f"{tag.rpartition(':')[0]}:key-"
        keyed = [record for name, record in self.records().items() if name.startswith(prefix)]
        for record in keyed[:-KEPT_PER_TAG]:
            if record.key not in self._keys_in_use():
                builder.remove(record.tag)
                self._write_records({name: one for name, one in self.records().items() if name != record.tag})

    def _keys_in_use(self) -> set[str]:
        running = [folder for folder in self.cache.clusters.glob("*") if lock_is_held(folder / "lock")]
        return {key for folder in running for key in description.read(folder).get("images", [])}

    def _current(self, tag: str, key: str) -> bool:
        if self._recorded(tag, key):
            return True
        keyed = f"{tag.rpartition(':')[0]}:key-{key}"
        if keyed not in self.records():
            return False
        self.tag(keyed, tag)
        return True

    def _recorded(self, tag: str, key: str) -> bool:
        records = self.records()
        return tag in records and records[tag].key == key

    def _write_record(self, record: ImageRecord) -> None:
        # Written last means newest: the order decides which old images are forgotten.
        others = {tag: one for tag, one in self.records().items() if tag != record.tag}
        self._write_records({**others, record.tag: record})

    def _write_records(self, records: Mapping[str, ImageRecord]) -> None:
        partial = self._records.with_suffix(".partial")
        partial.write_text(json.dumps({tag: asdict(record) for tag, record in records.items()}, indent=1))
        partial.rename(self._records)
