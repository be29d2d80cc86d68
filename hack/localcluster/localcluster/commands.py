"""Running other programs so that a failure says which program, on what, and its last words."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from localcluster.errors import LocalClusterError
from localcluster.progress import tail


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float | None = 120,
) -> str:
    """Run a short command and return its standard output."""
    try:
        finished = subprocess.run(
            [str(word) for word in argv],
            env=_environment(env),
            cwd=cwd,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise LocalClusterError(f"{argv[0]} is not installed on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise LocalClusterError(f"{_spell(argv)} did not end within {timeout:.0f} s") from error
    if finished.returncode != 0:
        words = finished.stderr.strip() or finished.stdout.strip()
        raise LocalClusterError(f"{_spell(argv)} exited with {finished.returncode}: {words[-2000:]}")
    return finished.stdout


def run_logged(
    argv: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run a long command with its output in a log file."""
    with log.open("wb") as output:
        finished = subprocess.run(
            [str(word) for word in argv],
            env=_environment(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if finished.returncode != 0:
        raise LocalClusterError(
            f"{_spell(argv)} exited with {finished.returncode}; the end of {log}:\n{tail(log, 30)}"
        )


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, **(extra or {})}


def _spell(argv: Sequence[str | Path]) -> str:
    words = " ".join(str(word) for word in argv)
    return words if len(words) <= 200 else words[:200] + " ..."
