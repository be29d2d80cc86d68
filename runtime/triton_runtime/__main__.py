"""`python3 -P -m triton_runtime`: the container's PID 1."""

import os
import random
import secrets
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

from triton_runtime import arguments, termination
from triton_runtime.classifier import Classification, classify
from triton_runtime.configuration import Configuration, ConfigurationError
from triton_runtime.drain import Drain
from triton_runtime.hang import Hang
from triton_runtime.readiness import Endpoint
from triton_runtime.server import Run, Server, say

EXIT_CRASHED: Final = 1
#: Replicas that hang for the same reason do not end at the same moment.
JITTER: Final = 0.2


def main() -> int:
    """Serve until asked to end or unable to go on; returns the container's exit code."""
    try:
        configuration = Configuration.from_environment(os.environ)
    except ConfigurationError as error:
        say(str(error))
        return EXIT_CRASHED
    model_config = configuration.model_repository / configuration.model_name / "config.pbtxt"
    if configuration.model_name and not model_config.is_file():
        # Triton would start, serve nothing, and wait.
        missing = Classification("ModelConfigMissing", f"there is no file {model_config}", "")
        _last_words(configuration, missing, EXIT_CRASHED)
        return EXIT_CRASHED
    try:
        endpoint = Endpoint(configuration.health_port)
    except OSError as error:
        detail = f"cannot listen on port {configuration.health_port}: {error.strerror}"
        _last_words(configuration, Classification("ContainerCrashed", detail, ""), EXIT_CRASHED)
        return EXIT_CRASHED
    with tempfile.TemporaryDirectory(prefix="triton-runtime-", ignore_cleanup_errors=True) as folder:
        state_file = Path(folder) / "engine-state.json"
        server = Server(
            arguments.command(configuration, admin_key=secrets.token_urlsafe(24)),
            arguments.environment(configuration, os.environ, str(state_file)),
            drain=Drain(delay=configuration.drain_delay, exit_timeout=configuration.exit_timeout),
            hang=Hang(
                no_progress=configuration.no_progress,
                end=configuration.hang_end * random.uniform(1, 1 + JITTER),  # noqa: S311 - no secret
            ),
            endpoint=endpoint,
            state_file=state_file,
            http_port=configuration.http_port,
            model_name=configuration.model_name,
        )
        try:
            run = server.run()
        except OSError as error:
            detail = f"cannot start {configuration.server_root / 'bin' / 'tritonserver'}: {error.strerror}"
            _last_words(configuration, Classification("ContainerCrashed", detail, ""), EXIT_CRASHED)
            return EXIT_CRASHED
    exit_code = container_exit_code(run)
    if (found := cause(run, configuration)) is not None:
        _last_words(configuration, found, exit_code)
    return exit_code


def container_exit_code(run: Run) -> int:
    """0 for an end that was asked for and went well; never 0 for one that nobody asked for."""
    if run.requested and run.while_loading:
        return 128 + signal.SIGTERM
    if run.hung is not None or run.dead_engine is not None or run.dead_stub:
        return EXIT_CRASHED
    if run.requested and run.drained:
        return 0
    if run.exit_code < 0:
        return 128 - run.exit_code
    if run.requested:
        return run.exit_code
    return run.exit_code or EXIT_CRASHED


def cause(run: Run, configuration: Configuration) -> Classification | None:
    """Why it ended, or None where the end was asked for and is no failure."""
    if run.hung is not None:
        return Classification("EngineHung", run.hung, _last_lines(run.output))
    if run.requested and run.dead_engine is None and not run.dead_stub:
        if not run.while_loading:
            return None
        # A pod that is deleted takes this message with it. In one that stays, the kubelet's probe asked.
        limit = configuration.startup_timeout
        within = f", whose time limit is {limit:.0f} s" if limit else ""
        return Classification(
            "ProbeKilled",
            f"the container was asked to end while it was loading the model{within}",
            _last_lines(run.output),
        )
    return classify(
        run.output,
        run.exit_code,
        dead_engine=run.dead_engine,
        dead_stub=run.dead_stub,
        abandoned_stub=run.abandoned_stub,
        memory_kills=run.memory_kills,
        served=run.served,
    )


def _last_lines(output: str) -> str:
    """What was said last, without Triton's tables of models and options."""
    lines = [line for line in output.splitlines() if line.strip() and line[0] not in "+|"]
    return "\n".join(lines[-5:])


def _last_words(configuration: Configuration, found: Classification, exit_code: int) -> None:
    text = termination.message(
        found, exit_code=exit_code, triton=configuration.triton_version, vllm=configuration.vllm_version
    )
    say(text)
    try:
        termination.write(configuration.termination_log, text)
    except OSError as error:
        say(f"cannot write {configuration.termination_log}: {error}")


if __name__ == "__main__":
    sys.exit(main())
