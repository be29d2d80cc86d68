"""The healthy Triton of many pods as a process of its own: a busy test must not make it answer late."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from tritonstandin import TritonStandIn


@contextmanager
def healthy_triton() -> Iterator[str]:
    """Its address, while it serves."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,), daemon=True)
    process.start()
    try:
        assert here.poll(60), "the stand-in does not start"
        yield here.recv()
    finally:
        here.close()
        process.terminate()
        process.join()


def _serve(told: Connection) -> None:
    """Until whoever started it is gone."""
    with TritonStandIn() as triton:
        told.send(triton.address)
        try:
            told.recv()
        except (EOFError, OSError):
            return
