"""`vllm_operator_model_condition`: one series for each condition that a status has, and none that it had."""

from vllm_operator.telemetry import metrics


def _series(name: str) -> set[tuple[str, str, str]]:
    lines = metrics.exposition().decode().splitlines()
    ours = [line for line in lines if line.startswith(f'vllm_operator_model_condition{{name="{name}"')]
    labels = [dict(part.split("=") for part in line.split("{")[1].split("}")[0].split(",")) for line in ours]
    return {
        (found["type"].strip('"'), found["status"].strip('"'), found["reason"].strip('"')) for found in labels
    }


def _condition(kind: str, status: str, reason: str) -> dict[str, str]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "not a label",
        "lastTransitionTime": "x",
    }


def test_each_condition_is_one_series_whatever_it_was_before() -> None:
    loading = [
        _condition("Ready", "Unknown", "LoadingModel"),
        _condition("Reconciling", "True", "LoadingModel"),
    ]
    metrics.set_conditions("models", "llama", loading)
    assert _series("llama") == {("Ready", "Unknown", "LoadingModel"), ("Reconciling", "True", "LoadingModel")}
    for reason in ("ProbeTimeout", "EngineHung"):
        metrics.set_conditions("models", "llama", [_condition("Ready", "False", reason)])
        assert _series("llama") == {("Ready", "False", reason)}
    metrics.forget_model("models", "llama")
    assert _series("llama") == set()
