"""The documentation of every reason: what it says, how it is told, what to do."""

from collections.abc import Mapping
from typing import Final

from vllm_operator.api.conditions import Reason
from vllm_operator.status.examples import EXAMPLES
from vllm_operator.status.remedies import ADVICE, SPEC_CURABLE

_LOG: Final = "The container's entry point finds it in the output of Triton and vLLM: "

#: How each reason is told from others.
SIGNS: Final[Mapping[Reason, str]] = {
    Reason.PENDING: "No pod of the revision runs yet, and nothing is known to be wrong.",
    Reason.RECONCILING: "The operator has work to do for this generation.",
    Reason.LOADING_MODEL: (
        "A container runs and its model has not answered an inference of the operator yet. No "
        "percentage is shown: Triton opens its ports only when the model is loaded."
    ),
    Reason.SERVING: "Every pod that is asked for has answered an inference.",
    Reason.ROLLING_OUT: (
        "Pods of two revisions exist, or `kubectl rollout restart` made new ones of the same."
    ),
    Reason.WAITING_FOR_GPU: (
        "The scheduler finds `Insufficient` GPUs for a new pod while an old one serves."
    ),
    Reason.SCALED_TO_ZERO: (
        "`spec.replicas` is 0. Ready is True, so that waiting tools end; Available is False."
    ),
    Reason.PAUSED: "`spec.paused` is true.",
    Reason.DELETING: (
        "The VLLMModel has a `deletionTimestamp` and something keeps it: a finalizer of somebody else, or a "
        "deletion in the foreground that waits for its pods."
    ),
    Reason.WAITING_FOR_OLD_PODS: (
        "The scheduler finds no room for the new pod, or the Deployment waits with its creation, while a pod "
        "of the model is Terminating or an old one that serves nothing is there."
    ),
    Reason.WAITING_FOR_QUOTA: "`exceeded quota` for a pod of the new revision while an old one serves.",
    Reason.PROGRESS_DEADLINE_EXCEEDED: (
        "The Deployment says so: no pod has come further for the start-up timeout and 20 minutes. The newest "
        "Warning event of the pod is quoted, such as FailedMount, FailedAttachVolume or "
        "FailedCreatePodSandBox."
    ),
    Reason.RECONCILE_FAILED: (
        "Writing the children has failed for longer than a probe period. Ready is Unknown; the pods that "
        "serve go on, and Available says so."
    ),
    Reason.VERDICT_STALE: (
        "No probe of the pod has ended for two probe periods, or no operator has run for ten minutes. It is "
        "Unknown, not False: nothing speaks against the model."
    ),
    Reason.NODE_LOST: (
        "Ready of the pod is False while ContainersReady is True: the node controller does that when the "
        "node's kubelet is no longer heard of. The pod may well go on."
    ),
    Reason.POD_STUCK_TERMINATING: "The pod's grace period is over and it still exists.",
    Reason.INVALID_SPEC: (
        "The spec breaks a rule that the API server does not know, such as a variable that is not on "
        "the administrator's list. Nothing of it is applied."
    ),
    Reason.INVALID_ENGINE_ARGS: (
        "The operator compares `spec.engineArgs` with the vLLM version of the image, before any pod "
        "exists; or vLLM itself refuses them when it starts."
    ),
    Reason.ENGINE_ARG_NOT_PERMITTED: (
        "The argument loads code or another artefact, or is new to the operator, and is not in the "
        "administrator's `permittedEngineArgs`."
    ),
    Reason.IMAGE_NOT_ALLOWED: "`spec.runtime.image` is not in the administrator's `allowedImages`.",
    Reason.NAME_CONFLICT: (
        "An object with the name of a child exists and is not owned by the VLLMModel. It is left as it is."
    ),
    Reason.PROBE_FAILED: (
        "The inference was answered with an error or with the wrong text, or Triton no longer calls "
        "the model ready, as often in a row as `spec.probe.failureThreshold` says."
    ),
    Reason.PROBE_TIMEOUT: (
        "No answer within `spec.probe.timeoutSeconds`, as often in a row as "
        "`spec.probe.failureThreshold` says."
    ),
    Reason.PROBE_UNREACHABLE: (
        "No connection to the pod's address. Ready is Unknown: it says more about the network than "
        "about the model."
    ),
    Reason.PROBE_PROTOCOL_ERROR: "The answer is not one of the KServe v2 protocol.",
    Reason.SECRET_NOT_FOUND: (
        "The kubelet cannot start the container: the Secret or its key does not exist."
    ),
    Reason.PERSISTENT_VOLUME_CLAIM_NOT_FOUND: "The scheduler says that the claim does not exist.",
    Reason.PERSISTENT_VOLUME_CLAIM_NOT_BOUND: (
        "The scheduler says that the claim has no volume, or has lost it."
    ),
    Reason.CONFIG_REFERENCE_MISSING: (
        "The kubelet cannot start the container: something that it refers to does not exist."
    ),
    Reason.MODEL_FILES_MISSING: _LOG + "the directory does not exist, is empty, or has no config.json.",
    Reason.MODEL_FILES_UNREADABLE: _LOG + "permission denied below the model's own paths.",
    Reason.MODEL_FILES_CORRUPT: _LOG + "config.json or another file of the model cannot be parsed.",
    Reason.WEIGHTS_CORRUPT: _LOG
    + ("a safetensors file is cut short or is no safetensors file, a Git LFS pointer for example."),
    Reason.UNSAFE_WEIGHTS_FORMAT: _LOG + "there are only pickled weights (.bin, .pt).",
    Reason.ADAPTER_INVALID: _LOG + "an adapter's files are missing, or its rank is above `max_lora_rank`.",
    Reason.TOKENIZER_INVALID: _LOG + "the tokenizer's files are missing or of an unknown class.",
    Reason.MODEL_CONFIG_MISSING: _LOG + "Triton does not find config.pbtxt or model.json.",
    Reason.MODEL_ACCESS_DENIED: _LOG + "401 or 403 for a gated repository.",
    Reason.MODEL_NOT_FOUND: _LOG
    + ("the repository is not found. The Hub says the same of a private one without a token."),
    Reason.MODEL_REVISION_NOT_FOUND: _LOG + "the repository has no such branch, tag or commit.",
    Reason.NETWORK_UNAVAILABLE: _LOG + "names do not resolve, or connections to the Hub fail.",
    Reason.MAX_MODEL_LEN_EXCEEDS_MODEL: _LOG
    + ("vLLM compares it with the length in the model's configuration."),
    Reason.NOT_ENOUGH_GPUS: _LOG
    + ("the world size is larger than the number of GPUs that the container sees."),
    Reason.TENSOR_PARALLEL_INCOMPATIBLE: _LOG
    + "heads or another dimension are not divisible by the size, or the width per GPU is no multiple of the "
    "quantization's block.",
    Reason.DRIVER_TOO_OLD: _LOG
    + "CUDA needs a newer driver, or a compatibility library of the image does not fit it (803, 804).",
    Reason.NO_GPU_VISIBLE: _LOG + "no device type, no CUDA GPUs, or no libcuda.so.1.",
    Reason.UNSUPPORTED_GPU: _LOG
    + "bfloat16, FP8, the quantization or the attention needs another compute capability, a kernel needs "
    "more shared memory than the GPU has, or the image holds no kernels for the GPU.",
    Reason.UNSUPPORTED_ARCHITECTURE: _LOG + "the model's architecture is not one that this vLLM supports.",
    Reason.REMOTE_CODE_REQUIRED: _LOG + "the repository contains code that must be run to load the model.",
    Reason.QUANTIZATION_MISMATCH: _LOG + "the method in the model's configuration is another one.",
    Reason.TASK_UNSUPPORTED: _LOG
    + ("the model supports neither generation nor the task that was asked for."),
    Reason.BACKEND_MISSING: _LOG + "Triton does not find the backend `vllm`.",
    Reason.BACKEND_VERSION_MISMATCH: _LOG
    + (
        "an import fails, a symbol or a library is missing, or transformers or cuBLAS are of another version."
    ),
    Reason.GPU_OUT_OF_MEMORY: _LOG + "`torch.OutOfMemoryError`.",
    Reason.GPU_MEMORY_BUSY: _LOG
    + ("less GPU memory is free at the start than `gpu_memory_utilization` asks for."),
    Reason.KV_CACHE_TOO_SMALL: _LOG
    + ("vLLM says how much memory one request of full length takes, and how much there is."),
    Reason.HOST_OUT_OF_MEMORY: (
        "The kernel ended the container (`OOMKilled`), or the kubelet evicted the pod for want of memory."
    ),
    Reason.DISK_FULL: _LOG
    + ("`No space left on device`; or the kubelet evicted the pod for its ephemeral storage."),
    Reason.SHARED_MEMORY_TOO_SMALL: _LOG + "the shared memory is full.",
    Reason.NCCL_ERROR: _LOG + "`NCCL error`.",
    Reason.NCCL_TIMEOUT: _LOG + "NCCL's watchdog ends a collective operation.",
    Reason.CUDA_FAULT: _LOG
    + "a CUDA error that is not about memory. Hardware it is only for ECC, Xid, or a GPU that is lost.",
    Reason.ENGINE_HUNG: (
        "The pod itself says so: requests are in flight, the engine sends nothing and does not answer when "
        "asked. The pod takes no more traffic; after some five minutes its container ends, its stacks in the "
        "log."
    ),
    Reason.ENGINE_DEAD: (
        "The backend says that vLLM's engine process has ended. Its open requests are answered with "
        "an error, and the container ends."
    ),
    Reason.PYTHON_STUB_DIED: _LOG + "the process that Triton runs the backend in is gone.",
    Reason.STUB_TIMEOUT: _LOG + "the process that Triton runs the backend in did not answer in time.",
    Reason.PROBE_KILLED: (
        "The container was ended from outside while it loaded, or without last words of its own."
    ),
    Reason.IMAGE_PULL_FAILED: "The kubelet cannot pull the runtime image or the image with the model.",
    Reason.UNSCHEDULABLE: "The scheduler finds no node. It heals by itself when there is one.",
    Reason.ADMISSION_REJECTED: "Quota, Pod Security or an admission webhook refuses the pods.",
    Reason.CONTAINER_CRASHED: "The container ended, and none of the other reasons fits.",
    # Images, caches and nodes
    Reason.CACHE_NOT_WRITABLE: _LOG
    + "permission denied, or a read-only file system, outside the model's files: a cache of the hub, vLLM, "
    "Triton or FlashInfer.",
    Reason.KERNEL_BUILD_FAILED: _LOG
    + "nvcc, ninja, gcc, ptxas or cuobjdump is missing or fails as FlashInfer, DeepGEMM, inductor or Triton "
    "compile a kernel.",
    Reason.WEIGHTS_MISMATCH: _LOG
    + "weights that the model needs are not in the checkpoint, or it has others, or of other shapes. The "
    "files themselves are whole.",
    Reason.COMPILE_CACHE_CORRUPT: _LOG
    + "what vLLM reads from torch_compile_cache cannot be used, as after several pods wrote into one.",
    Reason.GPU_NOT_READY: _LOG
    + "CUDA says 802 (NVSwitch is not set up), that the device is busy or in exclusive mode, or that MPS is "
    "not there.",
    Reason.ENGINE_START_TIMEOUT: _LOG
    + "the engine did not come up within `VLLM_ENGINE_READY_TIMEOUT_S`, which is set from "
    "`spec.runtime.startupTimeoutSeconds`.",
}

