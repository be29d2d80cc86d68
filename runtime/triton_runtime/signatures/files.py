"""Files of the model, and places that must be written."""

from typing import Final

from triton_runtime.signatures.table import Group, Signature, row

_F: Final = Group.FILES
#: A file of a model by its name, or anything where the operator mounts models.
_MODEL_PATH: Final = (
    r"(?P<path>/(?:source|adapters|models)(?:/(?!\S*(?:\.cache|\.locks|\.no_exist|models--))[^'\" ]*)?|"
    r"/(?![^'\" ]*(?:cache|/hub/|\.locks|models--))[^'\" ]*(?:\.safetensors|\.bin|\.pt|\.gguf|config\.json|"
    r"tokenizer[^'\"/ ]*\.json|tokenizer\.model|\.index\.json|params\.json|tekken\.json))(?=['\"\s,]|$)"
)
_WRITABLE: Final = (
    "make the volume of `spec.cache` writable for user and group 1000: HOME and the caches of the hub, "
    "vLLM and "
    "Triton lie in it"
)
_TO_CACHE: Final = r"(?:Errno 13\]|EACCES|Permission denied|PermissionError)"
_LOADER: Final = r"weight_utils|torch/serialization|model_loader|load_weights|safetensors"
_COMPILED: Final = r"torch_compile_cache"

