"""Rules about settings that say the same twice or need one another."""

from collections.abc import Iterator

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


def transfer(a: Arguments) -> Iterator[str]:
    """KVTransferConfig.__post_init__, ECTransferConfig.__post_init__."""
    for name, connector, role in (
        ("kv_transfer_config", "kv_connector", "kv_role"),
        ("ec_transfer_config", "ec_connector", "ec_role"),
    ):
        config = a.nested(name)
        if config.get(connector) is not None and config.get(role) is None:
            yield f"spec.engineArgs.{name}.{connector}: needs `{role}`; say which role this model has"


def profiler(a: Arguments) -> Iterator[str]:
    """ProfilerConfig._validate_profiler_config."""
    config = a.nested("profiler_config")
    if config.get("torch_profiler_dir") and config.get("profiler") != "torch":
        yield "spec.engineArgs.profiler_config.torch_profiler_dir: needs `profiler: torch`; set that too"
    if config.get("profiler") == "torch" and not config.get("torch_profiler_dir"):
        yield "spec.engineArgs.profiler_config.profiler: 'torch' needs `torch_profiler_dir`; set that too"
