"""Whether the kernel has killed a process of this container for lack of memory."""

import re
from pathlib import Path
from typing import Final

_FILES: Final = (
    Path("/sys/fs/cgroup/memory.events"),  # cgroup v2
    Path("/sys/fs/cgroup/memory/memory.oom_control"),  # cgroup v1
)


def kills(files: tuple[Path, ...] = _FILES) -> int | None:
    """How often that has happened in this container's control group; None where it cannot be known."""
    for file in files:
        try:
            found = re.search(r"^oom_kill (\d+)$", file.read_text(), re.MULTILINE)
        except OSError:
            continue
        if found:
            return int(found[1])
    return None
