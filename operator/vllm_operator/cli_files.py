"""`vllm-operator validate`, `render` and `plan`: VLLMModels in files, judged by the operator's own code.

Each command imports what it needs when it runs: `validate` is a pre-commit hook and must start at once.
"""

import os
import sys
from collections.abc import Callable
from typing import Final, NoReturn

import click

# Looking for pydantic's plugins reads every installed distribution: a tenth of what `validate` takes.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

#: Formats that `--from` takes: those of convert.formats, which is imported only when needed.
FROM: Final = ("auto", "serve", "compose", "model.json", "kserve", "kubeai")
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
@click.option(
    "--from", "format_", type=click.Choice(FROM), help="Judge what files of this format convert to."
)
@_settings_options
def validate(
    files: tuple[str, ...],
    output: str,
    format_: str | None,
    settings_file: str | None,
    vllm_version: str | None,
) -> None:
    """Say everything that is wrong with the VLLMModels in FILE...: files, directories or - for stdin.

    Other kinds are ignored. Needs no cluster. Exit status: 0 nothing wrong, 1 problems, 2 could not run.
    """
    from vllm_operator.files import admin, documents, findings
    from vllm_operator.files.output import FORMATS
    from vllm_operator.settings import SettingsInvalid

    try:
        settings = admin.load(settings_file, vllm_version)
        if format_:
            from vllm_operator.files import converting

            report = findings.examine_converted(converting.read(files, format_), settings)
        else:
            report = findings.examine(documents.read(files), settings)
    except (documents.CannotRead, SettingsInvalid) as error:
        _could_not_run(error)
    click.echo(FORMATS[output](report), nl=False)
    if report.errors:
        sys.exit(PROBLEMS)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--from", "format_", type=click.Choice(FROM), default="auto", show_default=True)
def convert(files: tuple[str, ...], format_: str) -> None:
    """Print VLLMModels for what serves models elsewhere: `vllm serve` commands, docker-compose, Triton's
    model.json, KServe's InferenceService, KubeAI's Model. FILE may be - for stdin.

    What has no place in a VLLMModel is said on stderr, with its line. Judge the result with `validate`.
    Prints none, with exit status 1, where something names no model.
    """
    from vllm_operator.files import converting, documents
    from vllm_operator.files import render as rendering

    try:
        found = list(converting.read(files, format_))
    except documents.CannotRead as error:
        _could_not_run(error)
    incomplete = any(left.error for _, leftovers in found for left in leftovers)
    if not incomplete:
        click.echo(rendering.as_yaml(document.value for document, _ in found), nl=False)
    for document, leftovers in found:
        for left in leftovers:
            line, column = left.place
            said = left.message if left.error else f"no place for {left.message}"
            click.echo(f"{document.file}:{line}:{column}: {said}", err=True)
    if incomplete:
        sys.exit(PROBLEMS)


def _namespace_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--namespace", "-n", default="default", show_default=True, help="For objects that name none."
    )(command)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--output", "-o", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
@_namespace_option
@_settings_options
def render(
    files: tuple[str, ...], output: str, namespace: str, settings_file: str | None, vllm_version: str | None
) -> None:
    """Print the manifests that the operator would apply for the VLLMModels in FILE...

    They are what it applies but for the owner's UID, which only the API server knows. Needs no cluster.
    """
    import json

    from vllm_operator.files import admin, documents
    from vllm_operator.files import render as rendering
    from vllm_operator.settings import SettingsInvalid

    try:
        settings = admin.load(settings_file, vllm_version)
        found = [
            manifest
            for model in rendering.models(documents.read(files), namespace)
            for manifest in rendering.objects(model, rendering.revision_of(model, settings))
        ]
    except rendering.Refused as refused:
        _refused(refused)
    except (documents.CannotRead, SettingsInvalid) as error:
        _could_not_run(error)
    text = rendering.as_yaml(found) if output == "yaml" else "".join(f"{json.dumps(m)}\n" for m in found)
    click.echo(text, nl=False)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--against", metavar="DIR", help="Compare with the files there, not with the cluster.")
@click.option("--diff/--no-diff", default=True, show_default=True, help="Show how the manifests differ.")
@_namespace_option
@_settings_options
def plan(
    files: tuple[str, ...],
    against: str | None,
    diff: bool,
    namespace: str,
    settings_file: str | None,
    vllm_version: str | None,
) -> None:
    """Say what applying FILE... would change, which pods would restart, and why.

    Compares with the cluster of the current context, from which it only reads, or with files (--against).
    Exit status: 0 it could be applied, 1 it would be refused, 2 could not run.
    """
    from vllm_operator.files import admin, documents, planning
    from vllm_operator.files import against as existing
    from vllm_operator.files import render as rendering
    from vllm_operator.settings import SettingsInvalid

    try:
        settings = admin.load(settings_file, vllm_version)
        present = existing.Directory.read(against, namespace) if against else existing.Cluster(settings)
        models = list(rendering.models(documents.read(files), namespace))
        plans = [planning.plan(model, present, settings) for model in models]
    except rendering.Refused as refused:
        _refused(refused)
    except (documents.CannotRead, SettingsInvalid, existing.Unreachable) as error:
        _could_not_run(error)
    for one in plans:
        click.echo(planning.text(one, diff=diff), nl=False)
    if any(one.refused for one in plans):
        sys.exit(PROBLEMS)


def _refused(refused: Exception) -> NoReturn:
    for line in str(refused).splitlines():
        click.echo(f"error: {line}", err=True)
    sys.exit(PROBLEMS)


def _could_not_run(error: Exception) -> NoReturn:
    click.echo(f"error: {error}", err=True)
    sys.exit(COULD_NOT_RUN)
