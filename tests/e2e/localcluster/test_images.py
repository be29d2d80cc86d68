"""The image store: images built without Docker or a registry, and run without Kubernetes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster import inventory
from localcluster.cache import Cache
from localcluster.errors import LocalClusterError
from localcluster.imagerootfs import ImageRootfs
from localcluster.imagestore import ImageStore, Target
from localcluster.supervised import Supervised, wait_until

DOCKERFILE = """\
FROM scratch AS base
COPY --from=rootfs / /

FROM base AS greeter
ARG GREETING=hello
COPY name.txt /name.txt
RUN --mount=type=secret,id=ca,target=/ca --mount=type=secret,id=hostenv \\
    test -s /ca && test -e /run/secrets/hostenv && test ! -e /etc/apt/sources.list \\
    && echo "$GREETING $(cat /name.txt)" > /greeting.txt
ENV GREETED=yes
ENTRYPOINT ["cat", "/greeting.txt"]

FROM base AS broken
RUN echo "this is why" && exit 3

FROM base AS slow
RUN sleep 300
"""
GREETER = Target("greeter", "localhost/greeter:dev")
END_SECONDS = 20.0


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """A store of the test's own; programs and base root filesystem are those of everybody."""
    everybody = Cache.default()
    own = Cache(tmp_path_factory.mktemp("c"))
    for folder in (everybody.binaries, everybody.go, everybody.rootfs):
        folder.mkdir(parents=True, exist_ok=True)
        (own.root / folder.name).symlink_to(folder)
    return own


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("context")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "name.txt").write_text("world")
    return folder


@pytest.fixture
def store(cache: Cache, context: Path) -> ImageStore:
    """The store with the greeter in it."""
    (context / "name.txt").write_text("world")
    store = ImageStore(cache)
    store.build(context / "Dockerfile", [GREETER], context=context)
    return store


@pytest.fixture
def greeter(store: ImageStore, cache: Cache) -> Iterator[ImageRootfs]:
    with ImageRootfs(GREETER.tag, cache=cache) as root:
        yield root


def greeting(cache: Cache) -> str:
    with ImageRootfs(GREETER.tag, cache=cache) as root:
        return root.run(root.entrypoint).stdout.strip()


def test_an_unchanged_target_is_not_built_again(store: ImageStore, context: Path) -> None:
    digest = store.record(GREETER.tag).digest
    began = time.monotonic()
    (record,) = store.build(context / "Dockerfile", [GREETER], context=context)
    assert time.monotonic() - began < 1
    assert record.digest == digest


def test_a_changed_input_or_argument_is(store: ImageStore, cache: Cache, context: Path) -> None:
    assert greeting(cache) == "hello world"
    first = store.record(GREETER.tag).digest
    (context / "name.txt").write_text("moon")
    store.build(context / "Dockerfile", [GREETER], context=context, build_args={"GREETING": "goodbye"})
    assert greeting(cache) == "goodbye moon"
    (context / "name.txt").write_text("world")
    (back,) = store.build(context / "Dockerfile", [GREETER], context=context)
    assert greeting(cache) == "hello world"
    assert back.digest == first


def test_a_failed_build_says_what_the_step_said(store: ImageStore, context: Path) -> None:
    broken = Target("broken", "localhost/broken:dev")
    with pytest.raises(LocalClusterError, match="this is why"):
        store.build(context / "Dockerfile", [broken], context=context)
    with pytest.raises(LocalClusterError, match="There is no image localhost/broken:dev"):
        store.record(broken.tag)


