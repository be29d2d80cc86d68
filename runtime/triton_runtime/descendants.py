"""Linux: whose parent is whose, who dies with whom, and an end for all of them."""

import contextlib
import ctypes
import os
import resource
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make this the parent of every orphan below it, as PID 1 is by nature: none of them can get away."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> Callable[[], None]:
    """For the child, before exec: normal signals, and death with `parent` however that one ends."""

    def before_exec() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the line above
            os._exit(1)

    return before_exec


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}): {os.strerror(error)}")


#: The kernel keeps 15 characters of a name.
STUB_NAME: Final = "triton_python_backend_stub"[:15]


def stubs(server: int) -> set[int]:
    """The living processes in which tritonserver runs Python backends."""
    return {pid for pid in living(server) if _name(pid) == STUB_NAME}


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


#: The backend's guard of its own processes; it holds nothing that hangs.
_WATCHDOG_NAME: Final = "vllm-watchdog"


def engines(server: int) -> set[int]:
    """The living processes below tritonserver's Python backends: vLLM's engine and its workers."""
    found = {pid for stub in stubs(server) for pid in living(stub)} - stubs(server)
    return {pid for pid in found if _name(pid) != _WATCHDOG_NAME}


def abort(pids: Iterable[int]) -> None:
    """End processes by SIGABRT, for which they write their stacks to the log; stopped ones go on for it."""
    for pid in pids:
        with contextlib.suppress(OSError, ValueError):
            _, hard = resource.prlimit(pid, resource.RLIMIT_CORE)
            # An engine's memory is tens of GB. One byte means no core dump, to the kernel, by a pipe neither.
            small = 1 if hard == resource.RLIM_INFINITY else min(1, hard)
            resource.prlimit(pid, resource.RLIMIT_CORE, (small, hard))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGABRT)
            os.kill(pid, signal.SIGCONT)


#: wait4 by machine; where it is not known, nothing is ever found to wait.
_WAIT: Final = {"x86_64": "61", "aarch64": "260"}.get(os.uname().machine)


def waits_for(parent: int, child: int) -> bool:
    """Whether a thread of `parent` waits, without a time limit, for the end of `child`."""
    for thread in Path(f"/proc/{parent}/task").glob("*/syscall"):
        with contextlib.suppress(OSError):
            match thread.read_text().split():
                case [number, who, _, options, *_] if number == _WAIT:
                    if int(who, 16) == child and int(options, 16) == 0:
                        return True
    return False


def living(root: int) -> list[int]:
    """Every process below `root`, in any process group or session, that is not a zombie."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError, ValueError):
            # The name in parentheses may itself hold spaces and parentheses.
            state, parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state not in "ZX":
                children.setdefault(int(parent), []).append(int(entry.name))
    found: list[int] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def reap() -> dict[int, int]:
    """Collect every child that has ended; its return code by pid, negative for a signal."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


def end_all(*, on_reaped: Callable[[dict[int, int]], None], within: float = 10.0) -> list[int]:
    """SIGKILL whatever lives below this process until nothing does; returns what could not be ended.

    Repeated, because a process can fork between the look and the kill.
    """
    deadline = time.monotonic() + within
    while True:
        pids = living(os.getpid())
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        on_reaped(reap())
        if not pids or time.monotonic() > deadline:
            return pids
        time.sleep(0.01)
