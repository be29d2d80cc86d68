"""The command line: `python -m localcluster ...`."""

import subprocess
import sys
from pathlib import Path

import click

from localcluster import inventory
from localcluster.binaries import helm_binary, kubernetes_binaries
from localcluster.cache import REPOSITORY, Cache
from localcluster.cluster import DEFAULT_NAME, Cluster
from localcluster.controlplane import PREFIX, ControlPlane
from localcluster.current import CurrentCluster, selected_cluster
from localcluster.errors import LocalClusterError
from localcluster.imagerootfs import ImageRootfs
from localcluster.imagestore import ImageStore, Target
from localcluster.kubernetesmodule import kubernetes_version, write_module
from localcluster.toolsets import KUBERNETES_MODULE

# Images that are not called like their target.
IMAGE_NAMES = {"operator": "vllm-operator"}

CONTROL_PLANE = "control-plane"

profile_option = click.option(
    "--profile", type=click.Choice(["node", CONTROL_PLANE]), default="node", show_default=True
)
name_option = click.option("--name", default=DEFAULT_NAME, show_default=True, help="Which local cluster.")


@click.group()
def main() -> None:
    """A real Kubernetes on this machine, without Docker and without a registry."""


@main.command()
@name_option
@profile_option
@click.option("--gpus", default=0, show_default=True, help="How many nvidia.com/gpu the node offers.")
def up(name: str, profile: str, gpus: int) -> None:
    """Start a cluster (KUBERNETES_VERSION chooses another version) and print its kubeconfig."""
    if profile == CONTROL_PLANE:
        plane = ControlPlane(f"{PREFIX}{name}")
        if plane.supervised.alive():
            plane.wait_ready()
        else:
            plane.start(attached=False)
        click.echo(plane.kubeconfig)
        return
    selected = selected_cluster()
    if isinstance(selected, CurrentCluster):
        click.echo(f"using the context {selected.context}", err=True)
        click.echo(selected.kubeconfig)
        return
    click.echo(Cluster(name).up(gpus=gpus).kubeconfig)


@main.command()
@name_option
@profile_option
@click.option("--all", "everything", is_flag=True, help="End every cluster of this cache, leftovers too.")
def down(name: str, profile: str, everything: bool) -> None:
    """End a cluster and remove whatever it has left."""
    if everything:
        inventory.end_all(Cache.default())
    elif profile == CONTROL_PLANE:
        ControlPlane(f"{PREFIX}{name}").stop()
    else:
        selected = selected_cluster()
        target = selected if isinstance(selected, CurrentCluster) else Cluster(name)
        target.down()


@main.command()
def status() -> None:
    """List clusters, images and the disk they use."""
    for line in inventory.status_lines(Cache.default()):
        click.echo(line)


@main.command()
@name_option
@profile_option
def kubeconfig(name: str, profile: str) -> None:
    """Print the path of the administrator's kubeconfig."""
    plane = profile == CONTROL_PLANE
    click.echo(ControlPlane(f"{PREFIX}{name}").kubeconfig if plane else Cluster(name).kubeconfig)


@main.command()
@name_option
@click.argument("count", type=int)
def gpus(name: str, count: int) -> None:
    """Set how many nvidia.com/gpu the node offers."""
    Cluster(name).set_gpus(count)


@main.command()
@name_option
@click.option("--lines", default=50, show_default=True)
@click.argument("component", required=False)
def logs(name: str, lines: int, component: str | None) -> None:
    """Show the end of a component's log; without a component, list the log files."""
    for log in sorted(Cluster(name).directory.glob(f"{component or '*'}.log")):
        if component is None:
            click.echo(log)
        else:
            click.echo("\n".join(log.read_text(errors="replace").splitlines()[-lines:]))


@main.command()
@name_option
@click.option("--user", default=None, help="Only this user's, such as system:serviceaccount:NAMESPACE:NAME.")
def audit(name: str, user: str | None) -> None:
    """List the writes that the API server has answered."""
    for event in Cluster(name).audit.writes(user=user):
        click.echo(f"{event.received.isoformat()} {event.code} {event.user} {event.what}")


@main.command()
@click.option(
    "--target", "targets", multiple=True, required=True, help="Stage of the Dockerfile (repeatable)."
)
@click.option("--tag", "tags", multiple=True, help="Name of each target's image, if not the usual one.")
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
    if tags and len(targets) != len(tags):
        raise click.UsageError("Give no --tag, or one for each --target.")
    names = tags or tuple(f"localhost/{IMAGE_NAMES.get(target, target)}:dev" for target in targets)
    wanted = [Target(target, tag) for target, tag in zip(targets, names, strict=True)]
    pairs = dict(argument.partition("=")[::2] for argument in arguments)
    store = ImageStore(Cache.default())
    for record in store.build(dockerfile.resolve(), wanted, context=context.resolve(), build_args=pairs):
        click.echo(f"{record.tag} {record.digest} {record.bytes / 1e6:.0f} MB")


@main.command()
@name_option
@click.argument("image")
def load(name: str, image: str) -> None:
    """Bring an image into the running node: a tag of the store, or an archive that enters the store too."""
    tags = ImageStore(Cache.default()).load(Path(image)) if Path(image).is_file() else [image]
    for tag in tags:
        if Cluster(name).running():
            Cluster(name).load(tag)
        click.echo(tag)


@main.command("run-image", context_settings={"ignore_unknown_options": True})
@click.option(
    "--bind", "binds", multiple=True, help="HOST=INSIDE: a folder or file to see inside (repeatable)."
)
@click.option("--user", default=0, show_default=True, help="The user's number.")
@click.argument("image")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def run_image(binds: tuple[str, ...], user: int, image: str, words: tuple[str, ...]) -> None:
    """Run a command (or what the image runs) in an image's root, without Kubernetes."""
    pairs = {host: inside for host, _, inside in (bind.partition("=") for bind in binds)}
    with ImageRootfs(image, binds=pairs) as root:
        sys.exit(root.popen(list(words) or root.entrypoint, user=user).wait())


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("tool", type=click.Choice(["kubectl", "helm"]))
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def tool(tool: str, words: tuple[str, ...]) -> None:
    """Run kubectl or helm on the selected cluster; with no words, print where the program is."""
    cache = Cache.default()
    program = (
        helm_binary(cache) if tool == "helm" else kubernetes_binaries(cache, kubernetes_version()) / tool
    )
    if not words:
        click.echo(program)
        return
    sys.exit(
        subprocess.run([str(program), *words], env=selected_cluster().environment(), check=False).returncode
    )


@main.command("kubernetes-module")
def kubernetes_module() -> None:
    """Rewrite the committed go.mod and go.sum for KUBERNETES_VERSION: how the default version is changed."""
    write_module(Cache.default(), kubernetes_version(), KUBERNETES_MODULE)


@main.command()
def clean() -> None:
    """End every cluster and give back the whole cache: programs, images, Go's caches."""
    inventory.clean(Cache.default())


def run_command_line() -> None:
    """Run the command, turning what stands in the way into one sentence."""
    try:
        main(standalone_mode=True)
    except LocalClusterError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
