"""Which files a target of a Dockerfile is made from, so that an unchanged target need not be built again."""

import hashlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

IGNORED_NAMES = {"__pycache__", ".git", ".venv"}


@dataclass
class Stage:
    """One stage: its own lines, the stages it uses, and the paths it takes from the build context."""

    lines: list[str] = field(default_factory=list)
    stages: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)


def parse(text: str) -> tuple[list[str], dict[str, Stage]]:
    """Return the lines before the first stage, and the stages by name and number."""
    preamble: list[str] = []
    stages: dict[str, Stage] = {}
    current: Stage | None = None
    for line in _logical_lines(text):
        found = re.match(r"FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", line, re.IGNORECASE)
        if found is not None:
            number = str(len({id(stage) for stage in stages.values()}))
            current = Stage(stages={found.group(1)})
            stages[number] = current
            stages[(found.group(2) or number).lower()] = current
        if current is None:
            preamble.append(line)
            continue
        current.lines.append(line)
        _note_inputs(current, line)
    return preamble, stages


def inputs_of(text: str, target: str) -> tuple[list[str], set[str]]:
    """Return the Dockerfile lines and the build-context paths that a target depends on."""
    preamble, stages = parse(text)
    lines, sources = list(preamble), set[str]()
    waiting, seen = [target.lower()], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in stages:
            continue
        seen.add(name)
        lines += stages[name].lines
        sources |= stages[name].sources
        waiting += sorted(used.lower() for used in stages[name].stages)
    return lines, sources


def content_key(dockerfile: Path, context: Path, target: str, *more: str) -> str:
    """Hash everything a target is made from, and what else the caller says it depends on."""
    lines, sources = inputs_of(dockerfile.read_text(), target)
    content = hashlib.sha256("\0".join([*lines, *more]).encode())
    ignore = context / ".dockerignore"
    if ignore.exists():
        content.update(ignore.read_bytes())
    for path in sorted({path for source in sources for path in _files(context, source)}):
        mode = path.lstat().st_mode & 0o777
        content.update(f"\0{path.relative_to(context)}\0{mode:o}\0".encode())
        content.update(str(path.readlink()).encode() if path.is_symlink() else path.read_bytes())
    return content.hexdigest()[:16]


def _logical_lines(text: str) -> Iterator[str]:
    pending = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        pending += line.strip()
        if pending.endswith("\\"):
            pending = pending[:-1] + " "
        elif pending:
            yield pending
            pending = ""
    if pending:
        yield pending


def _note_inputs(stage: Stage, line: str) -> None:
    instruction, _, rest = line.partition(" ")
    if instruction.upper() in ("COPY", "ADD"):
        words = shlex.split(rest) if not rest.lstrip().startswith("[") else re.findall(r'"([^"]*)"', rest)
        origin = [word.removeprefix("--from=") for word in words if word.startswith("--from=")]
        paths = [word for word in words if not word.startswith("--")]
        stage.stages.update(origin)
        if not origin:
            stage.sources.update(paths[:-1])
    for mount in re.findall(r"--mount=(\S+)", line):
        options = dict(option.partition("=")[::2] for option in mount.split(","))
        if "from" in options:
            stage.stages.add(options["from"])
        elif options.get("type", "bind") == "bind":
            stage.sources.add(options.get("source") or options.get("src") or ".")


def _files(context: Path, source: str) -> Iterator[Path]:
    pattern = source.strip("/")
    matches = [context] if pattern in ("", ".") else sorted(context.glob(pattern))
    for match in matches:
        if match.is_file() or match.is_symlink():
            yield match
            continue
        for path in match.rglob("*"):
            parts = set(path.relative_to(context).parts)
            if (path.is_file() or path.is_symlink()) and not parts & IGNORED_NAMES:
                yield path
