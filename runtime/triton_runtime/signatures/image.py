"""What the image can do: the models it knows, the kernels it can build, the libraries that must fit."""

from typing import Final

from triton_runtime.signatures.table import Group, Signature, row

_P: Final = Group.CAPABILITY
_WHOLE_IMAGE: Final = (
    "use an unmodified image, in which vLLM, torch, transformers and Triton were built for each other"
)
_TOOLKIT: Final = (
    "use an image that has the CUDA toolkit (nvcc, ninja, a C++ compiler) or the prebuilt kernels"
)
_NO_FLASHINFER: Final = (
    "set VLLM_USE_FLASHINFER_SAMPLER=0 in `spec.runtime.env`, or use an image that has the CUDA toolkit "
    "(nvcc, "
    "ninja) or flashinfer-jit-cache"
)
_NO_DEEP_GEMM: Final = (
    "set VLLM_USE_DEEP_GEMM=0 in `spec.runtime.env`, or use an image that has the CUDA toolkit "
    "(nvcc, cuobjdump)"
)
_COMPILER: Final = (
    "use an image that has a C compiler (gcc) and Python's headers; Triton and inductor need them"
)

#: What a compiler or its absence says.
_BUILD: Final = (
    r"nvcc|ninja|cuobjdump|ptxas|NVRTC|nvrtc|[Nn]o working C\+\+ compiler|C compiler|CppCompileError|"
    r"C\+\+ compile error|Error building extension|CUDA_HOME|cuda_home|"
    r"(?:g\+\+|gcc|cc|clang)(?:'|: not found|: command not found|: fatal)|"
    r"fatal error: \S+\.(?:h|cuh|hpp): No such file|cannot find -l(?:cuda|python)|"
    r"collect2: error|JIT (?:compilation|build) failed"
)
#: What of a build's long output tells why it failed.
_FACT: Final = (
    r"\b(?:nvcc|ninja|gcc|g\+\+|cc|ptxas|cuobjdump)\S{0,9}: (?:command )?not found|"
    r"fatal error: [^:]{1,200}: No such file or directory|(?:nvcc|ptxas) (?:fatal|error)\s*:.{0,200}|"
    r"cannot find -l\w+|Killed signal terminated program \w+|ptxas \S+, line \d+; error.{0,200}|"
    r"No such file or directory: '[^']{1,200}'|\berror: .{0,200}"
)

