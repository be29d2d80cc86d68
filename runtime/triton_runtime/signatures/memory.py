"""Memory of the GPU and of the container."""

from typing import Final

from triton_runtime.signatures.figures import share
from triton_runtime.signatures.table import Group, Signature, row

_M: Final = Group.MEMORY
_TOO_MUCH: Final = r"CUDA out of memory|OutOfMemoryError|CUDA error: out of memory|cudaErrorMemoryAllocation"

ROWS: Final[tuple[Signature, ...]] = (
    row(
        _M,
        "GPUMemoryBusy",
        r"Free memory on device\s*\S* \((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup is less than"
        r" desired GPU memory utilization \((?P<share>[\d.]+), (?P<wanted>[\d.]+) GiB\)",
        "only {free} of {total} GiB of GPU memory is free, gpu_memory_utilization {share} wants {wanted} GiB",
        "{cure}",
        figures=share,
    ),
    row(_M, "GPUMemoryBusy", r"Free memory on device .*is less than the engine's budget"),
    row(
        _M,
        "GPUMemoryBusy",
        r"CUDA error: out of memory",
        "the GPU's memory was used up before the model took any of it",
        "end what else uses the GPU, or choose a node whose GPU is free (nvidia-smi shows both)",
        frame=r":(?:init_device|_?(?:cuda|lazy)_init|set_device)$",
    ),
    row(
        _M,
        "GPUMemoryBusy",
        r"Error in memory profiling\. Initial free memory",
        "GPU memory was taken or freed by another process while vLLM measured it",
        "let one process alone use the GPU, or start the models on it one after the other",
    ),
    row(
        _M,
        "KVCacheTooSmall",
        r"max_num_seqs \((?P<seqs>\d+)\) exceeds available Mamba cache blocks \((?P<blocks>\d+)\)",
        "max_num_seqs is {seqs}, the cache has {blocks} Mamba blocks, one for each sequence",
        "set `spec.engineArgs.max_num_seqs` to {blocks} or less, or raise `gpu_memory_utilization`",
    ),
    row(
        _M,
        "KVCacheTooSmall",
        r"max seq len \((?P<len>\d+)\),? \(?(?P<need>[\d.]+) GiB KV cache is needed, which is larger than the"
        r" available KV cache memory \((?P<has>[\d.]+) GiB\).*?estimated maximum model length is "
        r"(?P<est>\d+)",
        "max_model_len {len} needs {need} GiB of KV cache, {has} GiB is there: enough for {est} tokens",
        "set `spec.engineArgs.max_model_len` to {est} or less, or raise `gpu_memory_utilization`",
    ),
    row(
        _M,
        "KVCacheTooSmall",
        r"max seq len \((?P<len>\d+)\),? \(?(?P<need>[\d.]+) GiB KV cache is needed, which is larger than the"
        r" available KV cache memory \((?P<has>[\d.]+) GiB\)",
        "max_model_len {len} needs {need} GiB of KV cache, {has} GiB is there",
    ),
    row(
        _M,
        "KVCacheTooSmall",
        r"max seq len \((?P<len>\d+)\) is larger than the maximum number of tokens that"
        r" can be stored in KV cache \((?P<est>\d+)\)",
        "max_model_len is {len}, the KV cache holds {est} tokens",
        "set `spec.engineArgs.max_model_len` to {est} or less, or raise `gpu_memory_utilization`",
    ),
    row(
        _M,
        "KVCacheTooSmall",
        r"No available memory for the cache blocks",
        remedy="raise `spec.engineArgs.gpu_memory_utilization`, or leave more room beside the weights: a "
        "quantized "
        "model, a larger `tensor_parallel_size`, a smaller `max_num_batched_tokens`",
    ),
    row(
        _M,
        "KVCacheTooSmall",
        r"(?:Not enough|[Ii]nsufficient|too (?:small|few)).*(?:KV cache|cache blocks|Mamba)|"
        r"num_gpu_blocks\S* .*(?:must|too)",
    ),
    row(
        _M,
        "GPUOutOfMemory",
        r"out of memory occurred when warming up (?P<what>sampler|pooler) with (?P<count>\d+)",
        "the GPU's memory is used up at the warm-up of the {what} with {count} requests",
        "set `spec.engineArgs.max_num_seqs` to less than {count}, or lower `gpu_memory_utilization`",
    ),
    row(
        _M,
        "GPUOutOfMemory",
        r"out of memory occurred when warming up",
        remedy="lower `spec.engineArgs.max_num_seqs` or `gpu_memory_utilization`",
    ),
    row(
        _M,
        "GPUOutOfMemory",
        _TOO_MUCH,
        "the GPU's memory is used up at the capture of CUDA graphs: {line}",
        "lower `spec.engineArgs.gpu_memory_utilization` (the KV cache leaves too little), or "
        "`max_cudagraph_capture_size` in `compilation_config`",
        # Not compilation/cuda_graph.py: it calls the model whether it captures or not.
        frame=r"capture_model|capture_cudagraph|_capture\b|cudagraph_capture|torch/cuda/graphs",
    ),
    row(
        _M,
        "GPUOutOfMemory",
        _TOO_MUCH,
        "the GPU's memory is used up as the weights are loaded: {line}",
        "raise `tensor_parallel_size` with `spec.gpus.count`, use a quantized model, or a larger GPU",
        frame=r":(?:load_model|create_weights|load_weights)$|model_loader/",
    ),
    row(
        _M,
        "GPUOutOfMemory",
        _TOO_MUCH,
        "the GPU's memory is used up by a trial run of full size: {line}",
        "lower `spec.engineArgs.max_num_batched_tokens`, `max_num_seqs` or `max_model_len`, or raise "
        "`tensor_parallel_size`",
        # Before the KV cache: vLLM 0.26 makes the trial run within _initialize_kv_caches.
        frame=r":(?:profile_run|determine_available_memory|_dummy_run)$",
    ),
    row(
        _M,
        "GPUOutOfMemory",
        _TOO_MUCH,
        "the GPU's memory is used up by the KV cache: {line}",
        "lower `spec.engineArgs.gpu_memory_utilization`",
        frame=r":_?(?:allocate_kv_cache\w*|initialize_kv_cache\w*|initialize_from_config)$",
    ),
    row(
        _M,
        "GPUOutOfMemory",
        _TOO_MUCH,
        "the GPU's memory is used up while serving: {line}",
        "lower `spec.engineArgs.gpu_memory_utilization`, `max_num_seqs` or `max_num_batched_tokens`",
        frame=r":(?:execute_model|sample_tokens|run_busy_loop)$",
    ),
    row(
        _M,
        "GPUOutOfMemory",
        r"CUDA out of memory\. Tried to allocate (?P<size>[\d.]+ \w+)"
        r"(?:\. GPU \d+ has a total capac\w+ of (?P<total>[\d.]+ \w+))?",
        "the GPU's memory is used up ({size} more was asked for)",
    ),
    row(
        _M,
        "GPUOutOfMemory",
        r"CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED|cudaErrorMemoryAllocation|"
        r"CUDA_ERROR_OUT_OF_MEMORY|not enough GPU memory|HIP out of memory",
    ),
    row(_M, "GPUOutOfMemory", r"torch\.(?:cuda\.)?OutOfMemoryError"),
    row(
        _M,
        "SharedMemoryTooSmall",
        r"If you are running Triton inside docker, use '--shm-size'",
        "the pod's shared memory (/dev/shm) is too small for Triton",
    ),
    row(
        _M,
        "SharedMemoryTooSmall",
        r"[Uu]nable to (?:allocate|open|mmap|resize|write to) (?:\d+ bytes from )?(?:file|shared memory)\S* "
        r"?\S*(?:/torch_|shm)|"
        r"unable to allocate shared memory ?\(shm\)|insufficient shared memory \(shm\)",
    ),
    row(
        _M,
        "SharedMemoryTooSmall",
        r"Error while creating shared memory segment|failed to extend /dev/shm|"
        r"/dev/shm.*(?:No space left on device|[Ee]rrno 28)|"
        r"(?:No space left on device|[Ee]rrno 28).*(?:/dev/shm|[Ss]hared memory|psm_|nccl-)|"
        r"posix_fallocate failed|Fatal Python error: Bus error|Unexpected bus error|"
        r"(?:[Nn]ot enough|[Ii]nsufficient) (?:space in )?(?:/dev/shm|shared memory)",
    ),
    row(_M, "HostOutOfMemory", r"DefaultCPUAllocator: (?:can't allocate|not enough) memory"),
    row(
        _M,
        "HostOutOfMemory",
        r"\[Errno 12\] Cannot allocate memory|(?:^|\s)MemoryError(?:$|:)|std::bad_alloc|"
        r"Cannot allocate memory \((?:os error )?12\)|cudaErrorHostMemory|"
        r"(?:pin|cudaHostAlloc|cudaHostRegister).*out of memory",
    ),
)
