"""The end of a container: in which order, with which exit code, and nothing left behind."""

import json
import os
import signal
import socket
import time

import pytest

from .conftest import Container, alive, wait_for

SERVES = """
    def end(*_):
        (folder / "got-term").write_text(str(time.time()))
        sys.exit(0)
    signal.signal(signal.SIGTERM, end)
    listen()
    while True:
        signal.pause()
"""

#: A stub in a session of its own, with a child that ignores signals: what vLLM's engine core could be.
WITH_FAMILY = """
    stub = "import os, signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);" \\
        "os.setsid(); open(sys.argv[1] + '/stub.pid', 'w').write(str(os.getpid()));" \\
        "subprocess.Popen([sys.executable, '-c', 'import os, sys, time;" \\
        "os.setsid(); open(sys.argv[1], \\"w\\").write(str(os.getpid())); time.sleep(600)'," \\
        "sys.argv[1] + '/core.pid']); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", stub, str(folder)])
    (folder / "server.pid").write_text(str(os.getpid()))
"""


#: Like Triton 2.51: goes on, ready, when its stub is gone.
WITH_STUB = """
    stub = folder / "triton_python_backend_stub"
    stub.write_text(f"#!{sys.executable}\\nimport os, time\\n"
                    f"open({str(folder / 'stub.pid')!r}, 'w').write(str(os.getpid()))\\ntime.sleep(600)\\n")
    stub.chmod(0o755)
    subprocess.Popen([str(stub)])
    while not (folder / "stub.pid").exists() or not (folder / "stub.pid").read_text():
        time.sleep(0.01)
"""


def test_output_passes_unchanged(container: Container) -> None:
    container.start(
        "sys.stdout.buffer.write(b'out \\xff\\x00 no newline'); sys.stdout.flush()\n"
        "sys.stderr.write('err\\n'); sys.exit(3)"
    )
    assert container.started
    out, err = container.started.communicate(timeout=20)
    assert out == b"out \xff\x00 no newline"
    assert err.startswith(b"err\n")
    assert container.started.returncode == 3


def test_term_waits_for_endpoints_then_ends_the_server(container: Container) -> None:
    container.start(SERVES, TRITON_VLLM_DRAIN_DELAY_SECONDS="1.5")
    container.until("listening")
    asked = time.time()
    container.terminate()
    # Clients whose endpoints have not moved yet are still served.
    socket.create_connection(("127.0.0.1", container.http_port), timeout=1).close()
    code, _, _ = container.end()
    assert code == 0
    assert float(container.until("got-term").read_text()) - asked >= 1.5
    assert container.message == {}, "an end that was asked for is no failure"


#: An overloaded server: its queue of connections is full, so that no further one is made.
OVERLOADED = """
    def end(*_):
        (folder / "got-term").write_text(str(time.time()))
        sys.exit(0)
    signal.signal(signal.SIGTERM, end)
    listener = socket.socket()
    listener.bind(("127.0.0.1", http_port))
    listener.listen(0)
    waiting = []
    while True:
        waiting.append(socket.socket())
        waiting[-1].settimeout(0.3)
        try:
            waiting[-1].connect(("127.0.0.1", http_port))
        except TimeoutError:
            break
    (folder / "listening").touch()
    while True:
        signal.pause()
"""


def test_an_overloaded_server_is_drained_as_any_other(container: Container) -> None:
    container.start(OVERLOADED, TRITON_VLLM_DRAIN_DELAY_SECONDS="1.5")
    container.until("listening")
    asked = time.time()
    container.terminate()
    code, _, err = container.end()
    assert code == 0, err
    assert "asked to end: waiting for clients to move away" in err
    assert float(container.until("got-term").read_text()) - asked >= 1.5
    assert container.message == {}


def test_a_server_that_has_served_is_never_taken_for_one_that_loads(container: Container) -> None:
    """It may have closed its port: here, because it has been told to end by somebody else."""
    container.start(
        WITH_STUB
        + """
    def end(*_):
        sys.exit(0)
    signal.signal(signal.SIGTERM, end)
    def close(*_):
        listener.close()
        (folder / "closed").touch()
    signal.signal(signal.SIGUSR1, close)
    (folder / "server.pid").write_text(str(os.getpid()))
    listen()
    while True:
        signal.pause()
"""
    )
    container.until("listening")
    seen = time.monotonic()
    wait_for(lambda: time.monotonic() > seen + 1.5, "two looks")
    os.kill(container.pid("server.pid"), signal.SIGUSR1)
    container.until("closed")
    container.terminate()
    code, _, err = container.end()
    assert code == 0, err
    assert container.message == {}