ROWS: Final[tuple[Signature, ...]] = (
    row(
        _F,
        "SharedMemoryTooSmall",
        r"No space left on device",
        frame=r"shared_memory\.py|shm_broadcast|shm_object_storage|pynccl",
    ),
    row(
        _F,
        "DiskFull",
        r"^(?!.*(?:/dev/shm|[Ss]hared memory|nccl-|psm_|sem\.|</torch_)).*"
        r"(?:No space left on device|\(os error 28\)|Disk quota exceeded)",
    ),
    row(
        _F,
        "ModelFilesUnreadable",
        rf"{_TO_CACHE}.*?['\": ]{_MODEL_PATH}",
        "{path} cannot be read by the container's user 1000",
    ),
    row(
        _F,
        "CacheNotWritable",
        r"(?:Read-only file system|Errno 30\]|os error 30).*?'(?P<path>/[^']*models--[^']*)'",
        "{path} cannot be written: Read-only file system. A cache of the hub needs locks",
        "name the snapshot's folder in `spec.source` (.../models--x--y/snapshots/<commit>) instead of "
        "using the "
        "volume as the hub's cache, or mount it writable",
    ),
    row(
        _F,
        "CacheNotWritable",
        r"(?:Read-only file system|Errno 30\]|os error 30).*?'(?P<path>/[^']*)'",
        "{path} cannot be written: Read-only file system",
        _WRITABLE,
    ),
    row(_F, "CacheNotWritable", r"Read-only file system|\(os error 30\)", remedy=_WRITABLE),
    row(
        _F,
        "CacheNotWritable",
        rf"{_TO_CACHE}.*?'(?P<path>/[^']*(?:dist|site)-packages/[^']*)'",
        "{path}, a folder of the image, cannot be written by the container's user 1000: Permission denied",
        "use an image that holds what is fetched or built there (flashinfer-cubin, flashinfer-jit-cache), "
        "or that "
        "keeps its cache below HOME",
    ),
    row(
        _F,
        "CacheNotWritable",
        r"getpwuid\(\): uid not found: (?P<uid>\d+)",
        "the image knows no user {uid}, so that no cache folder can be named after it",
        "use an image with an entry for user {uid} in /etc/passwd, or that sets TORCHINDUCTOR_CACHE_DIR",
    ),
    row(
        _F,
        "CacheNotWritable",
        rf"{_TO_CACHE}.*?'(?P<path>/[^']*)'",
        "{path} cannot be written by the container's user 1000: Permission denied",
        _WRITABLE,
    ),
    row(
        _F,
        "CacheNotWritable",
        r"PermissionError at (?P<path>/\S+)|Permission denied: \"?(?P<other>/[^\" ]+)|"
        r"[Uu]nable to create (?:the )?(?:cache|lock|directory)|cache directory .*not writable|"
        r"Permission denied \(os error 13\) at path \"(?P<rust>[^\"]+)",
        remedy=_WRITABLE,
    ),
    row(_F, "ModelFilesUnreadable", r"Permission denied \(os error 13\)", frame=_LOADER),
    row(_F, "ModelFilesUnreadable", r"^PermissionError|\[Errno 13\]", frame=_LOADER),
    row(_F, "CacheNotWritable", r"PermissionError|Permission denied", remedy=_WRITABLE),
    row(
        _F,
        "ModelFilesUnreadable",
        # safetensors names a file that is there, but that this user may not open, in the same words.
        r"No such file or directory: (?P<path>/\S+\.safetensors)",
        "{path} cannot be opened: the container's user 1000 may not read it, or it is a link to nothing",
    ),
    row(
        _F,
        "AdapterInvalid",
        r"No such file or directory: '(?P<path>/adapters/[^']*)'",
        "{path} is missing",
    ),
    row(
        _F,
        "CompileCacheCorrupt",
        r"torch_compile_cache and try again|failed to get the hash of the compiled graph|"
        r"Compile cache file corrupted|corrupted compilation artifact",
        "{line} (torch_compile_cache)",
    ),
    row(
        _F,
        "CompileCacheCorrupt",
        r"(?:UnpicklingError|EOFError|JSONDecodeError|FileNotFoundError|BadZipFile|SyntaxError|KeyError|"
        r"ModuleNotFoundError|AttributeError|No such file or directory).*torch_compile_cache",
    ),
    row(
        _F,
        "CompileCacheCorrupt",
        r"^(?:\w+\.)*(?:UnpicklingError|EOFError|JSONDecodeError|FileNotFoundError|BadZipFile|SyntaxError|"
        r"KeyError|ModuleNotFoundError|AttributeError|AssertionError|ValueError|TypeError)\b",
        "what is in torch_compile_cache cannot be read: {line}",
        frame=rf"{_COMPILED}|compilation/caching\.py|standalone_compile\.py:load",
        last=True,
    ),
    row(
        _F,
        "WeightsCorrupt",
        r"SafetensorError: |Error while deserializing header: ",
        remedy="download or copy the weights again, and check their sizes and checksums",
    ),
    row(_F, "WeightsCorrupt", r"PytorchStreamReader failed|invalid header or archive is corrupted"),
    row(
        _F,
        "WeightsCorrupt",
        r"Unable to (?:load weights|read) .*\bconsistency check failed|Consistency check failed",
    ),
    row(
        _F,
        "UnsafeWeightsFormat",
        r"Weights only load failed|serious vulnerability issue in `torch\.load`",
    ),
    row(
        _F,
        "WeightsCorrupt",
        r"UnpicklingError: (?:pickle data was truncated|invalid load key)",
        frame=_LOADER,
    ),
    row(_F, "UnsafeWeightsFormat", r"UnpicklingError", frame=_LOADER),
    row(
        _F,
        "WeightsMismatch",
        r"Following weights were not initialized from checkpoint|no module or parameter named|"
        r"Attempted to load weight|Tried to load weights of size|Missing keys .* in loaded state|"
        r"size mismatch for \S+: copying a param|(?:Unexpected|Missing) key\(s\) in state_dict|"
        r"not found in params_dict",
    ),
    row(
        _F,
        "WeightsMismatch",
        r"^AssertionError|^KeyError: '[\w.]+'|must match the size of tensor|is invalid for input of size|"
        r"[Ss]hape mismatch|shapes? .*(?:cannot be|not) |exceeds dimension size|start \(\d+\) \+ length",
        "a weight of the checkpoint does not fit: {line}",
        frame=r":(?:\w*load_weights?\w*|\w*weight_loader\w*|load_column_parallel_weight|"
        r"load_row_parallel_weight|"
        r"load_merged_column_weight|load_qkv_weight|\w*load_w\d+)$|model_loader/(?!weight_utils)",
        last=True,
    ),
    row(
        _F,
        "ModelFilesCorrupt",
        r"It looks like the config file at .* is not a valid JSON file",
    ),
    row(
        _F,
        "ModelFilesCorrupt",
        r"(?:^|json\.decoder\.)JSONDecodeError: |Unrecognized model in .*[Ss]hould have a `model_type`",
    ),
    row(_F, "ModelFilesCorrupt", r"KeyError: 'model_type'|Should have a `model_type` key"),
    row(
        _F,
        "TokenizerInvalid",
        r"Tokenizer class '?(?P<name>TokenizersBackend|\w+Backend)'? does not exist",
        "this image's transformers has no tokenizer class {name}: the model was saved by a newer one",
        "use a newer image, or another tokenizer in `spec.engineArgs.tokenizer`",
    ),
    row(
        _F,
        "TokenizerInvalid",
        r"Can't load tokenizer for|[Tt]okenizer class '?\S+'? (?:does not exist|is not currently imported|"
        r"specified in the tokenizer config was not found)",
    ),
    row(
        _F,
        "TokenizerInvalid",
        r"Couldn't instantiate the backend tokenizer|KeyError: 'added_tokens'|"
        r"data did not match any variant of untagged enum|"
        r"Exception: .*(?:expected|missing field|unknown variant).* at line \d+ column \d+",
    ),
    row(
        _F,
        "ModelFilesMissing",
        r"(?P<where>\S{1,300}) does not appear to have a file named (?P<file>[\w./-]+?)\.?(?: |$)",
        "{where} has no file {file}",
    ),
    row(
        _F,
        "ModelFilesMissing",
        r"Cannot find any (?:safetensors )?model weights with `(?P<where>[^`]*)`",
        "{where} holds no weights that vLLM can read",
        "put the weights (*.safetensors) beside config.json, or check `path` in `spec.source`",
    ),
    row(
        _F,
        "ModelFilesMissing",
        r"Invalid repository ID or local directory specified: ?'(?P<where>/[^']*)'",
        "{where} holds no model (no config.json)",
    ),
    row(_F, "ModelFilesMissing", r"No model config found|Could not detect config format"),
    row(
        _F,
        "ModelFilesMissing",
        r"(?:FileNotFoundError: |No such file or directory: )\D*'(?P<where>/source[^']*)'",
        "{where} is missing",
    ),
    row(
        _F,
        "ModelFilesMissing",
        rf"(?:FileNotFoundError|No such file or directory).*?['\": ]{_MODEL_PATH}",
        "{path} is missing",
    ),
)
