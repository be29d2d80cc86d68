"""What the prober needs to know of one pod."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """A pod whose model was loaded, and how to ask it for an inference.

    `kind` auto: generate, and embed once the backend has said that the model does not generate.
    `ask_only`: it was ready and is no longer: it is asked for the backend's account of itself only.
    """

    pod_uid: str
    pod_name: str
    address: str
    model_name: str
    kind: Literal["auto", "generate", "embed"]
    prompt: str
    max_tokens: int
    expect_contains: str | None
    embed_input: str
    period_seconds: float
    timeout_seconds: float
    failure_threshold: int
    ask_only: bool = False
