"""A pod to probe, and what probes of it find."""

from vllm_operator.observed.state import ProbeVerdict
from vllm_operator.observed.store import Key
from vllm_operator.observed.target import ProbeTarget
from vllm_operator.probe.outcome import Outcome

KEY = Key("ns", "llama")
TARGET = ProbeTarget(
    pod_uid="pod",
    pod_name="llama-1",
    address="127.0.0.1",
    model_name="llama",
    kind="auto",
    prompt="Hello",
    max_tokens=1,
    expect_contains=None,
    embed_input="Hello",
    period_seconds=10,
    timeout_seconds=5,
    failure_threshold=3,
)
GOOD = Outcome(ProbeVerdict.SERVING, "", inferred=True)
HANGS = Outcome(ProbeVerdict.TIMEOUT, "no answer within 5 s")
ERRS = Outcome(ProbeVerdict.FAILED, "inference failed: boom")
