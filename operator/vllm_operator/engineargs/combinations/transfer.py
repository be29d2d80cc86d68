"""Rules about moving KV caches and other results out of the engine."""

from collections.abc import Iterator
from typing import Final

from vllm_operator.engineargs.combinations.arguments import Arguments

#: Connectors that hand a request to another engine, with which no auxiliary output goes (from 0.31).
_DISAGGREGATING: Final = (
    "NixlConnector", "NixlPullConnector", "NixlPushConnector", "MoRIIOConnector", "MooncakeConnector"
)  # fmt: skip
_ALLOCATOR: Final = "PYTORCH_CUDA_ALLOC_CONF"


def roles(a: Arguments) -> Iterator[str]:
    """KVTransferConfig.__post_init__, ECTransferConfig.__post_init__."""
    for name, connector, role in (
        ("kv_transfer_config", "kv_connector", "kv_role"),
        ("ec_transfer_config", "ec_connector", "ec_role"),
    ):
        config = a.nested(name)
        if config.get(connector) is not None and config.get(role) is None:
            yield f"spec.engineArgs.{name}.{connector}: needs `{role}`; say which role this model has"


def allocator(a: Arguments) -> Iterator[str]:
    """VllmConfig._verify_kv_transfer_compat: pinned memory must not be mapped anew."""
    connector = a.nested("kv_transfer_config").get("kv_connector")
    if connector is None or a.get("enable_cumem_allocator") or a.get("enable_sleep_mode"):
        return
    if "expandable_segments:True" in a.environment.get(_ALLOCATOR, ""):
        yield (
            f"spec.engineArgs.kv_transfer_config: '{connector}' does not go with `{_ALLOCATOR}: "
            "expandable_segments:True` in `spec.runtime.env`, which moves pinned memory; remove that, or set "
            "`enable_cumem_allocator: true`"
        )


def routed_experts(a: Arguments) -> Iterator[str]:
    """VllmConfig.__post_init__ until 0.30, VllmConfig._verify_aux_output_compatibility from 0.31."""
    if not a.get("enable_return_routed_experts"):
        return
    path = "spec.engineArgs.enable_return_routed_experts"
    if a.get("pipeline_parallel_size") > 1:
        yield f"{path}: excludes `pipeline_parallel_size` above 1; remove one of them"
    contexts = ("decode_context_parallel_size", "prefill_context_parallel_size")
    for name in contexts if a.since("0.28") else ():
        if (a.get(name) or 1) > 1:
            yield f"{path}: excludes `{name}` above 1; remove one of them"
    connector = a.nested("kv_transfer_config").get("kv_connector")
    if connector and (a.until("0.31") or connector in _DISAGGREGATING):
        yield f"{path}: does not go with the KV connector '{connector}'; remove one of them"
    if a.since("0.31") and a.given("enable_prefix_caching") is False:
        yield f"{path}: needs prefix caching; remove `enable_prefix_caching: false`"


def sparse_host_cache(a: Arguments) -> Iterator[str]:
    """VllmConfig.__post_init__: HiSparse, from 0.30."""
    config = a.nested("attention_config").get("hisparse_config")
    if config is None and a.nested("kv_transfer_config").get("kv_connector") != "HiSparseConnector":
        return
    path = "spec.engineArgs.attention_config.hisparse_config"
    for name in ("pipeline_parallel_size", "decode_context_parallel_size"):
        if (a.get(name) or 1) > 1:
            yield f"{path}: excludes `{name}` above 1; set it to 1"
    if a.get("disable_hybrid_kv_cache_manager"):
        yield f"{path}: needs the hybrid KV cache manager; remove `disable_hybrid_kv_cache_manager`"
    if a.since("0.31") and a.given("scheduler_reserve_full_isl") is False:
        yield f"{path}: needs `scheduler_reserve_full_isl`; remove `scheduler_reserve_full_isl: false`"