ROWS: Final[tuple[Signature, ...]] = (
    row(
        _P,
        "UnsupportedArchitecture",
        r"Model architectures? (?P<name>\[.*?\]) are not supported for now",
        "this image's vLLM does not know the model architecture {name}",
    ),
    row(
        _P,
        "UnsupportedArchitecture",
        r"Model architecture \S+ was supported in vLLM until|is not supported in-tree",
    ),
    row(
        _P,
        "UnsupportedArchitecture",
        r"model type `(?P<name>[^`]*)` but Transformers does not recognize this architecture",
        "this image's transformers does not know the model type {name}",
    ),
    row(_P, "UnsupportedArchitecture", r"has no vLLM implementation|is not compatible with vLLM"),
    row(
        _P,
        "UnsupportedArchitecture",
        r"^KeyError: '(?P<name>[\w-]+)'$",
        "this image's transformers does not know the model type {name}",
        frame=r"auto/configuration_auto\.py",
    ),
    row(
        _P,
        "KernelBuildFailed",
        rf"(?:Ninja build failed|Error building extension|compilation failed|PTXAS "
        rf"error).*?(?P<fact>{_FACT})",
        "a GPU kernel cannot be compiled: {fact}",
        _NO_FLASHINFER,
        frame=r"flashinfer/",
    ),
    row(
        _P,
        "KernelBuildFailed",
        rf"(?:Ninja build failed|Error building extension|compilation failed|PTXAS "
        rf"error).*?(?P<fact>{_FACT})",
        "a GPU kernel cannot be compiled: {fact}",
        _TOOLKIT,
    ),
    row(
        _P,
        "KernelBuildFailed",
        r"flashinfer|FlashInfer",
        remedy=_NO_FLASHINFER,
        frame=r"flashinfer/(?:jit|compilation)|cpp_ext",
    ),
    row(_P, "KernelBuildFailed", r"(?:flashinfer|FlashInfer).*(?:" + _BUILD + ")", remedy=_NO_FLASHINFER),
    row(_P, "KernelBuildFailed", _BUILD, remedy=_NO_FLASHINFER, frame=r"flashinfer/"),
    row(_P, "KernelBuildFailed", _BUILD, remedy=_NO_DEEP_GEMM, frame=r"deep_?gemm"),
    row(
        _P,
        "KernelBuildFailed",
        r"(?:deep_?gemm|DeepGEMM).*(?:compil|jit|JIT|nvcc|cuobjdump|corrupt)|csrc/jit/|"
        r"^AssertionError",
        remedy=_NO_DEEP_GEMM,
        frame=r"deep_?gemm",
    ),
    row(_P, "KernelBuildFailed", r"csrc/jit/\w+\.hpp|DeepGEMM.*(?:nvcc|cuobjdump)", remedy=_NO_DEEP_GEMM),
    row(
        _P,
        "KernelBuildFailed",
        r"Failed to find C compiler|[Nn]o working C\+\+ compiler|InvalidCxxCompiler|Python\.h: No such file|"
        r"Command '?\[?'?\S*(?:gcc|cc|clang|g\+\+)'.* (?:returned non-zero|died)|cannot find -lcuda|"
        r"(?:gcc|g\+\+|cc): (?:not found|command not found|fatal error)|CppCompileError|"
        r"No such file or directory: '(?:\S*/)?(?:gcc|g\+\+|cc|clang)'",
        remedy=_COMPILER,
    ),
    row(
        _P,
        "KernelBuildFailed",
        r"(?:Could not|Unable to|[Cc]annot) find .*(?:nvcc|ptxas|ninja|cuobjdump|CUDA_HOME)|"
        r"(?:nvcc|ptxas|ninja|cuobjdump)\S* (?:not found|is (?:required|missing)|does not exist|failed|"
        r"fatal)|"
        r"(?:nvcc|ptxas|ninja|cuobjdump): (?:not found|command not found)|PTXASError|PTXAS error|"
        r"No such file or directory: '\S*(?:nvcc|ptxas|ninja|cuobjdump)'|Ninja (?:build failed|is required)|"
        r"CUDA_HOME environment variable is not set|Error building extension|NVRTC_ERROR|`ptxas` failed|"
        r"(?:NVCC|nvcc) compilation failed|Failed to compile|fatal error: \S+\.(?:h|cuh|hpp): No such file",
        remedy=_TOOLKIT,
    ),
    row(
        _P,
        "BackendVersionMismatch",
        r"ImportError: cannot import name '?(?P<name>\w+)'? from '?vllm\S*",
        remedy=_WHOLE_IMAGE,
    ),
    row(
        _P,
        "BackendVersionMismatch",
        r"ModuleNotFoundError: No module named '?(?:vllm|vllm_triton)\b",
        remedy=_WHOLE_IMAGE,
    ),
    row(
        _P,
        "BackendVersionMismatch",
        r"TypeError: \S*(?:AsyncLLM|build_async_engine_client|LLMEngine|EngineClient|StatLogger|"
        r"FlashAttentionMetadata)\S*\(\)"
        r" (?:got an unexpected keyword argument|missing \d+ required)",
        remedy=_WHOLE_IMAGE,
    ),
    row(
        _P,
        "BackendVersionMismatch",
        r"AttributeError: (?:module 'vllm\S*'|type object 'AsyncLLM\w*') has no attribute",
        remedy=_WHOLE_IMAGE,
    ),
    row(
        _P,
        "BackendVersionMismatch",
        r"undefined symbol: |version `[^']+' not found|Could not load library lib\S+|_C\S* not found",
        remedy=_WHOLE_IMAGE,
    ),
    row(
        _P,
        "BackendVersionMismatch",
        r"CUBLAS_STATUS_INVALID_VALUE|CUBLAS_STATUS_NOT_SUPPORTED|CUDNN_STATUS_\w*(?:VERSION|SUBLIBRARY)\w*",
        remedy="use an unmodified image, and no LD_LIBRARY_PATH that names another CUDA's libraries (cuBLAS)",
    ),
    row(
        _P,
        "BackendVersionMismatch",
        r"operator \w+::\w+ does not exist|'_OpNamespace' '\w+' object has no attribute|"
        r"Failed to import \S+ because of the following error",
        remedy=_WHOLE_IMAGE,
    ),
    row(
        _P,
        "BackendVersionMismatch",
        r"lib[\w.+-]+\.so[\w.]*: cannot open shared object file",
        remedy=_WHOLE_IMAGE + "; the library named is missing in it",
    ),
    row(
        _P,
        "BackendVersionMismatch",
        r"AttributeError: .*(?:[Tt]okenizer\w*|Config|Processor|transformers\S*|PreTrained\w*)'?"
        r"(?: object)? has no attribute",
        "{line} (transformers does not fit this vLLM)",
        _WHOLE_IMAGE,
    ),
    row(
        _P,
        "BackendVersionMismatch",
        r"^(?:AttributeError|TypeError)",
        "{line} (transformers does not fit this vLLM)",
        _WHOLE_IMAGE,
        frame=r"/(?:transformers|tokenizers|huggingface_hub)/[^:]*:[^/]*$",
        last=True,
    ),
    row(
        _P,
        "BackendVersionMismatch",
        r"^(?:\w+\.)*(?:ImportError|ModuleNotFoundError|PackageNotFoundError|VersionConflict)\b|"
        r"(?:ImportError|ModuleNotFoundError): |AttributeError: (?:partially initialized )?module '",
        remedy=_WHOLE_IMAGE + "; what is named here is missing in it",
        last=True,
    ),
    row(
        _P,
        "BackendVersionMismatch",
        r"Model architectures? \[.*?\] failed to be inspected",
        "a module that the model's architecture needs cannot be imported: {line}",
        _WHOLE_IMAGE,
        last=True,
    ),
)
