"""The command line. Each command's code is imported only when it runs: `validate` must not wait for kopf."""

import importlib
import sys
from typing import Final

import click

from vllm_operator import __version__

#: Command to where its click.Command is found.
_COMMANDS: Final = {
    "convert": "vllm_operator.cli_files:convert",
    "plan": "vllm_operator.cli_files:plan",
    "render": "vllm_operator.cli_files:render",
    "run": "vllm_operator.cli:run",
    "validate": "vllm_operator.cli_files:validate",
}


class _LazyGroup(click.Group):
    """Finds commands by name without importing the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vllm-operator")
def main() -> None:
    """Serve large language models on Kubernetes with Triton Inference Server and vLLM."""


@click.command()
def run() -> None:
    """Run the operator until SIGTERM. Settings come from VLLM_OPERATOR_* variables."""
    from vllm_operator import settings as operator_settings

    try:
        settings = operator_settings.load()
    except operator_settings.SettingsInvalid as error:
        raise SystemExit(str(error)) from None

    import asyncio

    from vllm_operator import app
    from vllm_operator.kube.decoding import allow_deep_objects
    from vllm_operator.telemetry import logs

    logs.configure(log_format=settings.log_format, level=settings.log_level)
    allow_deep_objects()
    try:
        asyncio.run(app.run(settings))
    except Exception as error:
        cause = _single_cause(error)
        expected = isinstance(cause, app.EXPECTED_FAILURES)
        logs.get("app").error("the operator ends", problem=str(cause), exc_info=None if expected else cause)
        sys.exit(1)


def _single_cause(error: BaseException) -> BaseException:
    """What went wrong, out of the groups that task groups wrap it in."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    main()
