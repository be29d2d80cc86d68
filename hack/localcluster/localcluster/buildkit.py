"""Talking to a running containerd and buildkitd: build, import, tag, remove and describe images."""

import hashlib
import json
import os
import re
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localcluster.commands import run
from localcluster.containerd import NAMESPACE, SNAPSHOTTER
from localcluster.errors import LocalClusterError
from localcluster.progress import say, tail

# What a package manager in a build needs to know about this machine. It is a secret: never in an image.
HOST_SETTINGS = re.compile(r"^(PIP_|UV_|HTTPS?_PROXY|NO_PROXY|ALL_PROXY|https?_proxy|no_proxy)")
LOCAL_SETTINGS = re.compile(
    r"^(PIP_CERT|PIP_FIND_LINKS|PIP_CACHE_DIR|UV_CACHE_DIR|UV_PYTHON\w*|UV_PROJECT\w*)$"
)
VIEW_TRIES = 5
CA_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
)


@dataclass(frozen=True)
class ImageRecord:
    """What the store knows about one tag without starting anything."""

    tag: str
    key: str
    digest: str
    layers: list[str]
    bytes: int
    seconds: float
    config: dict[str, Any]


@dataclass(frozen=True)
class ImageBuild:
    """One build: a Dockerfile, its context, one target, and folders that stand for named contexts."""

    dockerfile: Path
    context: Path
    target: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    named_contexts: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Builder:
    """The daemons behind two sockets."""

    programs: Path
    containerd_socket: Path
    socket: Path

    def containerd_answers(self) -> bool:
        """Say whether containerd is up."""
        return self.containerd_socket.exists() and self._succeeds(
            ["ctr", "-a", str(self.containerd_socket), "version"]
        )

    def answers(self) -> bool:
        """Say whether buildkitd is up with its worker."""
        return self.socket.exists() and self._succeeds(
            ["buildctl", "--addr", f"unix://{self.socket}", "debug", "workers"]
        )

    def ctr(self, *words: str, timeout: float = 600) -> str:
        """Run containerd's own client on the store."""
        argv = [f"{self.programs}/ctr", "-a", str(self.containerd_socket), "-n", NAMESPACE, *words]
        return run(argv, timeout=timeout)

    def build(self, build: ImageBuild, names: Sequence[str], log: Path) -> None:
        """Build one target into the image store, unpacked and uncompressed, under the given names."""
        settings = self.socket.with_name("hostenv")
        settings.write_text(host_settings())
        output = (
            f'type=image,"name={",".join(names)}",unpack=true,compression=uncompressed,oci-mediatypes=true'
        )
        argv = [f"{self.programs}/buildctl", "--addr", f"unix://{self.socket}", "build", "--progress=plain"]
        argv += ["--frontend=dockerfile.v0", "--local", f"context={build.context}"]
        argv += [
            "--local",
            f"dockerfile={build.dockerfile.parent}",
            "--opt",
            f"filename={build.dockerfile.name}",
        ]
        argv += ["--opt", f"target={build.target}"] if build.target else []
        for name, value in build.arguments.items():
            argv += ["--opt", f"build-arg:{name}={value}"]
        for name, folder in build.named_contexts.items():
            argv += ["--local", f"{name}={folder}", "--opt", f"context:{name}=local:{name}"]
        argv += ["--secret", f"id=ca,src={ca_bundle()}", "--secret", f"id=hostenv,src={settings}"]
        self._follow([*argv, "--output", output], log)

    def import_archive(self, archive: Path) -> list[str]:
        """Import an archive and return the image names it holds."""
        before = set(self.ctr("images", "ls", "-q").split())
        printed = self.ctr("images", "import", "--snapshotter", SNAPSHOTTER, str(archive))
        named = [line.split()[0] for line in printed.splitlines() if line.strip()]
        after = set(self.ctr("images", "ls", "-q").split())
        names = sorted((after - before) | (set(named) & after))
        if not names:
            raise LocalClusterError(f"The archive {archive} names no image.")
        return names

    def tag(self, source: str, name: str) -> None:
        """Give an image one more name."""
        self.ctr("images", "tag", "--force", source, name)

    def remove(self, name: str) -> None:
        """Take a name away, and with the last name the image."""
        self.ctr("images", "rm", "--sync", name)

    def describe(self, name: str, *, key: str, seconds: float) -> ImageRecord:
        """Read from the store what there is to know about an image, the folders of its layers among it."""
        listed = self.ctr("images", "ls", f"name=={name}").splitlines()[1].split()
        manifest = self._manifest(listed[2])
        config: dict[str, Any] = json.loads(self.ctr("content", "get", manifest["config"]["digest"]))
        layers = self._layers(config["rootfs"]["diff_ids"])
        size = sum(layer["size"] for layer in manifest["layers"])
        return ImageRecord(name, key, listed[2], layers, size, round(seconds, 1), config.get("config", {}))

    def _manifest(self, digest: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.ctr("content", "get", digest))
        if "manifests" in document:
            return self._manifest(document["manifests"][0]["digest"])
        return document

    def _layers(self, diff_ids: Sequence[str]) -> list[str]:
        """The layers' folders, topmost first, as an overlay mount names them."""
        chain = ""
        for diff_id in diff_ids:
            chain = (
                diff_id
                if not chain
                else f"sha256:{hashlib.sha256(f'{chain} {diff_id}'.encode()).hexdigest()}"
            )
        words = self._mount_words(chain)
        found = re.search(r"lowerdir=([^,\s]+)", words)
        if found is not None:
            return found.group(1).split(":")
        return [re.findall(r"\s(/\S+/fs)\s", f"{words} ")[0]]

    def _mount_words(self, chain: str) -> str:
        """What a mount of a read-only view would say; nothing holds the view: garbage collection may win."""
        for _ in range(VIEW_TRIES):
            view = f"layers-{secrets.token_hex(4)}"
            with suppress(LocalClusterError):
                self.ctr("snapshots", "--snapshotter", SNAPSHOTTER, "view", view, chain)
                words = self.ctr("snapshots", "--snapshotter", SNAPSHOTTER, "mounts", "/target", view)
                with suppress(LocalClusterError):
                    self.ctr("snapshots", "--snapshotter", SNAPSHOTTER, "rm", view)
                return words
        raise LocalClusterError(f"containerd does not say where the layers up to {chain} are.")

    def _follow(self, argv: Sequence[str], log: Path) -> None:
        with (
            log.open("w") as copy,
            subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            ) as building,
        ):
            assert building.stdout is not None
            for line in building.stdout:
                copy.write(line)
                copy.flush()
                if re.match(r"#\d+ \[", line):
                    say(f"  {line.strip()[:140]}")
        if building.returncode != 0:
            raise LocalClusterError(f"The image build failed; the end of {log}:\n{tail(log, 40)}")

    def _succeeds(self, argv: Sequence[str]) -> bool:
        finished = subprocess.run(
            [f"{self.programs}/{argv[0]}", *argv[1:]], capture_output=True, check=False, timeout=30
        )
        return finished.returncode == 0


