"""kubectl and helm against one cluster, as a user would type them, with JSON answers."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Manifest = dict[str, Any]


class CommandFailed(Exception):
    """A kubectl or helm command did not do what it was asked; the text says which and why."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl and helm with the kubeconfig of one cluster."""

    kubectl: Path
    helm: Path
    kubeconfig: Path

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl and return what it printed."""
        return self._command([str(self.kubectl), *arguments], stdin, timeout)

    def run_helm(self, *arguments: str, timeout: float = 300) -> str:
        """Run helm and return what it printed."""
        return self._command([str(self.helm), *arguments], None, timeout)

    def apply(self, manifest: Manifest | str | Path, *, namespace: str | None = None) -> str:
        """`kubectl apply`: an object, YAML text, or a file."""
        scope = ["--namespace", namespace] if namespace else []
        if isinstance(manifest, Path):
            return self.run("apply", *scope, "-f", str(manifest))
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        return self.run("apply", *scope, "-f", "-", stdin=text)

    def get(self, kind: str, name: str, namespace: str) -> Manifest | None:
        """One object, or None where there is none."""
        text = self.run("get", kind, name, "--namespace", namespace, "--ignore-not-found", "--output", "json")
        return json.loads(text) if text.strip() else None

    def list(self, kind: str, namespace: str, selector: str = "") -> Sequence[Manifest]:
        """All objects of a kind (or of several, with commas) in a namespace."""
        scope = ["--selector", selector] if selector else []
        text = self.run("get", kind, "--namespace", namespace, *scope, "--output", "json")
        items = json.loads(text)["items"]
        assert isinstance(items, list)
        return items

    def patch(self, kind: str, name: str, namespace: str, patch: Mapping[str, Any], *more: str) -> None:
        """A merge patch, as `kubectl patch --type merge` sends it."""
        self.run(
            "patch", kind, name, "--namespace", namespace, "--type", "merge", "-p", json.dumps(patch), *more
        )

    def delete(self, kind: str, name: str, namespace: str) -> None:
        """Ask for deletion, without waiting for the end."""
        self.run("delete", kind, name, "--namespace", namespace, "--wait=false", "--ignore-not-found")

    @contextmanager
    def watch(
        self, kind: str, namespace: str, name: str, *, seconds: float = 3600
    ) -> Iterator[Iterator[Manifest]]:
        """`kubectl get --watch`: every version of an object as it comes; ends with the block, or in time."""
        command = [str(self.kubectl), "get", kind, name, "--namespace", namespace]
        with subprocess.Popen(
            [*command, "--watch", "--output", "json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            text=True,
            env=self._environment(),
        ) as running:
            assert running.stdout is not None
            # The reader blocks on kubectl's output: only kubectl's end wakes it.
            alarm = threading.Timer(seconds, running.terminate)
            alarm.start()
            try:
                yield _objects(running.stdout)
            finally:
                alarm.cancel()
                running.terminate()

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def _command(self, command: Sequence[str], stdin: str | None, timeout: float) -> str:
        spelled = " ".join(Path(command[0]).name if i == 0 else word for i, word in enumerate(command))
        # Without input kubectl must not read this program's own standard input.
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        try:
            finished = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout,
                env=self._environment(),
                **given,
            )
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(f"`{spelled}` did not end within {timeout:.0f} s") from error
        if finished.returncode != 0:
            words = (finished.stderr.strip() or finished.stdout.strip())[-3000:]
            raise CommandFailed(f"`{spelled}` exited with {finished.returncode}: {words}")
        return str(finished.stdout)


def _objects(stream: Iterator[str]) -> Iterator[Manifest]:
    """The JSON objects of a stream that prints one after the other, each over many lines."""
    lines: list[str] = []
    for line in stream:
        lines.append(line)
        if line.rstrip("\n") == "}":  # kubectl indents all but the outermost braces
            yield json.loads("".join(lines))
            lines.clear()


class Recording:
    """Every version of one object that a watch has shown since the block began."""

    def __init__(self, kubectl: Kubectl, kind: str, name: str, namespace: str) -> None:
        self._what = f"{kind}/{name}"
        self._watch = kubectl.watch(kind, namespace, name)
        self._first = threading.Event()
        self.versions: list[Manifest] = []

    def __enter__(self) -> "Recording":
        self._reader = threading.Thread(target=self._read, args=(self._watch.__enter__(),), daemon=True)
        self._reader.start()
        if not self._first.wait(30):
            self._watch.__exit__(None, None, None)
            raise CommandFailed(f"a watch of {self._what} showed nothing within 30 s")
        return self

    def __exit__(self, *_: object) -> None:
        # A watch that ended by itself has missed what came after: the recording is worth nothing then.
        ended_early = not self._reader.is_alive()
        self._watch.__exit__(None, None, None)
        self._reader.join(timeout=30)
        if ended_early:
            raise CommandFailed(f"the watch of {self._what} ended before it was stopped")

    def _read(self, objects: Iterator[Manifest]) -> None:
        for version in objects:
            self.versions.append(version)
            self._first.set()