def test_second_term_hurries(container: Container) -> None:
    container.start(SERVES, TRITON_VLLM_DRAIN_DELAY_SECONDS="600")
    container.until("listening")
    container.terminate()
    # The first has been taken when the entry point says so; two pending ones would be one.
    assert container.started
    assert container.started.stderr
    assert b"asked to end" in container.started.stderr.readline()
    container.terminate()
    code, _, _ = container.end()
    assert code == 0
    container.until("got-term")


def test_a_server_that_does_not_end_is_killed_with_its_family(container: Container) -> None:
    process = container.start(
        WITH_FAMILY + "    signal.signal(signal.SIGTERM, signal.SIG_IGN); listen(); time.sleep(600)\n"
    )
    pids = [container.pid(name) for name in ("stub.pid", "core.pid")]
    container.until("listening")
    container.terminate()
    assert process.stderr
    while b"ending tritonserver" not in process.stderr.readline():
        pass
    container.terminate()  # the deadline would come, too: after the exit timeout and a margin
    code, _, _ = container.end()
    assert code == 128 + signal.SIGKILL
    assert not [pid for pid in pids if alive(pid)]


def test_while_loading_there_is_nothing_to_wait_for(container: Container) -> None:
    container.start(
        WITH_FAMILY + "    signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)\n",
        TRITON_VLLM_DRAIN_DELAY_SECONDS="600",
        TRITON_VLLM_STARTUP_TIMEOUT_SECONDS="900",
    )
    pids = [container.pid(name) for name in ("stub.pid", "core.pid", "server.pid")]
    container.terminate()
    code, _, _ = container.end()
    assert code == 128 + signal.SIGTERM
    assert container.message["reason"] == "ProbeKilled"
    assert "900 s" in container.message["detail"]
    assert not [pid for pid in pids if alive(pid)]


@pytest.mark.parametrize("victim", ["server.pid", "stub.pid"])
def test_sigkill_of_one_ends_all(container: Container, victim: str) -> None:
    # Like tritonserver, the script ends when its stub does.
    container.start(
        WITH_FAMILY + "    listen(); os.wait(); print('error: stub gone', flush=True); sys.exit(1)\n"
    )
    pids = [container.pid(name) for name in ("stub.pid", "core.pid", "server.pid")]
    os.kill(container.pid(victim), signal.SIGKILL)
    code, _, _ = container.end()
    assert code == (137 if victim == "server.pid" else 1)
    assert not [pid for pid in pids if alive(pid)]
    assert container.message["exitCode"] == code


def test_sigkill_of_the_entry_point_ends_the_server(container: Container) -> None:
    process = container.start(
        "(folder / 'server.pid').write_text(str(os.getpid())); listen(); time.sleep(600)"
    )
    pid = container.pid("server.pid")
    process.kill()
    wait_for(lambda: not alive(pid), "the server died with its parent")


def test_orphans_are_reaped(container: Container) -> None:
    process = container.start(
        """
        listen()
        orphan = "import os, sys; os.fork() and os._exit(0); open(sys.argv[1], 'w').write(str(os.getpid()))"
        subprocess.run([sys.executable, "-c", orphan, str(folder / "orphan.pid")], check=True)
        time.sleep(600)
        """
    )
    pid = container.pid("orphan.pid")
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "the orphan left no zombie")
    assert process.poll() is None


def test_dead_engine_ends_the_container(container: Container) -> None:
    container.start(
        """
        def end(*_):
            (folder / "got-term").touch()
            sys.exit(0)
        signal.signal(signal.SIGTERM, end)
        listen()
        state = Path(os.environ["TRITON_VLLM_ENGINE_STATE_FILE"])
        new = state.with_suffix(".new")
        new.write_text('{"state":"dead","cause":"the engine process ended with signal 9"}')
        new.rename(state)
        while True:
            signal.pause()
        """
    )
    started = time.monotonic()
    code, _, err = container.end()
    assert code == 1
    assert time.monotonic() - started < 10
    container.until("got-term")
    assert "the engine process ended with signal 9" in err
    assert "signal 9" in container.message["detail"]


