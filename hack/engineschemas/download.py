"""Fetches vLLM's source distributions from PyPI, checks their digests and unpacks the Python files."""

import hashlib
import json
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

INDEX = "https://pypi.org/simple/vllm/"
ACCEPT = "application/vnd.pypi.simple.v1+json"
CHUNK = 1 << 20


def source_distributions() -> dict[str, dict[str, Any]]:
    """The newest patch release of each minor version that has a source distribution, by minor version."""
    request = urllib.request.Request(INDEX, headers={"Accept": ACCEPT})
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        files = json.load(answer)["files"]
    newest: dict[str, dict[str, Any]] = {}
    for file in files:
        name = file["filename"]
        version = name.removeprefix("vllm-").removesuffix(".tar.gz")
        numbers = version.split(".")
        if not name.endswith(".tar.gz") or file.get("yanked") or not all(n.isdigit() for n in numbers):
            continue
        minor = ".".join(numbers[:2])
        key = tuple(map(int, numbers))
        if minor not in newest or key > newest[minor]["key"]:
            newest[minor] = {"key": key, "version": version, "url": file["url"], "hashes": file["hashes"]}
    return newest


def unpack(release: dict[str, Any], target: Path) -> None:
    """Download one source distribution and unpack `vllm/**/*.py` below `target`."""
    with tempfile.TemporaryFile() as archive:
        digest = hashlib.sha256()
        with urllib.request.urlopen(release["url"], timeout=60) as answer:  # noqa: S310
            size = int(answer.headers.get("Content-Length", 0))
            done = 0
            while chunk := answer.read(CHUNK):
                archive.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                _progress(f"vllm {release['version']}: {done >> 20} of {size >> 20} MiB")
        if digest.hexdigest() != release["hashes"]["sha256"]:
            raise SystemExit(f"vllm {release['version']}: the download's SHA-256 is not the one PyPI names")
        archive.seek(0)
        with tarfile.open(fileobj=archive, mode="r:gz") as tar:
            for member in tar:
                inner = member.name.partition("/")[2]
                content = tar.extractfile(member) if member.isfile() and inner.endswith(".py") else None
                if content and inner.startswith("vllm/") and ".." not in inner:
                    path = target / inner
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content.read())


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text}", end="", file=sys.stderr, flush=True)
