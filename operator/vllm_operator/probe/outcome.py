"""What one probe of one pod found."""

from dataclasses import dataclass

from vllm_operator.observed.state import BackendInfo, ProbeVerdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one probe found; `verdict` None: nothing for or against the pod.

    `success_age`: how many seconds before the probe the inference ended that proves it. `inferred`: an
    inference of ours proves it. `certain`: the pod says so of itself, so one probe is enough.
    """

    verdict: ProbeVerdict | None
    message: str
    backend: BackendInfo | None = None
    success_age: float = 0.0
    embeds: bool = False
    inferred: bool = False
    certain: bool = False
