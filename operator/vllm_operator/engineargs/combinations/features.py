"""Rules about settings that say the same twice or need one another."""

from collections.abc import Iterator, Mapping

from vllm_operator.engineargs.combinations.arguments import Arguments


def said_twice(a: Arguments) -> Iterator[str]:
    """EngineArgs.create_engine_config: "mutually exclusive"."""
    pairs = (
        ("attention_backend", "attention_config", "backend"),
        ("cudagraph_capture_sizes", "compilation_config", "cudagraph_capture_sizes"),
        ("max_cudagraph_capture_size", "compilation_config", "max_cudagraph_capture_size"),
        ("enable_flashinfer_autotune", "kernel_config", "enable_flashinfer_autotune"),
    )
    for name, config, key in pairs:
        if a.given(name) is not None and a.nested(config).get(key) is not None:
            yield f"spec.engineArgs.{name}: says the same as `{config}.{key}`; remove one of them"
    for operation, order in a.nested("ir_op_priority").items():
        beside = a.nested("kernel_config").get("ir_op_priority")
        if order and isinstance(beside, Mapping) and beside.get(operation):
            path = f"`kernel_config.ir_op_priority.{operation}`"
            yield f"spec.engineArgs.ir_op_priority.{operation}: says the same as {path}; remove one of them"
    attention = a.nested("attention_config")
    if attention.get("use_fp4_indexer_cache") and attention.get("indexer_kv_dtype") and a.since("0.28"):
        yield (
            "spec.engineArgs.attention_config.use_fp4_indexer_cache: says the same as `indexer_kv_dtype`; "
            "remove it"
        )
    # EngineArgs.create_structured_outputs_config sets an attribute on what model.json gives as a mapping
    if a.nested("structured_outputs_config") and a.given("reasoning_parser"):
        yield (
            "spec.engineArgs.reasoning_parser: does not go with `structured_outputs_config`; "
            "write it as `structured_outputs_config.reasoning_parser`"
        )


def observability(a: Arguments) -> Iterator[str]:
    """ObservabilityConfig._validate_tracing_config."""
    if a.given("collect_detailed_traces") and not a.given("otlp_traces_endpoint"):
        yield "spec.engineArgs.collect_detailed_traces: needs `otlp_traces_endpoint`; set that too"


def structured_outputs(a: Arguments) -> Iterator[str]:
    """StructuredOutputsConfig._validate_structured_output_config."""
    config = a.nested("structured_outputs_config")
    backend = config.get("backend", "auto")
    if config.get("disable_any_whitespace") and backend not in ("xgrammar", "guidance"):
        yield (
            "spec.engineArgs.structured_outputs_config.disable_any_whitespace: needs `backend` 'xgrammar' or "
            f"'guidance', not '{backend}'; set it"
        )
    if config.get("disable_additional_properties") and backend != "guidance":
        yield (
            "spec.engineArgs.structured_outputs_config.disable_additional_properties: needs `backend` "
            f"'guidance', not '{backend}'; set it"
        )
