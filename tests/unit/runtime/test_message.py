"""The termination message: JSON that the kubelet keeps whole, and nothing secret in it."""

import json
from pathlib import Path

import pytest

from triton_runtime.classifier import Classification
from triton_runtime.container_memory import kills
from triton_runtime.engine_state import EngineState, read
from triton_runtime.output import Tail
from triton_runtime.termination import EXCERPT_BYTES, MESSAGE_BYTES, message, write


def say(found: Classification) -> dict[str, object]:
    text = message(found, exit_code=1, triton="2.51.0", vllm="0.32.0")
    assert len(text.encode()) <= MESSAGE_BYTES
    content = json.loads(text)
    assert isinstance(content, dict)
    return content


def test_keys() -> None:
    assert say(Classification("EngineDead", "d", "e")) == {
        "reason": "EngineDead",
        "detail": "d",
        "excerpt": "e",
        "triton": "2.51.0",
        "vllm": "0.32.0",
        "exitCode": 1,
    }
    assert say(Classification("EngineDead", "d", "e", "restart"))["remedy"] == "restart"
    assert say(Classification("InvalidEngineArgs", "d", "e", inferred=True))["inferred"] is True


@pytest.mark.parametrize("letter", ["x", "é", "\u2028", '"', "\\", "\x00", "\n", "😀"])
def test_always_fits(letter: str) -> None:
    content = say(Classification("ContainerCrashed", letter * 9000, letter * 9000))
    assert len(str(content["excerpt"]).encode()) <= EXCERPT_BYTES


def test_nothing_secret() -> None:
    found = Classification("ContainerCrashed", "token hf_abcdefghijklmnop", "https://u:pass@h/")
    assert "hf_abc" not in str(say(found))
    assert "pass@" not in str(say(found))


def test_written_in_place(tmp_path: Path) -> None:
    """The kubelet has bind-mounted this one file: another in its place would not be read."""
    file = tmp_path / "log"
    file.write_text("older and longer")
    inode = file.stat().st_ino
    write(file, "{}")
    assert file.read_text() == "{}"
    assert file.stat().st_ino == inode


def test_tail_keeps_the_end_from_a_whole_line() -> None:
    tail = Tail(limit=12)
    tail.append(b"first line\nsecond line\nthird\n")
    assert tail.text() == "third\n"
    tail.append(b"\xff")
    assert tail.text().endswith("\ufffd")


def test_tail_that_lost_nothing_is_whole() -> None:
    tail = Tail(limit=20)
    tail.append(b"no newline")
    assert tail.text() == "no newline"


@pytest.mark.parametrize(
    ("content", "state"),
    [
        ('{"state":"dead","cause":"signal 9"}', EngineState(dead_cause="signal 9")),
        ('{"state":"stub-dead"}', EngineState(stub_dead=True)),
        ('{"state":"dead"}', EngineState(dead_cause="the engine gave no cause")),
        ('{"state":"drained"}', EngineState(drained=True)),
        ('{"state":"healthy"}', EngineState()),
        ("[]", EngineState()),
        ('{"state":"de', EngineState()),
        ("", EngineState()),
    ],
)
def test_engine_state(content: str, state: EngineState, tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text(content)
    assert read(file) == state


def test_engine_state_without_a_file(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == EngineState()


def test_memory_kills_of_both_kinds_of_control_group(tmp_path: Path) -> None:
    two = tmp_path / "memory.events"
    two.write_text("low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\noom_group_kill 0\n")
    one = tmp_path / "memory.oom_control"
    one.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n")
    assert kills((two, one)) == 2
    assert kills((tmp_path / "none", one)) == 5
    assert kills((tmp_path / "none",)) is None
