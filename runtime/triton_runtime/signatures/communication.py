"""Between GPUs, and the GPU itself."""

from typing import Final

from triton_runtime.signatures.table import Group, Signature, row

_N: Final = Group.COMMUNICATION

ROWS: Final[tuple[Signature, ...]] = (
    row(
        _N,
        "CUDAFault",
        r"uncorrectable ECC error|ECC error encountered|GPU is lost|fallen off the bus|NVRM: Xid|\bXid \(|"
        r"hardware stack error|uncorrectable NVLink error|CUDA error: (?:unrecoverable|device is lost)",
        "the GPU's hardware failed: {line}",
        "cordon and drain the node, have the GPU reset and checked (nvidia-smi -q, dmesg)",
    ),
    row(
        _N,
        "CUDAFault",
        r"an illegal memory access was encountered|device-side assert triggered|"
        r"unspecified launch failure|misaligned address|an illegal instruction was encountered|"
        r"CUDA error: (?:unknown error|an internal operation failed|invalid argument|invalid configuration)|"
        r"CUBLAS_STATUS_(?:EXECUTION_FAILED|INTERNAL_ERROR)|CUDNN_STATUS_\w*FAILED",
        "a kernel failed on the GPU: {line}",
        "use a newer image, or another attention backend or quantization: a kernel's fault, seen on every "
        "node; "
        "only if one node alone shows it have its GPU checked",
    ),
    row(
        _N,
        "CUDAFault",
        r"CUBLAS_STATUS_NOT_INITIALIZED",
        remedy="lower `spec.engineArgs.gpu_memory_utilization` (cuBLAS finds no memory for itself), and "
        "set no "
        "LD_LIBRARY_PATH with another CUDA's libraries",
    ),
    row(
        _N,
        "NCCLError",
        r"NVLS|nvls\.cc|NVLink SHARP|[Mm]ulticast (?:memory|object|group)",
        remedy="set NCCL_NVLS_ENABLE=0 in `spec.runtime.env`: NVLink SHARP is not usable on the node "
        "(fabric manager, NVSwitch)",
    ),
    row(_N, "NCCLTimeout", r"Watchdog caught collective operation timeout: WorkNCCL\("),
    row(
        _N,
        "NCCLTimeout",
        r"wait timeout after \d+ms|Timed out after \d+ seconds? waiting for clients|"
        r"DistStoreError|DistNetworkError.*timed out|wait_?for_?workers.*timed out",
    ),
    row(
        _N,
        "NCCLError",
        r"NCCL error in:|ncclSystemError|ncclUnhandledCudaError|ncclInternalError|ncclRemoteError|"
        r"ncclInvalid\w+",
    ),
    row(
        _N, "NCCLError", r"NCCL error: |NCCL WARN .*(?:failed|error)|NCCL version .*(?:mismatch|incompatible)"
    ),
    row(
        _N,
        "NCCLError",
        r"DistBackendError|DistNetworkError|Connection closed by peer|gloo.*(?:failed|error|closed)",
    ),
    row(
        _N,
        "CUDAFault",
        r"(?:torch\.AcceleratorError|RuntimeError): CUDA error: ",
        remedy="look CUDA's error up; a fault of the hardware it is only if the node's dmesg names an Xid",
        last=True,
    ),
)
