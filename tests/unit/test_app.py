"""The process ends within a bound, whatever its event loop waits for."""

import subprocess
import sys
import time
from pathlib import Path

_HANGS = """
import asyncio
from vllm_operator import app

async def stubborn():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

async def main():
    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    app._end_process_within(0.5)

asyncio.run(main())
"""


def test_a_task_that_never_ends_does_not_keep_the_process() -> None:
    operator = Path(__file__).parents[2] / "operator"
    began = time.monotonic()
    finished = subprocess.run(
        [sys.executable, "-c", _HANGS], env={"PYTHONPATH": str(operator)}, timeout=60, capture_output=True
    )
    assert finished.returncode == 1, finished.stderr
    assert b"ending at once" in finished.stdout + finished.stderr
    assert time.monotonic() - began < 60
