"""What the user wrote, or the operator rendered, is refused."""

from typing import Final

from triton_runtime.signatures.figures import divisors, lora_rank
from triton_runtime.signatures.table import Group, Signature, row

_C: Final = Group.CONFIGURATION
_SMALLER: Final = (
    "set `spec.engineArgs.tensor_parallel_size` to a smaller value, so that the width per GPU is a multiple "
    "of the quantization's block; use `pipeline_parallel_size` or `enable_expert_parallel` for more GPUs"
)

ROWS: Final[tuple[Signature, ...]] = (
    row(_C, "ModelConfigMissing", r"'model\.json' containing vllm engine args must be provided in"),
    row(_C, "ModelConfigMissing", r"vLLM Triton backend must be configured to use decoupled"),
    row(_C, "ModelConfigMissing", r"trying to change decoupled property"),
    row(_C, "ModelConfigMissing", r"Poll failed for model directory"),
    row(_C, "ModelConfigMissing", r"failed to poll model repository|failed to stat file /models"),
    row(_C, "BackendMissing", r"unable to find backend library for backend '(?:vllm|python)'"),
    row(_C, "BackendMissing", r"unable to find '?libtriton_python\.so'?"),
    row(_C, "NotEnoughGPUs", r"KIND_GPU is currently for single.GPU models, please specify KIND_MODEL"),
    row(
        _C,
        "InvalidEngineArgs",
        r"model\.json does not fit vLLM (?P<what>.+)",
        "model.json does not fit vLLM {what}",
    ),
    row(
        _C,
        "InvalidEngineArgs",
        r"EngineArgs\.__init__\(\) got an unexpected keyword argument '(?P<name>\w+)'",
        "this vLLM has no engine argument '{name}'",
        "remove `spec.engineArgs.{name}`, or use an image whose vLLM has it",
    ),
    row(
        _C,
        "InvalidEngineArgs",
        r"validation errors? for \w+:? (?P<field>[\w.]+):? (?P<what>Input .*?|Unexpected .*?|Field .*?)"
        r"(?: \[type=|$)",
        "engine argument {field}: {what}",
    ),
    row(
        _C,
        "InvalidEngineArgs",
        r"block_size \((?P<size>\d+)\) must be <= max_num_batched_tokens \((?P<tokens>\d+)\)",
        "a block of the KV cache takes {size} tokens, max_num_batched_tokens is {tokens}",
        "set `spec.engineArgs.max_num_batched_tokens` to {size} or more",
    ),
    row(
        _C,
        "InvalidEngineArgs",
        r"max_num_batched_tokens \((?P<tokens>\d+)\) is smaller than max_model_len \((?P<length>\d+)\)",
        "max_num_batched_tokens is {tokens}, max_model_len is {length}, and prompts are not split",
        "set `spec.engineArgs.max_num_batched_tokens` to {length} or more, or allow `enable_chunked_prefill`",
    ),
    row(
        _C,
        "InvalidEngineArgs",
        r"max_num_batched_tokens \((?P<tokens>\d+)\) must be greater than or equal to max_num_seqs"
        r" \((?P<seqs>\d+)\)",
        "max_num_batched_tokens is {tokens}, max_num_seqs is {seqs}",
        "set `spec.engineArgs.max_num_batched_tokens` to {seqs} or more, or `max_num_seqs` to {tokens} or "
        "less",
    ),
    row(
        _C,
        "InvalidEngineArgs",
        r"invalid (?:tool call|reasoning) parser: (?P<name>\S+) \(chose from",
        remedy="set the parser to a name of that list, or use an image whose vLLM has '{name}'",
    ),
    row(
        _C,
        "InvalidEngineArgs",
        r"(?P<what>Tool|Reasoning) parser '?(?P<name>[^' ]+)'? not found",
        remedy="set the parser to a name that this vLLM has, or use an image whose vLLM has '{name}'",
    ),
    row(
        _C,
        "InvalidEngineArgs",
        r"Unsupported connector type: (?P<name>[\w.]+)",
        "this vLLM has no KV connector '{name}'",
        "set `kv_connector` in `spec.engineArgs.kv_transfer_config` to one that this vLLM has, "
        "LMCacheConnectorV1 for LMCache for example",
    ),
    row(
        _C,
        "InvalidEngineArgs",
        r"[Ss]peculative (?:method|decoding|model)\b.*(?:not (?:yet )?support|unsupported)|"
        r"not (?:yet )?support: speculative",
        remedy="choose another method in `spec.engineArgs.speculative_config`, or leave it out",
    ),
    row(_C, "InvalidEngineArgs", r"Unknown attention backend: |Invalid value '[^']*' for VLLM_\w+"),
    row(
        _C,
        "InvalidEngineArgs",
        r"cudagraph_capture_sizes|No valid cudagraph sizes|only one of .*(?:may|can) be set|"
        r"are mutually exclusive|cannot be used together",
        frame=r"vllm/config|arg_utils",
    ),
    row(
        _C,
        "MaxModelLenExceedsModel",
        r"User-specified max_model_len \((?P<asked>\d+)\) is greater\s+than the derived max_model_len"
        r" \((?:max_len_key=)?[\w.]*=?(?P<limit>\d+)",
        "max_model_len is {asked}, the model's own limit is {limit}",
        "set `spec.engineArgs.max_model_len` to {limit} or less",
    ),
    row(
        _C,
        "TensorParallelIncompatible",
        r"Total number of (?P<what>[\w ]*heads) \((?P<heads>\d+)\) must be divisible by tensor parallel size"
        r" \((?P<size>\d+)\)",
        "tensor_parallel_size {size} does not divide the model's {heads} {what}",
        "set `spec.engineArgs.tensor_parallel_size` to a divisor of {heads}: {sizes}",
        figures=divisors,
    ),
    row(
        _C,
        "TensorParallelIncompatible",
        r"not divisible by +(?:weight quantization block_[nk]|min_thread_[nk]|tile_\w+|group_size)|"
        r"size_[nkm] = \d+ (?:is )?not divisible|Invalid thread config|"
        r"(?:size is not aligned with the quantized weight shape)|"
        r"size_[nk] must (?:be )?divisible by|is indivisible by min_thread|"
        r"Consider reducing tensor_parallel_size|too large tensor parallel size|"
        r"Use a TP size where|(?:per[ _]partition|partition_size)\S* .*divisible|"
        r"(?:hidden|intermediate)[/_]?(?:intermediate)?[ _]?sizes? .*divisible|"
        r"requires (?:K|N|input size|in) to be divisible|must be divisible by packed_factor|"
        r"FP8_PB_WO requires in divisible",
        remedy=_SMALLER,
    ),
    row(
        _C,
        "TensorParallelIncompatible",
        r"Failed to find a kernel that can implement .*divisible|"
        r"requires? .{0,200}\b(?:N|K|size_[nkm])\b.{0,200}(?:divisible|multiple of)",
        remedy=_SMALLER,
    ),
    row(
        _C,
        "TensorParallelIncompatible",
        r"AssertionError: (?P<heads>\d+) is not divisible by (?P<size>\d+)",
        "a width of {heads} cannot be divided by {size}",
        "set `spec.engineArgs.tensor_parallel_size` to a divisor of {heads}: {sizes}",
        figures=divisors,
    ),
    row(
        _C,
        "TensorParallelIncompatible",
        r"(?:n_physical_experts|num_experts|num_redundant_experts|vocab_size|intermediate_size|hidden_size|"
        r"experts|heads)\S* .*must be (?:evenly )?divisible by (?:ep_size|tp_size|tensor.parallel|"
        r"the (?:expert|tensor).parallel|world size)|must be divisible by (?:tp_size|ep_size|"
        r"tensor.parallel)",
    ),
    row(
        _C,
        "QuantizationMismatch",
        r"Quantization method specified in the model config \((?P<model>[^)]*)\) does not match the"
        r" quantization method specified in the `quantization` argument \((?P<asked>[^)]*)\)",
        "the model is quantized as {model}, engineArgs ask for {asked}",
        "remove `spec.engineArgs.quantization`",
    ),
    row(_C, "QuantizationMismatch", r"Unknown quantization method: "),
    row(_C, "QuantizationMismatch", r"Cannot find the config file for \w+"),
    row(
        _C,
        "QuantizationMismatch",
        r"(?P<dtype>torch\.\w+) is not supported for quantization method (?P<method>[\w-]+)",
        remedy="set `spec.engineArgs.dtype` to one that {method} can do (not {dtype})",
    ),
    row(_C, "QuantizationMismatch", r"is not supported for quantization method "),
    row(
        _C,
        "RemoteCodeRequired",
        r"contains custom code which must be executed to correctly load the model|"
        r"Please pass the argument .?trust_remote_code=True|consider setting .?trust_remote_code=True|"
        r"requires you to execute the (?:configuration|tokenizer|modeling|model) file",
    ),
    row(_C, "TaskUnsupported", r"does not support '?(?:generate|embed|encode|classify|score)'? request"),
    row(_C, "TaskUnsupported", r"(?:model|models) (?:does|do) not support `--(?:task|runner|convert) "),
    row(
        _C,
        "TaskUnsupported",
        r"Unsupported task: |is not supported by this model\. Supported (?:tasks|runners)|"
        r"model does not support (?:generation|embedding|pooling)",
    ),
    row(
        _C,
        "AdapterInvalid",
        r"LoRA rank (?P<rank>\d+) is greater than max_lora_rank (?P<limit>\d+)",
        "an adapter has rank {rank}, max_lora_rank is {limit}",
        "set `spec.engineArgs.max_lora_rank` to {allowed} or more",
        figures=lora_rank,
    ),
    row(
        _C,
        "AdapterInvalid",
        r"No adapter found for |is unsupported LoRA weight|While loading .*target modules in",
    ),
    row(_C, "AdapterInvalid", r"LoRA \S+ could not be loaded: |Loading lora .* failed"),
    row(_C, "AdapterInvalid", r"does not support LoRA yet|Triton backend could not find .*multi_lora\.json"),
    row(
        _C,
        "ContainerCrashed",
        r"EADDRINUSE|[Aa]ddress already in use|Socket '[^']*' already in use",
        remedy="free the port: another process uses it, in the host's network or from a container that "
        "did not "
        "end; without `hostNetwork` deleting the pod is enough",
    ),
)
