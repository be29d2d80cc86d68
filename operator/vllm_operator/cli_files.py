"""`vllm-operator validate`, `render` and `plan`: VLLMModels in files, judged by the operator's own code.

Each command imports what it needs when it runs: `validate` is a pre-commit hook and must start at once.
"""

import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn

import click

PROBLEMS: Final = 1
COULD_NOT_RUN: Final = 2


def _settings_options(command: Callable[..., None]) -> Callable[..., None]:
    command = click.option(
        "--settings", "settings_file", metavar="FILE",
        help="The administrator's settings (YAML); the environment's VLLM_OPERATOR_* otherwise.",
    )(command)  # fmt: skip
    return click.option(
        "--vllm-version", metavar="VERSION", help="The vLLM of every image, where its tag does not tell."
    )(command)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--output", "-o", type=click.Choice(["text", "json", "sarif"]), default="text", show_default=True
)
@_settings_options
def validate(
    files: tuple[str, ...], output: str, settings_file: str | None, vllm_version: str | None
) -> None:
    """Say everything that is wrong with the VLLMModels in FILE...: files, directories or - for stdin.

    Other kinds are ignored. Needs no cluster. Exit status: 0 nothing wrong, 1 problems, 2 could not run.
    """
    from vllm_operator.files import admin, documents, findings
    from vllm_operator.files.output import FORMATS
    from vllm_operator.settings import SettingsInvalid

    try:
        report = findings.examine(documents.read(files), admin.load(settings_file, vllm_version))
    except (documents.CannotRead, SettingsInvalid) as error:
        _could_not_run(error)
    click.echo(FORMATS[output](report), nl=False)
    if report.errors:
        sys.exit(PROBLEMS)


def _could_not_run(error: Exception) -> NoReturn:
    click.echo(f"error: {error}", err=True)
    sys.exit(COULD_NOT_RUN)


def _namespace_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--namespace", "-n", default="default", show_default=True, help="For objects that name none."
    )(command)
