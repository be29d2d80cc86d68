"""Which changes make a target of the Dockerfile be built again."""

from pathlib import Path

import pytest

from localcluster.dockerfile import content_key, inputs_of

DOCKERFILE = """\
ARG BASE=scratch
FROM scratch AS base
COPY --from=rootfs / /

FROM base AS python
# COPY commented-out /out
COPY pyproject.toml uv.lock /src/
RUN --mount=type=cache,target=/cache \\
    --mount=type=bind,source=wheels,target=/wheels \\
    install

FROM python AS operator
COPY --chown=1000:1000 operator/ /app/
COPY --from=tools /bin/tool /bin/

FROM scratch AS tools
ADD ["tools.tar", "/"]

FROM base AS other
COPY other.txt /
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    for name in (
        "pyproject.toml",
        "uv.lock",
        "operator/a.py",
        "wheels/w",
        "tools.tar",
        "other.txt",
        "README.md",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def key(context: Path, target: str = "operator", *more: str) -> str:
    return content_key(context / "Dockerfile", context, target, *more)


def test_inputs_are_those_of_the_target_and_of_every_stage_it_uses() -> None:
    lines, sources = inputs_of(DOCKERFILE, "operator")
    assert sources == {"pyproject.toml", "uv.lock", "wheels", "operator/", "tools.tar"}
    assert "ARG BASE=scratch" in lines
    assert not any("other.txt" in line for line in lines)


@pytest.mark.parametrize("name", ["pyproject.toml", "operator/a.py", "wheels/w", "tools.tar"])
def test_a_changed_input_changes_the_key(context: Path, name: str) -> None:
    before = key(context)
    (context / name).write_text("changed")
    assert key(context) != before


def test_what_the_target_does_not_copy_does_not_change_its_key(context: Path) -> None:
    before = key(context)
    (context / "README.md").write_text("changed")
    (context / "other.txt").write_text("changed")
    (context / "operator" / "__pycache__").mkdir()
    (context / "operator" / "__pycache__" / "a.pyc").write_text("compiled")
    assert key(context) == before


def test_another_stage_of_the_dockerfile_does_not_change_the_key(context: Path) -> None:
    before = key(context), key(context, "other")
    (context / "Dockerfile").write_text(DOCKERFILE + "RUN something\n")
    assert key(context) == before[0]
    assert key(context, "other") != before[1]


def test_a_new_file_a_mode_and_a_build_argument_change_the_key(context: Path) -> None:
    keys = [key(context), key(context, "operator", "VERSION=2")]
    (context / "operator" / "b.py").write_text("new")
    keys.append(key(context))
    (context / "operator" / "b.py").chmod(0o755)
    keys.append(key(context))
    assert len(set(keys)) == 4
