"""Rules about what is compiled and captured, and how it is profiled."""

from collections.abc import Iterator
from typing import Any, Final

from vllm_operator.engineargs.combinations.arguments import Arguments

_NOT_NEGATIVE: Final = (
    "encoder_cudagraph_max_frames_per_batch", "encoder_cudagraph_max_vision_items_per_batch"
)  # fmt: skip
_PROTON: Final = (
    "proton_profiler_dir", "proton_backend", "proton_mode", "proton_hook", "proton_output_format",
    "proton_graph_attribution",
)  # fmt: skip


def compilation(a: Arguments) -> Iterator[str]:
    """CompilationConfig.__post_init__."""
    path, config = "spec.engineArgs.compilation_config", a.nested("compilation_config")
    yield from _custom_ops(a, config.get("custom_ops"), f"{path}.custom_ops")
    for key in _NOT_NEGATIVE:
        if isinstance(config.get(key), int) and config[key] < 0:
            yield f"{path}.{key}: must not be below 0, not {config[key]}"
    for key in ("encoder_cudagraph_token_budgets", "decoder_replay_cudagraph_capture_sizes"):
        sizes = config.get(key)
        if isinstance(sizes, list) and any(isinstance(size, int) and size <= 0 for size in sizes):
            yield f"{path}.{key}: all must be above 0; remove the others"


def _custom_ops(a: Arguments, given: Any, path: str) -> Iterator[str]:
    operations = [str(one) for one in given] if isinstance(given, list) else []
    for one in operations:
        if one not in ("all", "none") and one[:1] not in "+-":
            yield f"{path}: '{one}' must be 'all', 'none', '+{one}' or '-{one}'; write one of these"
    if a.since("0.27") and {"all", "none"} <= set(operations):
        yield f"{path}: takes one of 'all' and 'none'; remove one of them"
    for name in sorted({one[1:] for one in operations if one.startswith("+")}):
        if a.since("0.27") and f"-{name}" in operations:
            yield f"{path}: '{name}' is both on and off; remove one of them"


def profiler(a: Arguments) -> Iterator[str]:
    """ProfilerConfig._validate_profiler_config."""
    path, config = "spec.engineArgs.profiler_config", a.nested("profiler_config")
    kind = config.get("profiler")
    for key in ("torch_profiler_dir", "torch_profiler_activities", "capture_torch_profiler"):
        if config.get(key) and kind != "torch":
            yield f"{path}.{key}: needs `profiler: torch`; set that too"
    if kind == "torch" and not config.get("torch_profiler_dir"):
        yield f"{path}.profiler: 'torch' needs `torch_profiler_dir`; set that too"
    if kind == "proton" and not config.get("proton_profiler_dir"):
        yield f"{path}.profiler: 'proton' needs `proton_profiler_dir`; set that too"
    for key in _PROTON:
        if config.get(key) and kind != "proton":
            yield f"{path}.{key}: needs `profiler: proton`; set that too"


def histograms(a: Arguments) -> Iterator[str]:
    """ObservabilityConfig._validate_custom_histogram_buckets, from 0.32."""
    for family, bounds in a.nested("custom_histogram_buckets").items():
        path = f"spec.engineArgs.custom_histogram_buckets.{family}"
        numbers = bounds if isinstance(bounds, list) else []
        if not numbers:
            yield f"{path}: must not be empty; list bounds, or remove it"
        elif any(isinstance(n, int | float) and n <= 0 for n in numbers):
            yield f"{path}: bounds must be above 0; remove the others"
        elif numbers != sorted(set(numbers)):
            yield f"{path}: bounds must rise; sort them, and write each once"


def quantization_targets(a: Arguments) -> Iterator[str]:
    """QuantizationConfigArgs._validate_targets_exclusivity, from 0.30."""
    config = a.nested("quantization_config")
    if config.get("targets") and (config.get("linear") or config.get("moe")):
        yield (
            "spec.engineArgs.quantization_config.targets: excludes `linear` and `moe`; remove one or "
            "the other"
        )
