"""Progress lines with elapsed time, so that no build is silent for long."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STILL_RUNNING_EVERY_SECONDS = 20.0

_started = time.monotonic()
_print_lock = threading.Lock()


def say(message: str) -> None:
    """Print one progress line, with the seconds since this program began."""
    with _print_lock:
        print(f"[{time.monotonic() - _started:6.1f}s] {message}", file=sys.stderr, flush=True)


def tail(log: Path, lines: int = 1) -> str:
    """Return the last non-empty lines of a log file ("" if there are none yet)."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 200 * max(lines, 5)))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


@contextmanager
def step(what: str, log: Path | None = None) -> Iterator[None]:
    """Announce a step, repeat what it last logged while it runs, and say how long it took."""
    began = time.monotonic()
    done = threading.Event()
    say(f"{what} ...")

    def remind() -> None:
        while not done.wait(STILL_RUNNING_EVERY_SECONDS):
            last = f": {tail(log)[:110]}" if log is not None and tail(log) else ""
            say(f"{what}: {time.monotonic() - began:.0f} s{last}")

    reminder = threading.Thread(target=remind, daemon=True)
    reminder.start()
    try:
        yield
    except BaseException:
        say(f"{what}: failed after {time.monotonic() - began:.1f} s")
        raise
    else:
        say(f"{what}: done in {time.monotonic() - began:.1f} s")
    finally:
        done.set()
        reminder.join()
