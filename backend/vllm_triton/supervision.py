"""Lets no process of ours outlive the server or the stub, however they died."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal

from . import state_file

_PR_SET_NAME = 15


class Watchdog:
    """A process that kills this process's group when this process or Triton has ended."""

    def __init__(self) -> None:
        stub, server = os.getpid(), os.getppid()
        # The stub leads a process group of its own: the engine and its workers are born into it, so that
        # the group is exactly what must not be left behind.
        with contextlib.suppress(PermissionError):
            os.setpgid(0, 0)
        if os.getpgid(0) != stub:
            raise RuntimeError("the backend's process could not lead a process group of its own.")
        stub_end, server_end = os.pidfd_open(stub), os.pidfd_open(server)
        orderly, self._orderly = os.pipe()
        if os.fork() == 0:
            _watch(stub, stub_end, server_end, orderly)
        for descriptor in (stub_end, server_end, orderly):
            os.close(descriptor)

    def expect_end(self) -> None:
        """Say that this process is about to end in order."""
        os.write(self._orderly, b"x")


def _watch(group: int, stub_end: int, server_end: int, orderly: int) -> None:
    """Wait for the end of the stub or of the server, in the child; never returns."""
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        ctypes.CDLL(None).prctl(_PR_SET_NAME, b"vllm-watchdog", 0, 0, 0)
        _close_all_but(stub_end, server_end, orderly)
        poller = select.poll()
        poller.register(stub_end, select.POLLIN)
        poller.register(server_end, select.POLLIN)
        ended = {descriptor for descriptor, _ in poller.poll()}
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        os.set_blocking(orderly, False)
        if server_end not in ended and not _read(orderly):
            state_file.report_stub_death()
    finally:
        os._exit(0)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1)
    except BlockingIOError:
        return b""


def _close_all_but(*kept: int) -> None:
    """Close all inherited descriptors but those given: the child must not hold anyone's sockets or pipes."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            # One of them was the listing's own.
            with contextlib.suppress(OSError):
                os.close(int(name))
