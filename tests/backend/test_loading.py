"""Models that cannot be loaded say why, all at once, and leave nothing behind."""

from collections.abc import Iterator

import pytest

from backend.client import Client
from backend.serving import START_SECONDS, Installation, Model, Server, eventually

MODELS = {
    "unknown-keys": Model(engine={"max_modellen": 5, "gpu_memory_utilisation": 0.5, "max_num_seqs": "lots"}),
    "unreadable-size": Model(engine={"tensor_parallel_size": "two", "max_modellen": 5}),
    "no-json": Model(engine=None),
    "bad-json": Model(engine="{"),
    "bad-devices": Model(parameters={"GPU_DEVICE_IDS": "0,1,1"}),
    "few-devices": Model(engine={"tensor_parallel_size": 2}, parameters={"GPU_DEVICE_IDS": "0"}),
    "no-adapters": Model(engine={"enable_lora": True}),
}
REASONS = {
    "unknown-keys": (
        "AsyncEngineArgs.__init__() got an unexpected keyword argument 'max_modellen'",
        "'max_modellen' (did you mean 'max_model_len'?)",
        "'gpu_memory_utilisation' (did you mean 'gpu_memory_utilization'?)",
        "'max_num_seqs'",
    ),
    "unreadable-size": ("'tensor_parallel_size'", "'max_modellen'"),
    "no-json": ("'model.json' containing vllm engine args must be provided in",),
    "bad-json": ("is not valid JSON",),
    "bad-devices": ("GPU_DEVICE_IDS: 1 is given twice",),
    "few-devices": ("GPU_DEVICE_IDS names 1 devices but tensor_parallel_size x pipeline_parallel_size is 2",),
    "no-adapters": ("multi_lora.json",),
    "not-decoupled": ("vLLM Triton backend must be configured to use decoupled model transaction policy",),
}


@pytest.fixture(scope="module")
def log(where: Installation) -> Iterator[str]:
    declared = """
max_batch_size: 0
model_transaction_policy { decoupled: false }
input [ { name: "text_input" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "text_output" data_type: TYPE_STRING dims: [ -1 ] } ]
"""
    server = Server(where, MODELS, "--exit-on-error=false")
    plain = Server(
        where,
        {"not-decoupled": Model(extra=declared)},
        "--exit-on-error=false",
        "--disable-auto-complete-config",
    )
    try:
        for one, names in ((server, set(MODELS)), (plain, {"not-decoupled"})):
            eventually(
                lambda s=one: "Started HTTPService" in s.log(),
                START_SECONDS,
                "the server is up without models",
            )
            for name in names:
                eventually(lambda s=one, n=name: s.get(f"/v2/models/{n}/ready") == 400, 10, "it answers")
            eventually(
                lambda s=one: not [c for c in s.processes().values() if "EngineCore" in c],
                10,
                "no engine is left",
            )
        yield server.log() + plain.log()
    finally:
        server.close()
        plain.close()


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_named(log: str, name: str) -> None:
    lines = [line for line in log.splitlines() if f"failed to load '{name}' version" in line]
    assert len(lines) == 1
    for reason in REASONS[name]:
        assert reason in lines[0]


def test_unknown_keys_are_named_before_the_engine_starts(log: str) -> None:
    assert "Initializing a V1 LLM engine" not in log


def test_a_model_whose_engine_died_is_unloaded_where_models_are_controlled(where: Installation) -> None:
    model = Model(parameters={"ENABLE_VLLM_HEALTH_CHECK": "true"})
    server = Server(where, {"vllm_model": model}, "--model-control-mode=explicit", "--load-model=vllm_model")
    try:
        server.wait_ready()
        server.kill("EngineCore")
        eventually(server.state, 5, "the engine's state")
        refused = Client(server.grpc_port).ask(text_input="x").error
        assert refused == "Model is unavailable due to unhealthy vLLM engine"
        server.wait_gone(30, besides=("bin/tritonserver",))
    finally:
        server.close()
