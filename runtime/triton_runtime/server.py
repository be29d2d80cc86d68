"""Runs tritonserver as this process's child, from its start to the end of the last process below it."""

import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from triton_runtime import container_memory, descendants, engine_state, front_ends, readiness
from triton_runtime.drain import Action, Drain, Stage
from triton_runtime.hang import Hang, Verdict
from triton_runtime.output import PassThrough, Tail

#: How late the end of the engine may be seen.
POLL_SECONDS: Final = 0.5
#: All writers are dead by then; this bounds only the copying of what they left.
OUTPUT_SECONDS: Final = 5.0
#: Triton waits for a stub that ends in order for less than this.
ABANDONED_SECONDS: Final = 5.0
#: The file that appears beside the engine's state when tritonserver is asked to end.
TERMINATING: Final = "terminating"
#: The file that is there for as long as the engine or a front end hangs.
HUNG: Final = "hung"
#: How long a hung engine's front ends have to answer their clients before they are aborted, too.
ANSWER_CLIENTS_SECONDS: Final = 3.0
_END: Final = frozenset({signal.SIGTERM, signal.SIGINT})
_SIGNALS: Final = _END | {signal.SIGCHLD}


@dataclass(frozen=True, slots=True)
class Run:
    """What happened, for the exit code and the last words."""

    exit_code: int
    """Of tritonserver; negative for a signal."""
    requested: bool
    """Somebody asked for the end, so no error has to be explained."""
    while_loading: bool
    """It was asked for before the model was served."""
    dead_engine: str | None
    """Why the backend says its engine is dead."""
    dead_stub: bool
    """The backend's own process is gone, which tritonserver does not notice before the next request."""
    abandoned_stub: bool
    """Triton gave up the backend's process while that was loading the model."""
    hung: str | None
    """What hung for so long that the container was ended."""
    drained: bool
    """The backend had answered everything before the end."""
    served: bool
    """The model has been ready."""
    memory_kills: int | None
    """How many processes the kernel killed for memory meanwhile, if that can be known."""
    output: str
    """Its end; of a hung engine, what came before its stacks."""


