"""Why our check refuses engine arguments that vLLM takes: the reason, from the generated file."""

from typing import Any

from vllm_operator.engineargs import schema

#: Config classes that vLLM makes only for some models or settings: the tiny text model without LoRA has none.
LORA = (
    "max_loras", "max_lora_rank", "fully_sharded_loras", "max_cpu_loras", "lora_dtype", "lora_target_modules",
    "enable_tower_connector_lora", "specialize_active_lora", "enable_mixed_moe_lora_format",
    "enable_moe_shared_loras", "max_lora_cls_labels",
)  # fmt: skip

REASONS = {
    "used as it is": "no config class of vLLM judges the argument, so a wrong value is used as it is: "
    "the text 'false' is true, a misspelt choice means 'auto' or fails in a kernel",
    "only with LoRA": "vLLM looks at the LoRA arguments only when `enable_lora` is true",
    "only for multimodal models": "vLLM looks at these arguments only when the model takes images or sound",
    "the operator's own rule": "a format that can run code is never loaded here",
    "a choice that is silently ignored": "vLLM takes an unknown `model_impl` for 'auto'",
    "when the tokenizer is loaded": "a configuration is made, but no tokenizer has that name",
    "only with CUDA graphs": "vLLM compares the two only where it captures graphs, not on a CPU",
}


def why_only_we_refuse(arguments: dict[str, Any], known: schema.Schema) -> str | None:
    """A key of REASONS; None for a difference that nobody has explained."""
    if set(arguments) == {"cudagraph_capture_sizes", "max_cudagraph_capture_size"}:
        return "only with CUDA graphs"
    if len(arguments) != 1:
        return None
    (name,) = arguments
    if name == "load_format":
        return "the operator's own rule"
    if name == "tokenizer_mode":
        return "when the tokenizer is loaded"
    if name == "model_impl":
        return "a choice that is silently ignored"
    if name in LORA:
        return "only with LoRA"
    if name.startswith(("mm_", "video_pruning")):
        return "only for multimodal models"
    if known.arguments[name].get("unjudged") or name == "model_loader_extra_config":
        return "used as it is"
    return None
