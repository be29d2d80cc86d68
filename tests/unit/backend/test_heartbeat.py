"""A front end's beats, read as the entry point reads them, and the question to an engine that is silent."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from triton_runtime.front_ends import FrontEnd, read
from vllm_triton import heartbeat, state_file

PATIENCE, SECONDS = 0.3, 10.0


class Engine:
    """What the heart knows of an engine; it answers when it is told to."""

    def __init__(self) -> None:
        self.messages = self.unfinished = self.asked = 0
        self.proven = self.loading_adapter = self.errored = False
        self.alive = asyncio.Event()

    async def answer(self) -> None:
        self.asked += 1
        await self.alive.wait()
        self.messages += 1


async def until(look: Callable[[], Any]) -> Any:
    async with asyncio.timeout(SECONDS):
        while True:
            if found := look():
                return found
            await asyncio.sleep(0.01)


@pytest.fixture
async def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    monkeypatch.setenv(state_file.VARIABLE, str(tmp_path / "state.json"))
    monkeypatch.setenv("TRITON_VLLM_NO_PROGRESS_SECONDS", str(PATIENCE))
    monkeypatch.setattr(heartbeat, "_PERIOD_SECONDS", 0.02)
    engine = Engine()
    task = asyncio.create_task(heartbeat.keep(engine, lambda: True, print))  # type: ignore[arg-type]
    yield engine
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert beat(tmp_path) is None, "no beat is due any more"


def beat(folder: Path) -> FrontEnd | None:
    return next(iter(read(folder)), None)


async def test_the_entry_point_reads_what_the_front_end_writes(engine: Engine, tmp_path: Path) -> None:
    first = await until(lambda: beat(tmp_path))
    assert (first.messages, first.in_flight, first.proven, first.open) == (0, 0, False, True)
    engine.messages, engine.unfinished, engine.proven, engine.loading_adapter = 10**15, 256, True, True
    later = await until(lambda: (now := beat(tmp_path)) and now.messages and now)
    assert later.beats > first.beats
    assert (later.in_flight, later.proven, later.loading_adapter) == (256, True, True)
    assert len((tmp_path / f"front-end-{later.pid}.json").read_bytes()) == 256


async def test_an_idle_engine_and_one_that_speaks_are_not_asked(engine: Engine, tmp_path: Path) -> None:
    until_beats = (await until(lambda: beat(tmp_path))).beats + 40

    def speak() -> bool:
        # Idle for the first half, then with a message for every look.
        now = beat(tmp_path)
        if now and now.beats > until_beats - 20:
            engine.unfinished = 1
            engine.messages += 1
        return bool(now and now.beats >= until_beats)

    await until(speak)
    assert engine.asked == 0


async def test_a_silent_engine_is_asked_once_until_it_answers(engine: Engine, tmp_path: Path) -> None:
    engine.unfinished = 1
    await until(lambda: engine.asked)
    beats = (await until(lambda: beat(tmp_path))).beats
    await until(lambda: (now := beat(tmp_path)) and now.beats > beats + 40)
    assert engine.asked == 1
    engine.alive.set()
    await until(lambda: (now := beat(tmp_path)) and now.messages)
    await until(lambda: engine.asked > 2)
    assert engine.messages >= 2, "each silence has its answer"


async def test_a_dead_engine_is_not_asked(engine: Engine, tmp_path: Path) -> None:
    engine.unfinished, engine.errored = 1, True
    beats = (await until(lambda: beat(tmp_path))).beats
    await until(lambda: (now := beat(tmp_path)) and now.beats > beats + 40)
    assert engine.asked == 0


async def test_without_an_entry_point_there_is_nobody_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(state_file.VARIABLE, raising=False)
    await asyncio.wait_for(heartbeat.keep(Engine(), lambda: True, print), SECONDS)  # type: ignore[arg-type]


def test_the_supervisors_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(state_file.VARIABLE, raising=False)
    assert not state_file.found_hung()
    monkeypatch.setenv(state_file.VARIABLE, str(tmp_path / "state.json"))
    assert not state_file.found_hung()
    (tmp_path / "hung").touch()
    assert state_file.found_hung()
    assert not state_file.told_to_end()
