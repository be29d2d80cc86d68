"""What the node's driver and GPUs can do, and whether they are ready."""

from typing import Final

from triton_runtime.signatures.table import Group, Signature, row

_P: Final = Group.CAPABILITY
_NEWER_IMAGE: Final = (
    "use an image that was built for this GPU (a newer one), or choose a node with another GPU"
)
_BACKEND: Final = (
    "choose a node with another GPU, or another attention backend in `spec.engineArgs.attention_config`"
)
_HIDDEN: Final = (
    "check the device plugin, `spec.scheduling.runtimeClassName`, and that neither the image nor a webhook "
    "sets CUDA_VISIBLE_DEVICES: the device plugin chooses the pod's GPUs"
)

ROWS: Final[tuple[Signature, ...]] = (
    row(
        _P,
        "NoGPUVisible",
        r"number of (?:available GPUs|visible devices) \(0\)|is out of bounds for 0 devices|"
        r"max local gpu count \(0\)",
        "the container sees no GPU: {line}",
        _HIDDEN,
    ),
    row(
        _P,
        "NoGPUVisible",
        r"NVMLError_(?:InvalidArgument|NotFound)",
        "the container sees no GPU of the number that CUDA_VISIBLE_DEVICES names: {line}",
        _HIDDEN,
        frame=r":nvmlDeviceGetHandleBy\w+$",
    ),
    row(
        _P,
        "NotEnoughGPUs",
        r"World size \((?P<world>\d+)\) is larger than the number of available GPUs \((?P<has>\d+)\)",
        "the engine arguments need {world} GPUs, the pod has {has}",
    ),
    row(
        _P,
        "NotEnoughGPUs",
        r"local_world_size \((?P<world>\d+)\) must be less than or equal to the number of visible devices"
        r" \((?P<has>\d+)\)",
        "the engine arguments need {world} GPUs, the pod has {has}",
    ),
    row(_P, "NotEnoughGPUs", r"please ensure that world_size \(\d+\) is less than than max local gpu count"),
    row(
        _P, "NotEnoughGPUs", r"CUDA error: invalid device ordinal|DP adjusted local rank \d+ is out of bounds"
    ),
    row(_P, "NotEnoughGPUs", r"Duplicate GPU detected ?: rank"),
    row(
        _P,
        "GPUNotReady",
        r"[Ee]rror 802|system not yet initialized|cudaErrorSystemNotReady",
        "CUDA says 802, system not yet initialized: the fabric manager of the node has not set up NVSwitch",
        "start nvidia-fabricmanager on the node, in the driver's version, and look at its log; the pod then "
        "starts by itself",
    ),
    row(
        _P,
        "GPUNotReady",
        r"all CUDA-capable devices are busy or unavailable|CUDA-capable device\(s\) is/are busy|"
        r"cudaErrorDevicesUnavailable|exclusive-(?:thread|process) device already in use|"
        r"[Cc]ompute [Mm]ode.*[Ee]xclusive|[Ee]xclusive.*[Cc]ompute mode",
        remedy="end the other process on the GPU, or set the node's compute mode to Default (nvidia-smi "
        "-c 0): in "
        "exclusive mode one process alone may use it; the pod then starts by itself",
    ),
    row(
        _P,
        "GPUNotReady",
        r"MPS (?:client|server|control)|\bMPS\b.*(?:failed|not ready|exhausted|connect)|CUDA_ERROR_MPS|"
        r"cudaErrorMps|[Ee]rror 80[5-9]",
        remedy="check the MPS daemon of the node (nvidia-cuda-mps-control); the pod then starts by itself",
    ),
    row(
        _P,
        "GPUNotReady",
        r"Driver/library version mismatch|LibRmVersionMismatch",
        remedy="restart the node, or reload its driver: the driver was updated under the running kernel "
        "module",
    ),
    row(
        _P,
        "GPUNotReady",
        r"GPU (?:requires|needs) (?:a )?reset|CUDA unknown error - this may be due to an incorrectly set up|"
        r"Error 999: unknown error|CUDA driver initialization failed",
        remedy="check the node's GPU (nvidia-smi, the module nvidia_uvm, dmesg), and reset it or restart "
        "the node",
    ),
    row(
        _P,
        "DriverTooOld",
        r"The NVIDIA driver on your system is too old \(found version (?P<version>\d+)\)",
        "the node's NVIDIA driver supports CUDA {version} only, the image needs a newer one",
    ),
    row(
        _P,
        "DriverTooOld",
        r"(?<!will not be available: )CUDA driver version is insufficient for CUDA runtime version",
    ),
    row(
        _P,
        "DriverTooOld",
        r"[Ee]rror 80[34]|unsupported display driver / cuda driver combination|"
        r"forward compatibility was attempted on non supported HW|cudaErrorSystemDriverMismatch|"
        r"cudaErrorCompatNotSupportedOnDevice",
        remedy="update the node's driver or use an older image: the image's cuda-compat library shadows "
        "the node's "
        "driver, so it must not be on LD_LIBRARY_PATH for this GPU and driver",
    ),
    row(_P, "DriverTooOld", r"the provided PTX was compiled with an unsupported toolchain"),
    row(
        _P,
        "UnsupportedGPU",
        r"no kernel image is available for execution on the device|cudaErrorNoKernelImageForDevice|"
        r"device kernel image is invalid",
        "the image was not built for this GPU: {line}",
        _NEWER_IMAGE + "; a newer driver does not help",
    ),
    row(
        _P,
        "UnsupportedGPU",
        r"ptxas fatal\s*: .*(?:gpu-name|sm_\d+)|Unsupported gpu architecture|Unknown CUDA arch|"
        r"is not a recognized processor|[Vv]alue 'sm_\w+' is not defined|sm_\d+\w* is not (?:supported|"
        r"compatible)|"
        r"unknown (?:target|arch\w*) .*sm_|No supported CUDA architectures found|"
        r"SM \d+\.x requires CUDA|[Uu]nsupported (?:arch|architecture|SM|sm_)|"
        r"not compatible with the current PyTorch installation",
        remedy=_NEWER_IMAGE,
    ),
    row(
        _P,
        "UnsupportedGPU",
        r"Bfloat16 is only supported on GPUs with compute capability of at least (?P<need>[\d.]+)\."
        r" Your (?P<gpu>.*?) GPU has compute capability (?P<has>\d+\.\d+)",
        "bfloat16 needs compute capability {need}, the {gpu} has {has}",
        "set `spec.engineArgs.dtype` to half, or choose a node with another GPU",
    ),
    row(
        _P,
        "UnsupportedGPU",
        r"Bfloat16 is only supported on GPUs",
        remedy="set `spec.engineArgs.dtype` to half, or choose a node with another GPU",
    ),
    row(
        _P,
        "UnsupportedGPU",
        r"(?:quantization method \S+|Quantization scheme) is not supported for the current GPU\."
        r" (?:Minimum capability|Min capability): (?P<need>\d+)",
        remedy="use a model in another quantization, or choose a node with a GPU of compute capability "
        "{need} "
        "(in tenths) or more",
    ),
    row(
        _P,
        "UnsupportedGPU",
        r"fp8e4nv|fp8e4b8|FP8 KV cache is not supported|fp8 (?:kv.?cache )?is not supported|"
        r"--kv-cache-dtype (?:auto|fp8_e5m2)",
        remedy="set `spec.engineArgs.kv_cache_dtype` to auto (FP8 needs compute capability 8.9), use a "
        "model that "
        "is not in FP8, or choose a node with another GPU",
    ),
    row(
        _P,
        "UnsupportedGPU",
        r"No valid (?:attention|MLA prefill) backend found|Selected backend \S+ is not valid|"
        r"Invalid attention backend for|"
        r"(?:attention backend|FlashMLA|FlashAttention|\bFLASH|FlashInfer).*(?:not supported|only supported|"
        r"requires (?:GPUs|SM|sm|compute))|compute capability not supported",
        remedy=_BACKEND,
    ),
    row(
        _P,
        "UnsupportedGPU",
        r"OutOfResources|out of resource: |too much shared data|uses too much shared|"
        r"exceeds the (?:maximum|available) shared memory|CUDA error: too many resources requested for "
        r"launch",
        remedy="choose a node with another GPU (its kernels get more shared memory), or another attention "
        "backend "
        "in `spec.engineArgs.attention_config`",
    ),
    row(
        _P,
        "UnsupportedGPU",
        r"Failed to find a kernel that can implement|No compiled \w+ for|"
        r"for a compute capability (?:less|lower|greater) than|not (?:compiled|built) for (?:this|SM|sm_)|"
        r"(?:[Mm]in(?:imum)? capability|requires? (?:GPU )?compute capability|[Rr]equires? (?:SM|sm_?)\d+|"
        r"only supported on (?:Hopper|Blackwell|CUDA|GPUs? with)|"
        r"is not supported (?:on|by|for) (?:this|your|the current) (?:GPU|device|hardware))",
        remedy="choose a node with another GPU, or a model in another quantization or dtype",
    ),
    row(
        _P,
        "NoGPUVisible",
        r"NVMLError_DriverNotLoaded|Failed to infer device type|Device string must not be empty|NVML "
        r"Shared Library Not Found$",
    ),
    row(_P, "NoGPUVisible", r"No CUDA GPUs are available|no CUDA-capable device is detected"),
    row(_P, "NoGPUVisible", r"libcuda\.so(?:\.1)?: cannot open|Found no NVIDIA driver on your system"),
    row(_P, "NoGPUVisible", r"0 active drivers? \(\[\]\)\. There should only be one"),
)
