"""docs/transcripts.md holds what the commands print: here they are run, and every block is compared.

`UPDATE_ANSWERS=1` writes the file anew.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from localcluster.controlplane import ControlPlane
from localcluster.errors import LocalClusterError
from operatorkit.models import Models
from operatorkit.process import OperatorProcess

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "transcripts.md"
TYPO = """\
apiVersion: triton-vllm.dev/v1alpha1
kind: VLLMModel
metadata:
  name: llama
spec:
  source:
    huggingFace:
      repository: https://huggingface.co/meta-llama/Llama-3.1-8B
  engineArgs:
    tensor_paralel_size: 2
    gpu_memory_utilization: 1.5
"""
INTRO = """\
<!-- Written by tests/integration/api/test_transcripts.py from real runs. Do not edit. -->
# Transcripts

What the commands print, from a real API server and a real operator.
"""


class Recorder:
    """Runs commands and keeps what they print as blocks of the document."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._plane = plane
        self._namespace = namespace
        self._text = INTRO

    @property
    def text(self) -> str:
        return self._text

    def section(self, title: str, words: str) -> None:
        self._text += f"\n## {title}\n\n{words}\n"

    def kubectl(self, *words: str, shown: str = "", stdin: str | None = None) -> None:
        try:
            said = self._plane.kubectl(*words, "--namespace", self._namespace, stdin=stdin)
        except LocalClusterError as refused:
            said = str(refused).partition(": ")[2]
        self.block(f"kubectl {shown or ' '.join(words)}", said)

    def command(self, *words: str, stdin: str | None = None) -> None:
        finished = subprocess.run(
            [sys.executable, "-m", "vllm_operator.cli", *words],
            input=stdin, capture_output=True, text=True, cwd=ROOT, check=False,
        )  # fmt: skip
        self.block(
            f"vllm-operator {' '.join(words)} < llama.yaml; echo $?",
            f"{finished.stdout}{finished.stderr}{finished.returncode}",
        )

    def block(self, command: str, said: str) -> None:
        said = said.replace(self._namespace, "default")
        if command.startswith("kubectl get"):
            # The column is as wide as its title while ages are below 100 s.
            said = re.sub(r"(?<= )\d{1,2}s( *)", lambda found: "40s".ljust(len(found[0])), said)
        lines = "\n".join(line.rstrip() for line in said.strip("\n").splitlines())
        self._text += f"\n```console\n$ {command}\n{lines}\n```\n"


@pytest.fixture(scope="module")
def transcripts(
    control_plane: ControlPlane, models: Models, operator: OperatorProcess, namespace: str
) -> str:
    models.create("opt-125m", gpus={"count": 1})
    models.wait_serving("opt-125m")
    models.create("refused", engineArgs={"tensor_paralel_size": 2})
    models.wait_condition("refused", "Stalled", "True")
    models.create("resting", replicas=0)
    models.wait_condition("resting", "Ready", "True")
    recorder = Recorder(control_plane, namespace)
    recorder.section("Columns", "One line says whether it serves, and if not, why.")
    recorder.kubectl("get", "vllm")
    recorder.kubectl("get", "vllm", "-o", "wide")
    recorder.section("Why", "The message of Ready names the place, the mistake and the remedy.")
    query = "{.status.conditions[?(@.type=='Ready')].message}"
    recorder.kubectl(
        "get", "vllm", "refused", "-o", f"jsonpath={query}", shown=f'get vllm refused -o jsonpath="{query}"'
    )
    recorder.section(
        "Refused by the API server", "What a rule of the definition can tell never gets into the cluster."
    )
    recorder.kubectl("apply", "-f", "-", shown="apply -f llama.yaml", stdin=TYPO)
    recorder.section(
        "Refused before the cluster", "The command knows the same rules, and the arguments of vLLM."
    )
    recorder.command("validate", "--vllm-version", "0.32.0", "-", stdin=TYPO)
    recorder.section("Explain", "Every field explains itself.")
    recorder.kubectl("explain", "vllm.spec")
    recorder.kubectl("explain", "vllm.spec.source.huggingFace")
    return recorder.text


def test_the_document_is_what_the_commands_print(transcripts: str) -> None:
    if os.environ.get("UPDATE_ANSWERS"):
        DOCUMENT.write_text(transcripts)
    assert DOCUMENT.read_text() == transcripts