def ca_bundle() -> Path:
    """The certificates this machine trusts."""
    for path in [os.environ.get("SSL_CERT_FILE", ""), *CA_BUNDLES]:
        if path and Path(path).exists():
            return Path(path)
    raise LocalClusterError(f"This machine has no certificate bundle at any of {', '.join(CA_BUNDLES)}.")


def host_settings() -> str:
    """This machine's package manager and proxy settings, as shell lines."""
    settings = {
        name: value
        for name, value in sorted(os.environ.items())
        if HOST_SETTINGS.match(name) and not LOCAL_SETTINGS.match(name)
    }
    index = _pip_index()
    if index:
        settings.setdefault("PIP_INDEX_URL", index)
    if "PIP_INDEX_URL" in settings:
        settings.setdefault("UV_DEFAULT_INDEX", settings["PIP_INDEX_URL"])
    quoted = {name: value.replace("'", "'\\''") for name, value in settings.items()}
    return "".join(f"export {name}='{value}'\n" for name, value in quoted.items())


def _pip_index() -> str:
    for path in (Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf", Path("/etc/pip.conf")):
        found = (
            re.search(r"^index-url\s*=\s*(\S+)", path.read_text(), re.MULTILINE) if path.exists() else None
        )
        if found is not None:
            return found.group(1)
    return ""
