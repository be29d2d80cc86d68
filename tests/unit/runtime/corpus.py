"""The texts that the classifier is tested on, as values.

A file `failures/<Reason>.txt` holds excerpts of logs, each below a line `=== where it was found`. Two more
lines may follow that: `# says: 614 | max_num_seqs`, words that the message of `Ready` must have, and
`# served`, the model had been ready before. A file `whole/<Reason>.<what>.log` holds one log in the same
form, from tritonserver's first line to its last, without its table of options and progress bars' repeats.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from triton_runtime import termination
from triton_runtime.classifier import Classification, classify
from vllm_operator.status import pods
from vllm_operator.status.remedies import message

HERE = Path(__file__).parent
FAILURES = HERE / "failures"
WHOLE_LOGS = HERE / "whole"
HEALTHY = sorted((HERE / "healthy").glob("*.log"))
BEFORE = (HERE / "noise" / "before.log").read_text()
AFTER = (HERE / "noise" / "after.log").read_text()


@dataclass(frozen=True)
class Excerpt:
    """Part of a log with the reason that it must be given."""

    reason: str
    source: str
    text: str
    says: tuple[str, ...] = ()
    served: bool = False

    def __str__(self) -> str:
        return f"{self.reason}: {self.source}"

    def classified(self, text: str) -> Classification:
        """The cause found in `text`, with what the entry point knows besides."""
        dead = "EngineDeadError: EngineCore encountered an issue" if self.served else None
        return classify(text, 1, dead_engine=dead, memory_kills=0, served=self.served)

    def ready_message(self, text: str) -> str:
        """What a user reads of it where `text` is the container's output."""
        found = self.classified(text)
        words = termination.message(found, exit_code=1, triton="2.59.0", vllm="0.32.0")
        ended = {"exitCode": 1, "message": words}
        pod = {"status": {"containerStatuses": [{"name": "triton", "state": {"terminated": ended}}]}}
        cause = pods.cause(pod)
        assert cause is not None
        assert json.loads(words)["reason"] == cause.reason
        return message(cause.reason, pod="p", excerpt=cause.excerpt, remedy=cause.remedy)


def _excerpts(file: Path) -> list[Excerpt]:
    parts = re.split(r"^=== (.*)\n", file.read_text(), flags=re.MULTILINE)
    assert parts[0] == "", f"{file.name} must begin with a source"
    found = []
    for source, text in zip(parts[1::2], parts[2::2], strict=True):
        says = re.match(r"# says: (.*)\n", text)
        text = text[says.end() :] if says else text
        served = text.startswith("# served\n")
        text = text.removeprefix("# served\n")
        words = tuple(says[1].split(" | ")) if says else ()
        found.append(Excerpt(file.name.partition(".")[0], source, text, words, served))
    return found


EXCERPTS = [excerpt for file in sorted(FAILURES.glob("*.txt")) for excerpt in _excerpts(file)]
WHOLE = {file.stem: excerpt for file in sorted(WHOLE_LOGS.glob("*.log")) for excerpt in _excerpts(file)}
