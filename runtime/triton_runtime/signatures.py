"""The texts that prove a cause, in the order in which they are believed. Data only; `classifier` reads it.

A configuration mistake often shows itself later as missing memory or a dead process, never the other way
round: so the groups go from what the user wrote, over what the pod can reach and read, to what the hardware
lacks, and end with what merely died. Within a group the first entry wins.
"""

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Group(IntEnum):
    """Kinds of cause, most believed first."""

    CONFIGURATION = 1
    ACCESS = 2
    FILES = 3
    CAPABILITY = 4
    MEMORY = 5
    COMMUNICATION = 6
    GENERIC = 7


#: A model that has served was configured, found, read and supported; requests can log such errors, too.
WHILE_SERVING: Final = frozenset({Group.MEMORY, Group.COMMUNICATION, Group.GENERIC})


@dataclass(frozen=True, slots=True)
class Signature:
    """One proof of one reason."""

    group: Group
    reason: str
    pattern: re.Pattern[str]
    detail: str = "{line}"
    """One sentence; {line} is the line itself, other names are groups of the pattern."""
    remedy: str = ""
    """What to do, where the line says it better than the reason alone; used if all its groups matched."""


def _of(group: Group, reason: str, pattern: str, detail: str = "{line}", remedy: str = "") -> Signature:
    return Signature(group, reason, re.compile(pattern), detail, remedy)


_C, _A, _F, _P = Group.CONFIGURATION, Group.ACCESS, Group.FILES, Group.CAPABILITY
_M, _N, _G = Group.MEMORY, Group.COMMUNICATION, Group.GENERIC