def test_an_interrupted_build_leaves_nothing_running(store: ImageStore, cache: Cache, context: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from localcluster.cache import Cache; "
        "from localcluster.imagestore import ImageStore, Target; c = Path(sys.argv[2]); "
        "slow = Target('slow', 'localhost/slow:dev'); "
        "ImageStore(Cache(Path(sys.argv[1]))).build(c / 'Dockerfile', [slow], context=c)"
    )
    building = subprocess.Popen(
        [sys.executable, "-c", program, str(cache.root), str(context)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    log = cache.log("image-localhost_slow_dev")
    try:
        assert wait_until(lambda: log.exists() and "RUN sleep 300" in log.read_text(), 120)
    finally:
        building.kill()
        building.wait()
    daemons = Supervised(cache.store / "run")
    assert wait_until(lambda: daemons.inhabitants() == [], END_SECONDS), daemons.inhabitants()
    (context / "name.txt").write_text("after")
    store.build(context / "Dockerfile", [GREETER], context=context)
    assert greeting(cache) == "hello after"


def test_an_archive_is_loaded(store: ImageStore, cache: Cache, tmp_path: Path) -> None:
    archive = tmp_path / "greeter.tar"
    with store.builder() as builder:
        builder.ctr("images", "export", "--local", str(archive), GREETER.tag)
        builder.remove(GREETER.tag)
    assert store.load(archive) == [GREETER.tag]
    assert greeting(cache) == "hello world"


def test_a_program_runs_as_in_a_container(greeter: ImageRootfs, tmp_path: Path) -> None:
    (greeter.path / "seen.txt").write_text("written from outside")
    script = (
        "import os; print(os.getpid(), os.getuid(), os.environ['GREETED'], os.environ['MORE'], "
        "open('/seen.txt').read())"
    )
    printed = greeter.run(["python3", "-c", script], env={"MORE": "added"}, user=1000).stdout
    assert printed.split(maxsplit=4) == ["1", "1000", "yes", "added", "written from outside\n"]
    with pytest.raises(LocalClusterError, match="sh in localhost/greeter:dev exited with 3: why"):
        greeter.run(["sh", "-c", "echo why >&2; exit 3"])


def test_signals_reach_the_program(greeter: ImageRootfs) -> None:
    script = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); "
        "print('ready', flush=True); time.sleep(60)"
    )
    program = greeter.popen(["python3", "-c", script], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    program.terminate()
    assert program.wait(10) == 7


def test_a_folder_of_the_machine_is_seen_inside_and_the_store_is_not_written(
    store: ImageStore, cache: Cache, tmp_path: Path
) -> None:
    (tmp_path / "model.json").write_text("{}")
    with ImageRootfs(GREETER.tag, binds={str(tmp_path): "/models/tiny"}, cache=cache) as root:
        root.run(["sh", "-c", "cat /models/tiny/model.json > /models/tiny/copy.json; echo x > /greeting.txt"])
        directory = root.directory
    assert (tmp_path / "copy.json").read_text() == "{}"
    assert not directory.exists()
    assert greeting(cache) == "hello world"


def test_a_sigkill_of_the_test_ends_the_program_and_the_next_run_removes_the_files(
    store: ImageStore, cache: Cache
) -> None:
    program = (
        "import sys; from pathlib import Path; from localcluster.cache import Cache; "
        "from localcluster.imagerootfs import ImageRootfs\n"
        f"with ImageRootfs('{GREETER.tag}', cache=Cache(Path(sys.argv[1]))) as root:\n"
        "    running = root.popen(['sleep', '300'])\n"
        "    print(running.pid, root.directory, flush=True)\n"
        "    running.wait()\n"
    )
    test = subprocess.Popen(
        [sys.executable, "-c", program, str(cache.root)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert test.stdout is not None
    pid, directory = test.stdout.readline().split()
    assert Path(f"/proc/{pid}/exe").exists()
    test.send_signal(signal.SIGKILL)
    test.communicate()
    assert wait_until(lambda: not Path(f"/proc/{pid}/exe").exists(), END_SECONDS)
    assert directory not in Path("/proc/mounts").read_text()
    greeting(cache)
    assert not Path(directory).exists()


def test_clean_gives_everything_back(store: ImageStore, cache: Cache) -> None:
    with ImageRootfs(GREETER.tag, cache=cache) as root:
        program = root.popen(["sleep", "300"])
        inventory.clean(cache)
        assert not cache.root.exists()
        assert program.wait(10) != 0
    assert any(Cache.default().binaries.iterdir()), "only this cache's own link to the programs was removed"
