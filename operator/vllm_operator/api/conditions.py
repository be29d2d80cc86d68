"""Condition types, reasons, and what is known to be wrong with a spec.

The reasons are one closed list: the status, the docs and the container's classifier use these names.
"""

from dataclasses import dataclass
from enum import StrEnum


class ConditionType(StrEnum):
    """Types of `status.conditions`; what True means is in docs/conditions.md."""

    READY = "Ready"
    AVAILABLE = "Available"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    REPOSITORY_READY = "RepositoryReady"
    PODS_READY = "PodsReady"
    MODEL_SERVING = "ModelServing"


class Reason(StrEnum):
    """Why a condition has its status: the root cause in one CamelCase word."""

    # States
    PENDING = "Pending"
    RECONCILING = "Reconciling"
    LOADING_MODEL = "LoadingModel"
    SERVING = "Serving"
    ROLLING_OUT = "RollingOut"
    WAITING_FOR_GPU = "WaitingForGPU"
    SCALED_TO_ZERO = "ScaledToZero"
    PAUSED = "Paused"
    DELETING = "Deleting"
    WAITING_FOR_OLD_PODS = "WaitingForOldPods"
    WAITING_FOR_QUOTA = "WaitingForQuota"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    RECONCILE_FAILED = "ReconcileFailed"
    # The spec
    INVALID_SPEC = "InvalidSpec"
    INVALID_ENGINE_ARGS = "InvalidEngineArgs"
    ENGINE_ARG_NOT_PERMITTED = "EngineArgNotPermitted"
    IMAGE_NOT_ALLOWED = "ImageNotAllowed"
    NAME_CONFLICT = "NameConflict"
    # The probe
    PROBE_FAILED = "ProbeFailed"
    PROBE_TIMEOUT = "ProbeTimeout"
    PROBE_UNREACHABLE = "ProbeUnreachable"
    PROBE_PROTOCOL_ERROR = "ProbeProtocolError"
    VERDICT_STALE = "VerdictStale"
    # What the pod refers to
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, not a secret
    PERSISTENT_VOLUME_CLAIM_NOT_FOUND = "PersistentVolumeClaimNotFound"
    PERSISTENT_VOLUME_CLAIM_NOT_BOUND = "PersistentVolumeClaimNotBound"
    CONFIG_REFERENCE_MISSING = "ConfigReferenceMissing"
    # Files
    MODEL_FILES_MISSING = "ModelFilesMissing"
    MODEL_FILES_UNREADABLE = "ModelFilesUnreadable"
    MODEL_FILES_CORRUPT = "ModelFilesCorrupt"
    WEIGHTS_CORRUPT = "WeightsCorrupt"
    UNSAFE_WEIGHTS_FORMAT = "UnsafeWeightsFormat"
    ADAPTER_INVALID = "AdapterInvalid"
    TOKENIZER_INVALID = "TokenizerInvalid"
    MODEL_CONFIG_MISSING = "ModelConfigMissing"
    # Access
    MODEL_ACCESS_DENIED = "ModelAccessDenied"
    MODEL_NOT_FOUND = "ModelNotFound"
    MODEL_REVISION_NOT_FOUND = "ModelRevisionNotFound"
    NETWORK_UNAVAILABLE = "NetworkUnavailable"
    # Capability
    MAX_MODEL_LEN_EXCEEDS_MODEL = "MaxModelLenExceedsModel"
    NOT_ENOUGH_GPUS = "NotEnoughGPUs"
    TENSOR_PARALLEL_INCOMPATIBLE = "TensorParallelIncompatible"
    DRIVER_TOO_OLD = "DriverTooOld"
    NO_GPU_VISIBLE = "NoGPUVisible"
    UNSUPPORTED_GPU = "UnsupportedGPU"
    UNSUPPORTED_ARCHITECTURE = "UnsupportedArchitecture"
    REMOTE_CODE_REQUIRED = "RemoteCodeRequired"
    QUANTIZATION_MISMATCH = "QuantizationMismatch"
    TASK_UNSUPPORTED = "TaskUnsupported"
    BACKEND_MISSING = "BackendMissing"
    BACKEND_VERSION_MISMATCH = "BackendVersionMismatch"
    # Memory, disk and communication
    GPU_OUT_OF_MEMORY = "GPUOutOfMemory"
    GPU_MEMORY_BUSY = "GPUMemoryBusy"
    KV_CACHE_TOO_SMALL = "KVCacheTooSmall"
    HOST_OUT_OF_MEMORY = "HostOutOfMemory"
    DISK_FULL = "DiskFull"
    SHARED_MEMORY_TOO_SMALL = "SharedMemoryTooSmall"
    NCCL_ERROR = "NCCLError"
    NCCL_TIMEOUT = "NCCLTimeout"
    CUDA_FAULT = "CUDAFault"
    # The process and the pod
    ENGINE_HUNG = "EngineHung"
    ENGINE_DEAD = "EngineDead"
    PYTHON_STUB_DIED = "PythonStubDied"
    STUB_TIMEOUT = "StubTimeout"
    PROBE_KILLED = "ProbeKilled"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    UNSCHEDULABLE = "Unschedulable"
    NODE_LOST = "NodeLost"
    POD_STUCK_TERMINATING = "PodStuckTerminating"
    ADMISSION_REJECTED = "AdmissionRejected"
    CONTAINER_CRASHED = "ContainerCrashed"
    # Images, caches and nodes
    CACHE_NOT_WRITABLE = "CacheNotWritable"
    KERNEL_BUILD_FAILED = "KernelBuildFailed"
    WEIGHTS_MISMATCH = "WeightsMismatch"
    COMPILE_CACHE_CORRUPT = "CompileCacheCorrupt"
    GPU_NOT_READY = "GPUNotReady"
    ENGINE_START_TIMEOUT = "EngineStartTimeout"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a VLLMModel, found before any child is changed.

    `stalled` is True where only a change of the spec can cure it, False where it may heal by itself
    (a foreign object under a child's name may be deleted by its owner).
    """

    reason: Reason
    message: str
    stalled: bool = True
