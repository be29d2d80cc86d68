"""For every reason: what is wrong in a few words, and the one thing to do about it."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from vllm_operator.api.conditions import Reason
from vllm_operator.api.meta import DOCS_REASONS


class Advice(NamedTuple):
    """What a message says of a reason. Empty `remedy`: there is nothing to do but wait."""

    what: str
    remedy: str = ""


ADVICE: Final[Mapping[Reason, Advice]] = {
    # States
    Reason.PENDING: Advice("The pods are being created"),
    Reason.RECONCILING: Advice("The spec is being acted on"),
    Reason.LOADING_MODEL: Advice("The model is being loaded"),
    Reason.SERVING: Advice("The model answers inferences"),
    Reason.ROLLING_OUT: Advice("Pods of the new revision replace the old ones"),
    Reason.WAITING_FOR_GPU: Advice(
        "The new revision waits for a GPU while the old one serves",
        "free a GPU, or set `spec.rollout.type` to 'Recreate' to end the old pods first",
    ),
    Reason.SCALED_TO_ZERO: Advice("Zero replicas are asked for"),
    Reason.PAUSED: Advice("The model is paused", "set `spec.paused` to false to go on"),
    Reason.DELETING: Advice("The VLLMModel is being deleted", "see who still holds it by a finalizer"),
    Reason.WAITING_FOR_OLD_PODS: Advice(
        "The new pod waits for what another pod of the model holds",
        "let that pod end; if its node is gone for good, delete it by force",
    ),
    Reason.WAITING_FOR_QUOTA: Advice(
        "The quota has no room for a new pod beside the old ones",
        "raise the quota named here, or set `spec.rollout.type` to 'Recreate' to end the old pods first",
    ),
    Reason.PROGRESS_DEADLINE_EXCEEDED: Advice(
        "The pods make no progress", "mend what is named here; the pod's Events say more"
    ),
    Reason.RECONCILE_FAILED: Advice(
        "The operator cannot bring the children to what the spec asks for",
        "mend what is named here; the operator's log says more",
    ),
    Reason.VERDICT_STALE: Advice(
        "Whether the model answers is not known: the last inference is too long ago",
        "look at the operator's log and at its metrics of probes",
    ),
    Reason.NODE_LOST: Advice(
        "The pod's node is lost",
        "look at the node; if it is gone for good, delete it, and the pod by force",
    ),
    Reason.POD_STUCK_TERMINATING: Advice(
        "A pod that is being deleted does not end",
        "look at its node and at its finalizers; if the node is gone for good, delete the pod by force",
    ),
    # The spec
    Reason.INVALID_SPEC: Advice("The spec is invalid", "correct the fields named here"),
    Reason.INVALID_ENGINE_ARGS: Advice(
        "vLLM does not accept the engine arguments", "correct `spec.engineArgs`"
    ),
    Reason.ENGINE_ARG_NOT_PERMITTED: Advice(
        "An engine argument is not permitted", "correct the fields named here"
    ),
    Reason.IMAGE_NOT_ALLOWED: Advice("The image is not allowed", "correct the field named here"),
    Reason.NAME_CONFLICT: Advice(
        "An object of someone else has the name of a child",
        "delete or rename that object, or rename the VLLMModel",
    ),
    # The probe
    Reason.PROBE_FAILED: Advice(
        "The probe's inference failed",
        "look at the pod's log; check that `spec.probe` asks for what the model can do",
    ),
    Reason.PROBE_TIMEOUT: Advice(
        "The probe's inference did not end in time",
        "raise `spec.probe.timeoutSeconds` or lower the load; delete the pod if it hangs",
    ),
    Reason.PROBE_UNREACHABLE: Advice(
        "The operator cannot reach the pod, which the kubelet calls ready",
        "allow the operator to connect to port 8001 of the pods (NetworkPolicy)",
    ),
    Reason.PROBE_PROTOCOL_ERROR: Advice(
        "What answers on the pod's gRPC port does not speak Triton's protocol",
        "use an image with Triton and the vLLM backend",
    ),
    # What the pod refers to
    Reason.SECRET_NOT_FOUND: Advice(
        "A Secret or a key of it is missing", "create it; the pod then starts by itself"
    ),
    Reason.PERSISTENT_VOLUME_CLAIM_NOT_FOUND: Advice(
        "A PersistentVolumeClaim is missing", "create it; the pod then starts by itself"
    ),
    Reason.PERSISTENT_VOLUME_CLAIM_NOT_BOUND: Advice(
        "A PersistentVolumeClaim is not bound", "give it a volume or a storage class that makes one"
    ),
    Reason.CONFIG_REFERENCE_MISSING: Advice("The container cannot be configured", "create what is missing"),
    # Files
    Reason.MODEL_FILES_MISSING: Advice("Files of the model are missing", "check `path` in `spec.source`"),
    Reason.MODEL_FILES_UNREADABLE: Advice(
        "Files of the model cannot be read", "make them readable for user ID 1000"
    ),
    Reason.MODEL_FILES_CORRUPT: Advice("Files of the model are damaged", "copy or download them again"),
    Reason.WEIGHTS_CORRUPT: Advice("The weights are damaged", "copy or download them again"),
    Reason.UNSAFE_WEIGHTS_FORMAT: Advice(
        "The weights are in a format that can run code", "convert them to safetensors"
    ),
    Reason.ADAPTER_INVALID: Advice("A LoRA adapter cannot be loaded", "check its files and `max_lora_rank`"),
    Reason.TOKENIZER_INVALID: Advice(
        "The tokenizer cannot be loaded", "add the tokenizer's files to the model"
    ),
    Reason.MODEL_CONFIG_MISSING: Advice(
        "Triton finds no usable model repository", "report it as a fault of the operator"
    ),
    # Access
    Reason.MODEL_ACCESS_DENIED: Advice(
        "The Hub refuses access to the model",
        "accept the licence and set `spec.source.huggingFace.tokenSecretKeyRef` to a token with access",
    ),
    Reason.MODEL_NOT_FOUND: Advice(
        "The Hub has no such repository, or shows it only with a token",
        "check `spec.source.huggingFace.repository`",
    ),
    Reason.MODEL_REVISION_NOT_FOUND: Advice(
        "The repository has no such revision", "check `spec.source.huggingFace.revision`"
    ),
    Reason.NETWORK_UNAVAILABLE: Advice(
        "The pod cannot reach the Hub", "allow egress, or use a claim, an image or a mirror (`hubEndpoint`)"
    ),
    # Capability
    Reason.MAX_MODEL_LEN_EXCEEDS_MODEL: Advice(
        "`max_model_len` is above what the model was made for", "lower `spec.engineArgs.max_model_len`"
    ),
    Reason.NOT_ENOUGH_GPUS: Advice(
        "The engine needs more GPUs than the pod has", "raise `spec.gpus.count` or lower the parallel sizes"
    ),
    Reason.TENSOR_PARALLEL_INCOMPATIBLE: Advice(
        "The model cannot be split this way",
        "set `spec.engineArgs.tensor_parallel_size` to a smaller divisor of the attention heads",
    ),
    Reason.DRIVER_TOO_OLD: Advice(
        "The node's GPU driver is too old", "update the driver or use an older image"
    ),
    Reason.NO_GPU_VISIBLE: Advice(
        "The container sees no GPU", "check the device plugin and `spec.scheduling.runtimeClassName`"
    ),
    Reason.UNSUPPORTED_GPU: Advice(
        "The GPU cannot do what the model or the image needs",
        "choose a node with another GPU, or an image or model that fits this one",
    ),
    Reason.UNSUPPORTED_ARCHITECTURE: Advice(
        "This vLLM does not know the model's architecture", "use a newer image"
    ),
    Reason.REMOTE_CODE_REQUIRED: Advice(
        "The model brings code that must be run",
        "have `trust_remote_code` permitted, set it, and pin `revision` to a commit",
    ),
    Reason.QUANTIZATION_MISMATCH: Advice(
        "The quantization asked for is not the model's", "remove `spec.engineArgs.quantization`"
    ),
    Reason.TASK_UNSUPPORTED: Advice(
        "The model cannot do this task", "use another model or set `spec.engineArgs.runner`"
    ),
    Reason.BACKEND_MISSING: Advice(
        "The image has no vLLM backend", "use an image with Triton and the vLLM backend"
    ),
    Reason.BACKEND_VERSION_MISMATCH: Advice(
        "Libraries in the image do not fit together",
        "use an unmodified image, in which vLLM, torch and transformers were built for each other",
    ),
    # Memory, disk and communication
    Reason.GPU_OUT_OF_MEMORY: Advice(
        "The GPU's memory is too small",
        "raise `tensor_parallel_size`, use a quantized model, or lower `max_model_len` or `max_num_seqs`",
    ),
    Reason.GPU_MEMORY_BUSY: Advice(
        "Less GPU memory is free than is asked for",
        "lower `spec.engineArgs.gpu_memory_utilization` or end what else uses the GPU",
    ),
    Reason.KV_CACHE_TOO_SMALL: Advice(
        "The KV cache is too small",
        "lower `spec.engineArgs.max_model_len` or raise `gpu_memory_utilization`",
    ),
    Reason.HOST_OUT_OF_MEMORY: Advice(
        "The container ran out of memory", "raise `spec.resources.limits.memory`; shared memory counts"
    ),
    Reason.DISK_FULL: Advice(
        "The disk is full", "raise the size of `spec.cache` or the ephemeral-storage limit"
    ),
    Reason.SHARED_MEMORY_TOO_SMALL: Advice(
        "The shared memory is too small", "raise `spec.sharedMemory.sizeLimit`, and the memory limit with it"
    ),
    Reason.NCCL_ERROR: Advice(
        "The GPUs cannot talk to each other",
        "set NCCL_DEBUG=INFO in `spec.runtime.env` and look at the pod's log",
    ),
    Reason.NCCL_TIMEOUT: Advice(
        "A transfer between GPUs did not end",
        "set NCCL_DEBUG=INFO in `spec.runtime.env` and look at the pod's log",
    ),
    Reason.CUDA_FAULT: Advice(
        "CUDA failed", "use a newer image; if one node alone shows it, cordon it and have its GPU checked"
    ),
    # The process and the pod
    Reason.ENGINE_HUNG: Advice(
        "The engine hangs, and the pod restarts its container by itself",
        "if it comes back, read the stacks in the pod's previous log and check the GPU",
    ),
    Reason.ENGINE_DEAD: Advice("The engine died", "look at the pod's previous log for what came before"),
    Reason.PYTHON_STUB_DIED: Advice(
        "The backend's process died", "look at the pod's previous log for what came before"
    ),
    Reason.STUB_TIMEOUT: Advice(
        "The backend's process did not start in time",
        "raise `spec.resources.requests.cpu`, and set `limits.cpu` for the models that share the node",
    ),
    Reason.PROBE_KILLED: Advice(
        "The kubelet ended the container because its probe failed",
        "raise `spec.runtime.startupTimeoutSeconds`",
    ),
    Reason.IMAGE_PULL_FAILED: Advice(
        "An image cannot be pulled", "check the reference, its platforms and `spec.runtime.imagePullSecrets`"
    ),
    Reason.UNSCHEDULABLE: Advice(
        "No node can take the pod", "add a node that fits, or change `gpus`, `resources` or `scheduling`"
    ),
    Reason.ADMISSION_REJECTED: Advice(
        "The cluster refuses to create the pods", "change the quota or policy named here, or the spec"
    ),
    Reason.CONTAINER_CRASHED: Advice("The container crashed", "look at the pod's previous log"),
    # Images, caches and nodes
    Reason.CACHE_NOT_WRITABLE: Advice(
        "A cache cannot be written", "make the volume of `spec.cache` writable for user and group 1000"
    ),
    Reason.KERNEL_BUILD_FAILED: Advice(
        "A GPU kernel cannot be compiled",
        "use an image that has the compilers (nvcc, ninja, gcc) or the prebuilt kernels",
    ),
    Reason.WEIGHTS_MISMATCH: Advice(
        "The weights are not those that this vLLM expects of the model",
        "use a newer image, or another checkpoint of the model",
    ),
    Reason.COMPILE_CACHE_CORRUPT: Advice(
        "vLLM's cache of compiled graphs is damaged",
        "delete torch_compile_cache in the volume of `spec.cache`, and give each pod a cache of its own",
    ),
    Reason.GPU_NOT_READY: Advice(
        "The node's GPU is not ready",
        "check the node's GPU services (fabric manager, MPS, compute mode); the pod then starts by itself",
    ),
    Reason.ENGINE_START_TIMEOUT: Advice(
        "The engine did not start in time",
        "raise `spec.runtime.startupTimeoutSeconds`, or load from faster storage",
    ),
}

#: Crashes that only a change of the spec can cure: configuration, capability and architecture; not network,
#: Secrets, nodes, or what another process does to a GPU.
SPEC_CURABLE: Final = frozenset(
    {
        Reason.INVALID_ENGINE_ARGS,
        Reason.MAX_MODEL_LEN_EXCEEDS_MODEL,
        Reason.NOT_ENOUGH_GPUS,
        Reason.TENSOR_PARALLEL_INCOMPATIBLE,
        Reason.UNSUPPORTED_ARCHITECTURE,
        Reason.REMOTE_CODE_REQUIRED,
        Reason.QUANTIZATION_MISMATCH,
        Reason.TASK_UNSUPPORTED,
        Reason.BACKEND_MISSING,
        Reason.BACKEND_VERSION_MISMATCH,
        Reason.KV_CACHE_TOO_SMALL,
        Reason.UNSAFE_WEIGHTS_FORMAT,
        Reason.UNSUPPORTED_GPU,
        Reason.WEIGHTS_MISMATCH,
        Reason.KERNEL_BUILD_FAILED,
    }
)


def message(reason: Reason, *, pod: str = "", excerpt: str = "", remedy: str = "") -> str:
    """`<what> on pod <p>: <excerpt>. Remedy: <one action>. See <docs>#<Reason>`, without empty parts."""
    advice = ADVICE[reason]
    text = advice.what + (f" on pod {pod}" if pod else "")
    if excerpt:
        text += f": {excerpt.strip().rstrip('.')}"
    text += "" if text.endswith("?") else "."
    remedy = remedy.strip().rstrip(".") or advice.remedy
    return f"{text} Remedy: {remedy}. See {DOCS_REASONS}#{reason}" if remedy else text