SIGNATURES: Final[tuple[Signature, ...]] = (
    # --- What the user wrote
    _of(_C, "ModelConfigMissing", r"'model\.json' containing vllm engine args must be provided in"),
    _of(_C, "ModelConfigMissing", r"vLLM Triton backend must be configured to use decoupled"),
    _of(_C, "ModelConfigMissing", r"trying to change decoupled property"),
    _of(_C, "ModelConfigMissing", r"Poll failed for model directory"),
    _of(_C, "ModelConfigMissing", r"failed to poll model repository|failed to stat file /models"),
    _of(_C, "BackendMissing", r"unable to find backend library for backend '(?:vllm|python)'"),
    _of(_C, "BackendMissing", r"unable to find '?libtriton_python\.so'?"),
    _of(_C, "NotEnoughGPUs", r"KIND_GPU is currently for single.GPU models, please specify KIND_MODEL"),
    _of(
        _C,
        "InvalidEngineArgs",
        r"model\.json does not fit vLLM (?P<what>.+)",
        "model.json does not fit vLLM {what}",
    ),
    _of(
        _C,
        "InvalidEngineArgs",
        r"EngineArgs\.__init__\(\) got an unexpected keyword argument '(?P<name>\w+)'",
        "this vLLM has no engine argument '{name}'",
        "remove `spec.engineArgs.{name}`, or use an image whose vLLM has it",
    ),
    _of(
        _C,
        "InvalidEngineArgs",
        r"validation errors? for \w+: (?P<field>\w+): (?P<what>.*?)(?: \[type=|$)",
        "engine argument {field}: {what}",
    ),
    _of(
        _C,
        "MaxModelLenExceedsModel",
        r"User-specified max_model_len \((?P<asked>\d+)\) is greater\s+than the derived max_model_len"
        r" \((?:max_len_key=)?[\w.]*=?(?P<limit>\d+)",
        "max_model_len is {asked}, the model's own limit is {limit}",
        "set `spec.engineArgs.max_model_len` to {limit} or less",
    ),
    _of(
        _C,
        "TensorParallelIncompatible",
        r"Total number of (?P<what>[\w ]*heads) \((?P<heads>\d+)\) must be divisible by tensor parallel size"
        r" \((?P<size>\d+)\)",
        "tensor_parallel_size {size} does not divide the model's {heads} {what}",
    ),
    _of(_C, "TensorParallelIncompatible", r"AssertionError: \d+ is not divisible by \d+"),
    _of(
        _C,
        "TensorParallelIncompatible",
        r"(?:n_physical_experts|num_experts|vocab_size|intermediate_size|hidden_size)\S* .*must be divisible"
        r" by (?:ep_size|tp_size|tensor parallel)",
    ),
    _of(
        _C,
        "QuantizationMismatch",
        r"Quantization method specified in the model config \((?P<model>[^)]*)\) does not match the"
        r" quantization method specified in the `quantization` argument \((?P<asked>[^)]*)\)",
        "the model is quantized as {model}, engineArgs ask for {asked}",
        "remove `spec.engineArgs.quantization`",
    ),
    _of(_C, "QuantizationMismatch", r"Unknown quantization method: "),
    _of(_C, "QuantizationMismatch", r"Cannot find the config file for \w+"),
    _of(_C, "QuantizationMismatch", r"is not supported for quantization method "),
    _of(
        _C,
        "RemoteCodeRequired",
        r"contains custom code which must be executed to correctly load the model|"
        r"Please pass the argument .?trust_remote_code=True|consider setting .?trust_remote_code=True|"
        r"requires you to execute the (?:configuration|tokenizer|modeling|model) file",
    ),
    _of(_C, "TaskUnsupported", r"does not support '?(?:generate|embed|encode|classify|score)'? request"),
    _of(_C, "TaskUnsupported", r"(?:model|models) (?:does|do) not support `--(?:task|runner|convert) "),
    _of(
        _C,
        "TaskUnsupported",
        r"Unsupported task: |is not supported by this model\. Supported (?:tasks|runners)",
    ),
    _of(
        _C,
        "AdapterInvalid",
        r"LoRA rank (?P<rank>\d+) is greater than max_lora_rank (?P<limit>\d+)",
        "an adapter has rank {rank}, max_lora_rank is {limit}",
        "set `spec.engineArgs.max_lora_rank` to {rank} or more",
    ),
    _of(
        _C,
        "AdapterInvalid",
        r"No adapter found for |is unsupported LoRA weight|While loading .*target modules in",
    ),
    _of(_C, "AdapterInvalid", r"LoRA \S+ could not be loaded: |Loading lora .* failed"),
    _of(_C, "AdapterInvalid", r"does not support LoRA yet|Triton backend could not find .*multi_lora\.json"),
    # --- Access to the model's home
    _of(
        _A,
        "ModelAccessDenied",
        r"GatedRepoError|Cannot access gated repo for url|You are trying to access a gated repo|"
        r"Access to model \S+ is restricted",
    ),
    _of(_A, "ModelAccessDenied", r"Invalid user token|Invalid credentials in Authorization header"),
    _of(_A, "ModelAccessDenied", r"HfHubHTTPError: (?:401|403) "),
    _of(
        _A,
        "ModelFilesMissing",
        r"HFValidationError: Repo id must .*?'(?P<where>/[^']*)'",
        "{where} is missing or is no folder",
    ),
    _of(_A, "ModelRevisionNotFound", r"Revision Not Found for url|RevisionNotFoundError"),
    _of(
        _A,
        "ModelRevisionNotFound",
        r"(?P<revision>\S{1,300}) is not a valid git identifier \(branch name, tag name or commit id\)",
        "the model has no revision {revision}",
    ),
    _of(_A, "ModelNotFound", r"Repository Not Found for url|RepositoryNotFoundError"),
    _of(
        _A,
        "ModelNotFound",
        r"(?P<model>\S{1,300}) is not a local folder and is not a valid model identifier listed on",
        "{model} is neither a folder nor a model on the hub that this pod may see",
    ),
    _of(_A, "ModelNotFound", r"HFValidationError: Repo id must (?:be|use)"),
    _of(
        _A,
        "NetworkUnavailable",
        r"Name or service not known|Temporary failure in name resolution|Failed to resolve '|"
        r"NameResolutionError|nodename nor servname",
    ),
    _of(
        _A,
        "NetworkUnavailable",
        r"We couldn't connect to '(?P<hub>[^']+)'",
        "the hub at {hub} cannot be reached",
    ),
    _of(
        _A,
        "NetworkUnavailable",
        r"Max retries exceeded with url|Network is unreachable|No route to host|CERTIFICATE_VERIFY_FAILED|"
        r"(?:httpx|httpcore|requests\.exceptions)\S*\.(?:ConnectError|ConnectTimeout|ProxyError|ReadTimeout)|"
        r"requests\.exceptions\.(?:ConnectionError|SSLError)",
    ),
    _of(
        _A,
        "NetworkUnavailable",
        r"LocalEntryNotFoundError|OfflineModeIsEnabled|outgoing traffic has been disabled|"
        r"An error happened while trying to locate the files? on the Hub",
    ),
    # --- Files
    _of(
        _F,
        "DiskFull",
        r"^(?!.*(?:/dev/shm|[Ss]hared memory)).*(?:No space left on device|\(os error 28\)|"
        r"Disk quota exceeded)",
    ),
    _of(
        _F,
        "ModelFilesUnreadable",
        r"(?:PermissionError: |\[Errno 13\] |Permission denied).*?'(?P<path>/[^']*)'",
        "{path} cannot be read by the container's user 1000",
    ),
    _of(_F, "ModelFilesUnreadable", r"PermissionError|Permission denied \(os error 13\)"),
    _of(
        _F,
        "ModelFilesUnreadable",
        # safetensors names a file that is there, but that this user may not open, in the same words.
        r"No such file or directory: (?P<path>/\S+\.safetensors)",
        "{path} cannot be opened: the container's user 1000 may not read it, or it is a link to nothing",
    ),
    _of(
        _F,
        "AdapterInvalid",
        r"No such file or directory: '(?P<path>/adapters/[^']*)'",
        "{path} is missing",
    ),
    _of(_F, "WeightsCorrupt", r"SafetensorError: |Error while deserializing header: "),
    _of(_F, "WeightsCorrupt", r"PytorchStreamReader failed|invalid header or archive is corrupted"),
    _of(
        _F,
        "WeightsCorrupt",
        r"Unable to (?:load weights|read) .*\bconsistency check failed|Consistency check failed",
    ),
    _of(_F, "UnsafeWeightsFormat", r"Weights only load failed|serious vulnerability issue in `torch\.load`"),
    _of(_F, "UnsafeWeightsFormat", r"UnpicklingError"),
    _of(_F, "ModelFilesCorrupt", r"It looks like the config file at .* is not a valid JSON file"),
    _of(
        _F,
        "ModelFilesCorrupt",
        r"json\.decoder\.JSONDecodeError: |Unrecognized model in .*should have a `model_type`",
    ),
    _of(_F, "ModelFilesCorrupt", r"KeyError: 'model_type'|Should have a `model_type` key"),
    _of(
        _F,
        "TokenizerInvalid",
        r"Can't load tokenizer for|[Tt]okenizer class '?\S+'? (?:does not exist|is not currently imported|"
        r"specified in the tokenizer config was not found)",
    ),
    _of(
        _F,
        "TokenizerInvalid",
        r"Couldn't instantiate the backend tokenizer|KeyError: 'added_tokens'|"
        r"data did not match any variant of untagged enum|"
        r"Exception: .*(?:expected|missing field|unknown variant).* at line \d+ column \d+",
    ),
    _of(
        _F,
        "ModelFilesMissing",
        r"(?P<where>\S{1,300}) does not appear to have a file named (?P<file>[\w./-]+?)\.?(?: |$)",
        "{where} has no file {file}",
    ),
    _of(
        _F,
        "ModelFilesMissing",
        r"Cannot find any model weights with `(?P<where>[^`]*)`",
        "{where} holds no weights",
    ),
    _of(
        _F,
        "ModelFilesMissing",
        r"Invalid repository ID or local directory specified: ?'(?P<where>[^']*)'",
        "{where} holds no model (no config.json)",
    ),
    _of(_F, "ModelFilesMissing", r"No model config found|Could not detect config format"),
    _of(
        _F,
        "ModelFilesMissing",
        r"(?:FileNotFoundError: |No such file or directory: )\D*'(?P<where>/source[^']*)'",
        "{where} is missing",
    ),
    _of(_F, "ModelFilesMissing", r"Following weights were not initialized from checkpoint"),
    # --- What image and hardware can do
    _of(
        _P,
        "NotEnoughGPUs",
        r"World size \((?P<world>\d+)\) is larger than the number of available GPUs \((?P<has>\d+)\)",
        "the engine arguments need {world} GPUs, the pod has {has}",
    ),
    _of(
        _P,
        "NotEnoughGPUs",
        r"local_world_size \((?P<world>\d+)\) must be less than or equal to the number of visible devices"
        r" \((?P<has>\d+)\)",
        "the engine arguments need {world} GPUs, the pod has {has}",
    ),
    _of(_P, "NotEnoughGPUs", r"please ensure that world_size \(\d+\) is less than than max local gpu count"),
    _of(_P, "NotEnoughGPUs", r"CUDA error: invalid device ordinal"),
    _of(
        _P,
        "DriverTooOld",
        r"The NVIDIA driver on your system is too old \(found version (?P<version>\d+)\)",
        "the node's NVIDIA driver supports CUDA {version} only, the image needs a newer one",
    ),
    _of(
        _P,
        "DriverTooOld",
        r"(?<!will not be available: )CUDA driver version is insufficient for CUDA runtime version",
    ),
    _of(_P, "DriverTooOld", r"forward compatibility was attempted on non supported HW"),
    _of(_P, "DriverTooOld", r"the provided PTX was compiled with an unsupported toolchain"),
    _of(_P, "UnsupportedGPU", r"no kernel image is available for execution on the device"),
    _of(
        _P,
        "UnsupportedGPU",
        r"Bfloat16 is only supported on GPUs with compute capability of at least (?P<need>[\d.]+)\."
        r" Your (?P<gpu>.*?) GPU has compute capability (?P<has>\d+\.\d+)",
        "bfloat16 needs compute capability {need}, the {gpu} has {has}",
        "set `spec.engineArgs.dtype` to half, or choose a node with another GPU",
    ),
    _of(_P, "UnsupportedGPU", r"Bfloat16 is only supported on GPUs"),
    _of(
        _P,
        "UnsupportedGPU",
        r"(?:quantization method \S+|Quantization scheme) is not supported for the current GPU\."
        r" (?:Minimum capability|Min capability): (?P<need>\d+)",
    ),
    _of(_P, "NoGPUVisible", r"Failed to infer device type"),
    _of(_P, "NoGPUVisible", r"No CUDA GPUs are available|no CUDA-capable device is detected"),
    _of(_P, "NoGPUVisible", r"libcuda\.so\.1: cannot open|Found no NVIDIA driver on your system"),
    _of(
        _P,
        "UnsupportedArchitecture",
        r"Model architectures? (?P<name>\[.*?\]) (?:are not supported for now|failed to be inspected)",
        "this image's vLLM does not know the model architecture {name}",
    ),
    _of(
        _P,
        "UnsupportedArchitecture",
        r"Model architecture \S+ was supported in vLLM until|is not supported in-tree",
    ),
    _of(
        _P,
        "UnsupportedArchitecture",
        r"model type `(?P<name>[^`]*)` but Transformers does not recognize this architecture",
        "this image's transformers does not know the model type {name}",
    ),
    _of(_P, "UnsupportedArchitecture", r"has no vLLM implementation|is not compatible with vLLM"),
    _of(
        _P,
        "BackendVersionMismatch",
        r"ImportError: cannot import name '?(?P<name>\w+)'? from '?vllm\S*",
    ),
    _of(_P, "BackendVersionMismatch", r"ModuleNotFoundError: No module named '?(?:vllm|vllm_triton)\b"),
    _of(
        _P,
        "BackendVersionMismatch",
        r"TypeError: \S*(?:AsyncLLM|build_async_engine_client|LLMEngine|EngineClient|StatLogger|"
        r"FlashAttentionMetadata)\S*\(\)"
        r" (?:got an unexpected keyword argument|missing \d+ required)",
    ),
    _of(
        _P,
        "BackendVersionMismatch",
        r"AttributeError: (?:module 'vllm\S*'|type object 'AsyncLLM\w*') has no attribute",
    ),
    _of(
        _P,
        "BackendVersionMismatch",
        r"vllm/_C\S*: undefined symbol|ImportError: \S*vllm\S*\.so: undefined symbol",
    ),
    # --- Memory
    _of(
        _M,
        "GPUMemoryBusy",
        r"Free memory on device\s*\S* \((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup is less than"
        r" desired GPU memory utilization \((?P<share>[\d.]+), (?P<wanted>[\d.]+) GiB\)",
        "only {free} of {total} GiB of GPU memory is free, gpu_memory_utilization {share} wants {wanted} GiB",
    ),
    _of(_M, "GPUMemoryBusy", r"Free memory on device .*is less than the engine's budget"),
    _of(
        _M,
        "GPUMemoryBusy",
        r"Error in memory profiling\. Initial free memory",
        "GPU memory was taken or freed by another process while vLLM measured it",
    ),
    _of(
        _M,
        "KVCacheTooSmall",
        r"To serve at least one request with the model(?:'s|s's) max seq len \((?P<len>\d+)\),?"
        r" \(?(?P<need>[\d.]+) GiB KV cache is needed, which is larger than the available KV cache memory"
        r" \((?P<has>[\d.]+) GiB\).*?estimated maximum model length is (?P<est>\d+)",
        "max_model_len {len} needs {need} GiB of KV cache, {has} GiB is there: enough for {est} tokens",
        "set `spec.engineArgs.max_model_len` to {est} or less, or raise `gpu_memory_utilization`",
    ),
    _of(
        _M,
        "KVCacheTooSmall",
        r"To serve at least one request with the model(?:'s|s's) max seq len \((?P<len>\d+)\),?"
        r" \(?(?P<need>[\d.]+) GiB KV cache is needed, which is larger than the available KV cache memory"
        r" \((?P<has>[\d.]+) GiB\)",
        "max_model_len {len} needs {need} GiB of KV cache, {has} GiB is there",
    ),
    _of(
        _M,
        "KVCacheTooSmall",
        r"The model(?:'s|s's) max seq len \((?P<len>\d+)\) is larger than the maximum number of tokens that"
        r" can be stored in KV cache \((?P<est>\d+)\)",
        "max_model_len is {len}, the KV cache holds {est} tokens",
        "set `spec.engineArgs.max_model_len` to {est} or less, or raise `gpu_memory_utilization`",
    ),
    _of(_M, "KVCacheTooSmall", r"No available memory for the cache blocks"),
    _of(
        _M,
        "GPUOutOfMemory",
        r"CUDA out of memory\. Tried to allocate (?P<size>[\d.]+ \w+)"
        r"(?:\. GPU \d+ has a total capac\w+ of (?P<total>[\d.]+ \w+))?",
        "the GPU's memory is used up ({size} more was asked for)",
    ),
    _of(
        _M,
        "GPUOutOfMemory",
        r"CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED|cudaErrorMemoryAllocation",
    ),
    _of(_M, "GPUOutOfMemory", r"torch\.(?:cuda\.)?OutOfMemoryError"),
    _of(_M, "GPUOutOfMemory", r"CUDA out of memory occurred when warming up sampler"),
    _of(
        _M,
        "SharedMemoryTooSmall",
        r"If you are running Triton inside docker, use '--shm-size'",
        "the pod's shared memory (/dev/shm) is too small for Triton",
    ),
    _of(
        _M,
        "SharedMemoryTooSmall",
        r"[Uu]nable to (?:allocate|open|mmap|resize) (?:\d+ bytes from )?(?:file|shared memory)\S* ?\S*"
        r"(?:/torch_|shm)|"
        r"unable to allocate shared memory ?\(shm\)|insufficient shared memory \(shm\)",
    ),
    _of(
        _M,
        "SharedMemoryTooSmall",
        r"Error while creating shared memory segment|/dev/shm.*No space left on device|"
        r"No space left on device.*(?:/dev/shm|shared memory)|posix_fallocate failed",
    ),
    _of(_M, "HostOutOfMemory", r"DefaultCPUAllocator: (?:can't allocate|not enough) memory"),
    _of(
        _M,
        "HostOutOfMemory",
        r"\[Errno 12\] Cannot allocate memory|(?:^|\s)MemoryError(?:$|:)|std::bad_alloc",
    ),
    # --- Between GPUs, and the GPU itself
    _of(
        _N,
        "CUDAFault",
        r"an illegal memory access was encountered|uncorrectable ECC error|device-side assert triggered|"
        r"unspecified launch failure|misaligned address|an illegal instruction was encountered|"
        r"CUDA error: (?:unknown error|hardware stack error|device kernel image is invalid)|"
        r"GPU is lost|fallen off the bus|NVRM: Xid",
    ),
    _of(
        _N,
        "CUDAFault",
        r"CUBLAS_STATUS_(?:EXECUTION_FAILED|INTERNAL_ERROR|NOT_INITIALIZED)|CUDNN_STATUS_\w*FAILED",
    ),
    _of(_N, "NCCLTimeout", r"Watchdog caught collective operation timeout: WorkNCCL\("),
    _of(
        _N,
        "NCCLTimeout",
        r"wait timeout after \d+ms|Timed out after \d+ seconds? waiting for clients|"
        r"DistStoreError|DistNetworkError.*timed out|wait_?for_?workers.*timed out",
    ),
    _of(
        _N,
        "NCCLError",
        r"NCCL error in:|ncclSystemError|ncclUnhandledCudaError|ncclInternalError|ncclRemoteError",
    ),
    _of(_N, "NCCLError", r"NCCL error: |NCCL WARN .*(?:failed|error)"),
    _of(_N, "CUDAFault", r"(?:torch\.AcceleratorError|RuntimeError): CUDA error: "),
    # --- What merely died
    _of(
        _G,
        "StubTimeout",
        r"Timed out occurred while waiting for the stub process|Failed to obtain the health mutex",
    ),
    _of(_G, "PythonStubDied", r"Stub process .*is not healthy|Stub process is (?:not healthy|unhealthy)"),
    _of(
        _G,
        "PythonStubDied",
        r"Failed to (?:run python backend stub|fork the stub process)|Launch stub process failed",
    ),
    _of(
        _G,
        "EngineDead",
        r"EngineDeadError|EngineCore encountered an issue|Background loop (?:has errored|is stopped)",
    ),
    _of(
        _G,
        "EngineDead",
        r"Model is unavailable due to unhealthy vLLM engine|Engine core proc \S+ died unexpectedly",
    ),
    _of(_G, "EngineDead", r"Worker proc \S+ died unexpectedly"),
)

#: Repeats of a line that mean more than the line: after loading, workers wait for each other for minutes.
HUNG: Final = re.compile(r"No available shared memory broadcast block found in \d+ seconds")
HUNG_REPEATS: Final = 5

#: Lines that only point at the cause.
WRAPPERS: Final = re.compile(
    r"See root cause above|creating server: |failed to load all models|failed to load '.*' version|"
    r"During handling of the above exception|The above exception was the|"
    r"EngineCore failed to start|EngineCore hit an exception|TritonModelException|"
    r"WorkerProc initialization failed|"
    r"CalledProcessError|cancelled|KeyboardInterrupt|SystemExit|EngineDeadError"
)

#: Errors that Triton prints on every machine without a GPU.
HARMLESS: Final = re.compile(r"Failed to initialize NVML|CudaDriverHelper has not been initialized")

#: Lines after which the program went on.
RECOVERED: Final = re.compile(
    r"(?i)fall(?:ing|s)?[ -]?back|fallback|retry(?:ing)?\b|will be (?:ignored|retried)|ignoring|skipping|"
    r"FutureWarning|DeprecationWarning|UserWarning"
)
