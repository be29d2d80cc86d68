"""An example of each crash that the container's entry point names: what a log says of it."""

from collections.abc import Mapping
from typing import Final

from vllm_operator.api.conditions import Reason

EXAMPLES: Final[Mapping[Reason, str]] = {
    # The spec
    Reason.INVALID_ENGINE_ARGS: (
        "ValidationError: 1 validation error for CacheConfig: gpu_memory_utilization: Input should be less "
        "than or equal to 1"
    ),
    # Files
    Reason.MODEL_FILES_MISSING: "OSError: /source does not appear to have a file named config.json",
    Reason.MODEL_FILES_UNREADABLE: "PermissionError: [Errno 13] Permission denied: '/source/config.json'",
    Reason.MODEL_FILES_CORRUPT: "OSError: the config file at '/source/config.json' is not a valid JSON file",
    Reason.WEIGHTS_CORRUPT: (
        "SafetensorError: Error while deserializing header: incomplete metadata, file not fully covered"
    ),
    Reason.UNSAFE_WEIGHTS_FORMAT: "UnpicklingError: Weights only load failed",
    Reason.ADAPTER_INVALID: "ValueError: LoRA rank 64 is greater than max_lora_rank 16",
    Reason.TOKENIZER_INVALID: "OSError: Can't load tokenizer for '/source'",
    Reason.MODEL_CONFIG_MISSING: "Poll failed for model directory 'chat': failed to open text file for read",
    # Access
    Reason.MODEL_ACCESS_DENIED: "GatedRepoError: 403 Client Error. Cannot access gated repo for url ...",
    Reason.MODEL_NOT_FOUND: "RepositoryNotFoundError: 401 Client Error. Repository Not Found for url ...",
    Reason.MODEL_REVISION_NOT_FOUND: "RevisionNotFoundError: 404 Client Error. Revision Not Found for url",
    Reason.NETWORK_UNAVAILABLE: "OSError: We couldn't connect to 'https://huggingface.co' to load the files",
    # Capability
    Reason.MAX_MODEL_LEN_EXCEEDS_MODEL: (
        "ValueError: User-specified max_model_len (65536) is greater than the derived max_model_len "
        "(max_position_embeddings=32768)"
    ),
    Reason.NOT_ENOUGH_GPUS: "World size (4) is larger than the number of available GPUs (1) in this node",
    Reason.TENSOR_PARALLEL_INCOMPATIBLE: (
        "ValueError: Total number of attention heads (28) must be divisible by tensor parallel size (8)"
    ),
    Reason.DRIVER_TOO_OLD: "RuntimeError: The NVIDIA driver on your system is too old (found version 12040)",
    Reason.NO_GPU_VISIBLE: "RuntimeError: No CUDA GPUs are available",
    Reason.UNSUPPORTED_GPU: (
        "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla "
        "T4 GPU has compute capability 7.5"
    ),
    Reason.UNSUPPORTED_ARCHITECTURE: "Model architectures ['FooForCausalLM'] are not supported for now",
    Reason.REMOTE_CODE_REQUIRED: (
        "The repository /source contains custom code which must be executed to correctly load the model"
    ),
    Reason.QUANTIZATION_MISMATCH: (
        "Quantization method specified in the model config (fp8) does not match the quantization method "
        "specified in the `quantization` argument (awq)"
    ),
    Reason.TASK_UNSUPPORTED: "ValueError: Unsupported task: 'embed' Supported tasks: ['generate']",
    Reason.BACKEND_MISSING: "unable to find backend library for backend 'vllm', try specifying runtime",
    Reason.BACKEND_VERSION_MISMATCH: "ImportError: .../vllm/_C.abi3.so: undefined symbol: _ZN3c10...",
    # Memory, disk and communication
    Reason.GPU_OUT_OF_MEMORY: "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.47 GiB",
    Reason.GPU_MEMORY_BUSY: (
        "ValueError: Free memory on device cuda:0 (19.77/22.05 GiB) on startup is less than desired GPU "
        "memory utilization (0.9, 19.84 GiB)"
    ),
    Reason.KV_CACHE_TOO_SMALL: (
        "ValueError: To serve at least one request with the model's max seq len (132000), 4.12 GiB KV cache "
        "is needed, which is larger than the available KV cache memory (3.86 GiB)"
    ),
    Reason.HOST_OUT_OF_MEMORY: "OOMKilled, exit code 137",
    Reason.DISK_FULL: "OSError: [Errno 28] No space left on device: '/cache/huggingface/...'",
    Reason.SHARED_MEMORY_TOO_SMALL: "NCCL WARN Error while creating shared memory segment /dev/shm/nccl-...",
    Reason.NCCL_ERROR: "DistBackendError: NCCL error in: NCCLUtils.cpp:94, unhandled cuda error",
    Reason.NCCL_TIMEOUT: "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, ...)",
    Reason.CUDA_FAULT: "torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered",
    # The process
    Reason.ENGINE_DEAD: "Engine core proc EngineCore_DP0 died unexpectedly, shutting down client",
    Reason.PYTHON_STUB_DIED: "Stub process 'chat_0_0' is not healthy",
    Reason.STUB_TIMEOUT: "Timed out occurred while waiting for the stub process",
    Reason.CONTAINER_CRASHED: "tritonserver ended with exit code 1",
    # Images, caches and nodes
    Reason.CACHE_NOT_WRITABLE: "PermissionError: [Errno 13] Permission denied: '/cache/triton'",
    Reason.KERNEL_BUILD_FAILED: (
        "RuntimeError: Could not find nvcc and default cuda_home='/usr/local/cuda' doesn't exist"
    ),
    Reason.WEIGHTS_MISMATCH: (
        "ValueError: Following weights were not initialized from checkpoint: {'model.layers.3...'}"
    ),
    Reason.COMPILE_CACHE_CORRUPT: (
        "UnpicklingError: pickle data was truncated, raised below .../torch_compile_cache/..."
    ),
    Reason.GPU_NOT_READY: "RuntimeError: Error 802: system not yet initialized",
    Reason.ENGINE_START_TIMEOUT: (
        "TimeoutError: Timed out waiting for engine core processes to start. Waited 600s (configured by "
        "VLLM_ENGINE_READY_TIMEOUT_S)"
    ),
}