def test_dead_engine_in_a_server_that_hangs(container: Container) -> None:
    container.start(
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        listen()
        Path(os.environ["TRITON_VLLM_ENGINE_STATE_FILE"]).write_text('{"state":"dead","cause":"x"}')
        time.sleep(600)
        """
    )
    code, _, _ = container.end()
    assert code == 1


def test_message_says_why(container: Container) -> None:
    container.start(
        """
        print("E1124 loading", flush=True)
        print("ValueError: the first real error hf_abcdefghijklmnop", file=sys.stderr, flush=True)
        sys.exit(1)
        """
    )
    code, _, err = container.end()
    assert code == 1
    message = container.message
    assert message.keys() == {"reason", "detail", "excerpt", "triton", "vllm", "exitCode"}
    assert message["reason"] == "ContainerCrashed"
    assert message["triton"] == "2.51.0"
    assert "the first real error" in message["detail"]
    assert "hf_abcdef" not in json.dumps(message)
    assert json.dumps(message["reason"]) in err, "the log says the same as the status"


def test_missing_server_is_named(container: Container) -> None:
    container.start("")
    (container.folder / "server" / "bin" / "tritonserver").unlink()
    container.end()
    container.start("", TRITON_VLLM_SERVER_ROOT="/nowhere")
    code, _, _ = container.end()
    assert code == 1
    assert "/nowhere/bin/tritonserver" in container.message["detail"]


def test_missing_model_is_named(container: Container) -> None:
    """Triton alone would start and serve nothing."""
    container.start("time.sleep(600)", TRITON_VLLM_MODEL_NAME="other")
    code, _, _ = container.end()
    assert code == 1
    assert container.message["reason"] == "ModelConfigMissing"
    assert "other/config.pbtxt" in container.message["detail"]


def test_bad_environment_is_named(container: Container) -> None:
    container.start("", TRITON_VLLM_LOG_LEVEL="loud")
    code, _, err = container.end()
    assert code == 1
    assert "TRITON_VLLM_LOG_LEVEL must be one of error, warning, info, debug, not 'loud'" in err


def test_no_temporary_file_is_left(container: Container) -> None:
    container.start("sys.exit(0)")
    code, _, _ = container.end()
    assert code == 1, "a server that ends by itself is a failure"
    assert not list(container.folder.glob("triton-runtime-*"))


def test_dead_stub_ends_the_container(container: Container) -> None:
    process = container.start(WITH_STUB + SERVES)
    pid = container.pid("stub.pid")
    container.until("listening")
    # The entry point knows of the stub from its first look at a serving Triton; that look leaves no trace.
    killed = time.monotonic()
    wait_for(lambda: time.monotonic() > killed + 1.5, "two looks")
    os.kill(pid, signal.SIGKILL)
    code, _, err = container.end()
    assert code == 1
    assert "the backend's process is gone" in err
    assert process.returncode == 1


def test_a_stub_that_triton_has_given_up_is_ended(container: Container) -> None:
    container.start(
        WITH_STUB
        + """
    os.waitpid(int((folder / "stub.pid").read_text()), 0)
    print("error: Stub process 'm_0_0' is not healthy.", flush=True)
    sys.exit(1)
    """
    )
    pid = container.pid("stub.pid")
    code, _, err = container.end()
    assert code == 1
    assert not alive(pid)
    assert "tritonserver has given up the backend's process" in err
    assert container.message["reason"] == "StubTimeout"


def test_drained_backend_shortens_the_wait(container: Container) -> None:
    container.start(
        """
        def end(*_):
            Path(os.environ["TRITON_VLLM_ENGINE_STATE_FILE"]).write_text('{"state":"drained"}')
        signal.signal(signal.SIGTERM, end)
        listen()
        while True:
            signal.pause()
        """,
        TRITON_VLLM_EXIT_TIMEOUT_SECONDS="600",
    )
    container.until("listening")
    container.terminate()
    code, _, _ = container.end()
    assert code == 0, "only idle connections were cut"