class Server:
    """One tritonserver and everything that it starts."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        drain: Drain,
        hang: Hang,
        endpoint: readiness.Endpoint,
        state_file: Path,
        http_port: int,
        model_name: str,
    ) -> None:
        self._command = list(command)
        self._env = dict(env)
        self._drain = drain
        self._hang = hang
        self._endpoint = endpoint
        self._state_file = state_file
        self._http_port = http_port
        self._model_name = model_name
        self._tail = Tail()
        self._pid = 0
        self._exit_code: int | None = None
        self._requested = False
        self._while_loading = False
        self._dead_engine: str | None = None
        self._served = False
        self._dead_stub = False
        self._abandoned_stub = False
        self._abandoned: dict[int, float] = {}
        self._drained = False
        self._front_ends: Sequence[front_ends.FrontEnd] = ()
        self._verdict = Verdict()
        self._hung: str | None = None
        self._output_before: str | None = None
        self._abort_stubs_at = math.inf

    def run(self) -> Run:
        """Start it, wait for its end or bring it about, and leave no process behind."""
        kills_before = container_memory.kills()
        # Blocked signals stay pending until sigtimedwait takes them: no handler ever runs between two lines.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        descendants.become_subreaper()
        output = self._start()
        self._endpoint.start(self.unready)
        try:
            while self._exit_code is None:
                self._wait_for_something()
        finally:
            left = descendants.end_all(on_reaped=self._note)
            output.finish(OUTPUT_SECONDS)
        if left:
            say(f"these processes did not end: {left}")
        return Run(
            exit_code=-signal.SIGKILL if self._exit_code is None else self._exit_code,
            requested=self._requested,
            while_loading=self._while_loading,
            dead_engine=self._dead_engine,
            dead_stub=self._dead_stub,
            abandoned_stub=self._abandoned_stub,
            served=self._served,
            hung=self._hung,
            drained=self._drained,
            memory_kills=_difference(kills_before, container_memory.kills()),
            output=self._tail.text() if self._output_before is None else self._output_before,
        )

    def _start(self) -> PassThrough:
        child = subprocess.Popen(  # noqa: S603 - the command is made by arguments.py
            self._command,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            preexec_fn=descendants.die_with(os.getpid()),  # no thread runs yet
        )
        self._pid = child.pid
        assert child.stdout
        assert child.stderr
        # Reaped by descendants.reap() with all others; Popen must not look for it again.
        child.returncode = 0
        routes = {child.stdout.fileno(): 1, child.stderr.fileno(): 2}
        output = PassThrough({os.dup(source): target for source, target in routes.items()}, self._tail)
        child.stdout.close()
        child.stderr.close()
        output.start()
        return output

    def _wait_for_something(self) -> None:
        now = time.monotonic()
        got = signal.sigtimedwait(_SIGNALS, self._drain.wait(now, POLL_SECONDS))
        now = time.monotonic()
        self._note(descendants.reap())
        if self._exit_code is not None:
            return
        if got is not None and got.si_signo in _END:
            self._on_request(now)
        self._look_at_engine(now)
        self._look_for_progress(now)
        self._act(self._drain.tick(now))

    def _look_at_engine(self, now: float) -> None:
        state = engine_state.read(self._state_file)
        if state.drained and not self._drained:
            self._drained = True
            say("everything is answered")
            self._act(self._drain.drained(now))
        if self._dead_engine is not None or self._dead_stub:
            return
        if state.dead_cause is not None:
            self._dead_engine = state.dead_cause
            say(f"the engine is dead, ending the container: {state.dead_cause}")
            self._act(self._drain.engine_died(now))
        elif state.stub_dead or (self._drain.stage is Stage.RUNNING and self._stub_died(now)):
            self._dead_stub = True
            say("the backend's process is gone, ending the container")
            self._act(self._drain.engine_died(now))

    def _look_for_progress(self, now: float) -> None:
        if now >= self._abort_stubs_at:
            self._abort_stubs_at = math.inf
            descendants.abort(descendants.stubs(self._pid))
        if self._drain.stage is not Stage.RUNNING:
            return
        self._front_ends = front_ends.read(self._state_file.parent, self._front_ends)
        before, self._verdict = self._verdict, self._hang.look(now, self._front_ends)
        hung = self._verdict.hung
        if bool(hung) != bool(before.hung):
            say(f"not ready: {hung}" if hung else "what hung goes on")
            with contextlib.suppress(OSError):
                word = self._state_file.with_name(HUNG)
                word.touch() if hung else word.unlink(missing_ok=True)
        if hung and self._verdict.overdue:
            self._end_hung(hung, now)

    def _end_hung(self, hung: str, now: float) -> None:
        """End what hangs with its stacks in the log; front ends that live answer their clients first."""
        self._hung, self._output_before = hung, self._tail.text()
        say(f"{hung}: ending the container; the stacks of what hangs follow")
        descendants.abort(descendants.engines(self._pid) | self._verdict.silent)
        self._abort_stubs_at = now + ANSWER_CLIENTS_SECONDS
        self._act(self._drain.engine_died(now))

    def unready(self) -> str | None:
        """Why this container cannot serve, None if it can. For the endpoint's threads; takes 6 s at most."""
        if self._drain.stage not in (Stage.RUNNING, Stage.MOVING):
            return "the container is ending"
        if self._verdict.hung is not None:
            # Anybody may ask: which process, and how much is in flight, stands in the log.
            silent = "a front end has given no sign of life"
            return silent if self._verdict.silent else "nothing has come from the engine"
        if not all(one.open for one in self._front_ends):
            return "a front end takes no requests"
        return readiness.triton_unready(self._http_port, self._model_name)

    def _stub_died(self, now: float) -> bool:
        """While loading, stubs come and go; one that has served must stay."""
        stubs = descendants.stubs(self._pid)
        if self._served:
            return not stubs
        self._served = bool(stubs) and self._serves()
        if not self._served:
            self._end_abandoned(stubs, now)
        return False

    def _end_abandoned(self, stubs: Iterable[int], now: float) -> None:
        """End a stub that Triton has given up: Triton waits for its end, and the stub does not know.

        That is what Triton does with a stub that was not heard of for a moment, as on a machine with too
        little CPU: neither would ever go on.
        """
        waited = [stub for stub in stubs if descendants.waits_for(self._pid, stub)]
        self._abandoned = {stub: self._abandoned.get(stub, now) for stub in waited}
        for stub, since in self._abandoned.items():
            if now - since > ABANDONED_SECONDS:
                self._abandoned_stub = True
                say("tritonserver has given up the backend's process, which goes on loading: ending it")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(stub, signal.SIGKILL)

    def _on_request(self, now: float) -> None:
        # What has served is not loading, however late it answers now: it drains.
        loading = not (self._served or self._serves())
        if not self._requested:
            self._requested, self._while_loading = True, loading
            say("asked to end while loading" if loading else "asked to end: waiting for clients to move away")
        self._act(self._drain.requested(now, loading=loading and self._while_loading))

    def _act(self, action: Action) -> None:
        if action is Action.TERMINATE:
            say("ending tritonserver")
            # The backend is told of the end only after its last response; this it can look at.
            with contextlib.suppress(OSError):
                self._state_file.with_name(TERMINATING).touch()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)
        elif action is Action.KILL:
            say("killing tritonserver and all below it")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)

    def _serves(self) -> bool:
        """Triton opens its ports after loading, and has a handler for SIGTERM just before that.

        Only a refusal says that nobody listens. A busy server's queue of connections may be full, so that
        none is made in time, and this machine may have no port left to ask from.
        """
        try:
            socket.create_connection(("127.0.0.1", self._http_port), timeout=1).close()
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
        return True

    def _note(self, ended: Mapping[int, int]) -> None:
        if self._pid in ended:
            self._exit_code = ended[self._pid]


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def say(text: str) -> None:
    """One line of the entry point's own, on the container's log."""
    with contextlib.suppress(OSError):
        print(f"triton_runtime: {text}", file=sys.stderr, flush=True)
