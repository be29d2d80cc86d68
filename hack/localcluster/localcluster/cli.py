"""The command line: `python -m localcluster ...`."""

import sys
from pathlib import Path

import click

from localcluster.cache import REPOSITORY, Cache
from localcluster.errors import LocalClusterError
from localcluster.imagestore import ImageStore, Target


@click.group()
def main() -> None:
    """A real Kubernetes on this machine, without Docker and without a registry."""


@main.command()
@click.option(
    "--target", "targets", multiple=True, required=True, help="Stage of the Dockerfile (repeatable)."
)
@click.option("--tag", "tags", multiple=True, required=True, help="Name of that target's image (repeatable).")
@click.option("--build-arg", "arguments", multiple=True, help="NAME=VALUE for the Dockerfile (repeatable).")
@click.option("--file", "dockerfile", type=click.Path(path_type=Path), default=REPOSITORY / "Dockerfile")
@click.option("--context", type=click.Path(path_type=Path), default=REPOSITORY)
def build(
    targets: tuple[str, ...],
    tags: tuple[str, ...],
    arguments: tuple[str, ...],
    dockerfile: Path,
    context: Path,
) -> None:
    """Build Dockerfile targets into the image store."""
    if len(targets) != len(tags):
        raise click.UsageError("Give one --tag for each --target.")
    wanted = [Target(name, tag) for name, tag in zip(targets, tags, strict=True)]
    pairs = dict(argument.partition("=")[::2] for argument in arguments)
    store = ImageStore(Cache.default())
    for record in store.build(dockerfile.resolve(), wanted, context=context.resolve(), build_args=pairs):
        click.echo(f"{record.tag} {record.digest} {record.bytes / 1e6:.0f} MB")


def run_command_line() -> None:
    """Run the command, turning what stands in the way into one sentence."""
    try:
        main(standalone_mode=True)
    except LocalClusterError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
