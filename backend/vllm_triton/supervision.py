"""Lets no process of ours outlive the server or the stub, however they died."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import select
import signal

_PR_SET_NAME = 15


def start_watchdog() -> int:
    """Fork a process that kills this process's group when this process or Triton has ended; return its id.

    The stub becomes the leader of a process group of its own first: the engine and its workers are born
    into it, so that the group is exactly what must not be left behind.
    """
    stub, server = os.getpid(), os.getppid()
    with contextlib.suppress(PermissionError):
        os.setpgid(0, 0)
    group = os.getpgid(0)
    if group != stub:
        raise RuntimeError("the stub could not lead a process group of its own.")
    watched = [os.pidfd_open(stub), os.pidfd_open(server)]
    child = os.fork()
    if child == 0:
        _watch(group, watched)
    for descriptor in watched:
        os.close(descriptor)
    return child


def stop_watchdog(pid: int) -> None:
    """End the watchdog after everything it watches over has ended in order."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _watch(group: int, watched: list[int]) -> None:
    """Wait for the end of what is watched, in the child; never returns."""
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        ctypes.CDLL(None).prctl(_PR_SET_NAME, b"vllm-watchdog", 0, 0, 0)
        _close_others(watched)
        poller = select.poll()
        for descriptor in watched:
            poller.register(descriptor, select.POLLIN)
        poller.poll()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    finally:
        os._exit(0)


def _close_others(kept: list[int]) -> None:
    """Close all inherited descriptors but those given: the child must not hold anyone's sockets or pipes."""
    bounds = [-1, *sorted(kept), os.sysconf("SC_OPEN_MAX")]
    for low, high in itertools.pairwise(bounds):
        os.closerange(low + 1, high)
