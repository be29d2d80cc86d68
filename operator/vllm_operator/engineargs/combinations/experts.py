"""Rules about experts on several GPUs: parallel config and its balancing."""

from collections.abc import Iterator
from typing import Any

from vllm_operator.engineargs.combinations.arguments import Arguments


def balancing(a: Arguments) -> Iterator[str]:
    """EPLBConfig._validate_eplb_config, ParallelConfig.__post_init__ (elastic, from 0.30)."""
    path, config = "spec.engineArgs.eplb_config", a.nested("eplb_config")
    if config and _key(a, "use_async"):
        policy, communicator = _key(a, "policy"), _key(a, "communicator")
        if policy not in (None, "default"):
            yield (
                f"{path}.policy: '{policy}' does not go with asynchronous balancing; set `use_async: false` "
                "beside it, or use 'default'"
            )
        if communicator in ("torch_nccl", "pynccl"):
            yield (
                f"{path}.communicator: '{communicator}' does not go with asynchronous balancing; use "
                "'torch_gloo' or 'nixl', or set `use_async: false` beside it"
            )
    if _key(a, "log_balancedness") and (_key(a, "log_balancedness_interval") or 0) <= 0 and config:
        yield f"{path}.log_balancedness_interval: must be above 0 with `log_balancedness`; raise it"
    largest, size = a.given("elastic_ep_max_dp_size"), a.get("data_parallel_size")
    if largest is not None and a.get("enable_elastic_ep") and largest < size:
        yield (
            f"spec.engineArgs.elastic_ep_max_dp_size: {largest} must be at least `data_parallel_size` "
            f"({size}); "
            "raise it"
        )


def communication(a: Arguments) -> Iterator[str]:
    """VllmConfig.__post_init__ (moonep, from 0.31), bind_passthrough_all2all_backend (from 0.32)."""
    path, backend = "spec.engineArgs.all2all_backend", a.given("all2all_backend")
    if backend == "moonep":
        if a.given("quantization") is not None:
            yield f"{path}: 'moonep' takes unquantized models only; remove `quantization`, or use another"
        if a.given("dtype") not in (None, "auto", "bfloat16"):
            yield f"{path}: 'moonep' takes bfloat16 only; set `dtype: bfloat16`, or use another"
        if a.get("enable_eplb"):
            yield f"{path}: 'moonep' does not go with `enable_eplb`; remove one of them"
        if a.get("expert_placement_strategy") not in (None, "linear"):
            yield f"{path}: 'moonep' needs `expert_placement_strategy: linear`; set it"
    own = str(a.get("moe_backend") or "").startswith("flashinfer_moe_ep_")
    if a.since("0.32") and own and backend not in (None, "passthrough", "allgather_reducescatter"):
        yield (
            f"{path}: '{backend}' does not go with `moe_backend: {a.get('moe_backend')}`, which "
            "exchanges tokens "
            "itself; remove it"
        )
    if a.since("0.32") and backend == "passthrough" and not own:
        yield f"{path}: 'passthrough' needs a `moe_backend` that exchanges tokens itself; remove it"


def _key(a: Arguments, key: str) -> Any:
    """The key of `eplb_config`, or vLLM's default."""
    value = a.nested("eplb_config").get(key)
    default = a.schema.classes.get("EPLBConfig", {}).get(key, {}).get("default")
    return default if value is None else value