_HEADER: Final = """\
<!-- Generated by `make generate` from operator/vllm_operator/status. Do not edit. -->
# Reasons

The `reason` of `Ready` is the root cause, in one of these words. The message names the pod, quotes what was
seen, gives one remedy, and links here. `status.failingPods` lists what is wrong with each pod.

Where a crash comes from is found out inside the pod: the container's entry point reads the output, and writes
the cause to the termination message, which `kubectl describe pod` shows as well. The exception that ended a
process is believed; an error that was survived is not.
"""
_STALLS: Final = (
    "Only another spec helps: after five such crashes of a pod, `Stalled` is True. The pod is kept.\n"
)
_RESTARTS: Final = (
    "The kubelet starts the container again, after longer and longer pauses. The pod is kept, and `Ready` is "
    "True again by itself when the cause is gone.\n"
)


def outputs() -> dict[str, str]:
    """Content of the generated documentation, by path from the repository's root."""
    return {"docs/reasons.md": _HEADER + "".join(_section(reason) for reason in Reason)}


def _section(reason: Reason) -> str:
    advice = ADVICE[reason]
    text = f'\n<a id="{reason}"></a>\n## {reason}\n\n{advice.what}. {SIGNS[reason]}\n'
    if reason in EXAMPLES:
        text += f"\n    {EXAMPLES[reason]}\n"
    if advice.remedy:
        text += f"\nRemedy: {advice.remedy}.\n"
    if reason in SPEC_CURABLE:
        return f"{text}\n{_STALLS}"
    return f"{text}\n{_RESTARTS}" if reason in EXAMPLES else text
