"""The Triton model repository of one model: config.pbtxt, model.json and multi_lora.json."""

import json
from collections.abc import Mapping
from typing import Any, Final

from vllm_operator.api.source import Source
from vllm_operator.api.spec import VLLMModelSpec
from vllm_operator.desired.metadata import canonical

SOURCE_PATH: Final = "/source"
ADAPTERS_PATH: Final = "/adapters"

CONFIG: Final = "config.pbtxt"
ENGINE_ARGS: Final = "model.json"
ADAPTERS: Final = "multi_lora.json"
#: Key of the ConfigMap -> path below the model's directory. Keys of a ConfigMap cannot hold a slash.
PATHS: Final[Mapping[str, str]] = {CONFIG: CONFIG, ENGINE_ARGS: f"1/{ENGINE_ARGS}", ADAPTERS: f"1/{ADAPTERS}"}
#: Load formats that take *.bin and *.pt where there are no safetensors: DefaultModelLoader in vLLM's
#: model_executor/model_loader/default_loader.py.
_PICKLES_TOO: Final = ("auto", "hf")


def render(spec: VLLMModelSpec, served_name: str, *, pickled_weights: bool) -> dict[str, str]:
    """All files, by ConfigMap key. `pickled_weights`: vLLM may load weights that are no safetensors."""
    arguments = engine_args(spec, pickled_weights=pickled_weights)
    files = {
        CONFIG: config_pbtxt(served_name, spec.runtime.front_ends),
        ENGINE_ARGS: _json(arguments),
    }
    # The backend wants the file whenever LoRA is on, with or without an adapter.
    if arguments.get("enable_lora"):
        files[ADAPTERS] = _json(
            {adapter.name: location(adapter.source, adapter.name) for adapter in spec.adapters}
        )
    return files


def engine_args(spec: VLLMModelSpec, *, pickled_weights: bool) -> dict[str, Any]:
    """What model.json holds: the tenant's arguments, and those that follow from the rest of the spec."""
    given: dict[str, Any] = canonical(spec.engine_args.values()) if spec.engine_args else {}
    args = given | {"model": location(spec.source)}
    hub = spec.source.hugging_face
    if hub and hub.revision:
        args["revision"] = hub.revision
        if given.get("trust_remote_code"):
            args["code_revision"] = hub.revision
    if spec.adapters:
        args["enable_lora"] = True
    if not pickled_weights and str(given.get("load_format") or "auto").lower() in _PICKLES_TOO:
        # The files of a claim or of the Hub are seen by vLLM only: it is told to look at no others.
        args["load_format"] = "safetensors"
    return args


def location(source: Source, adapter: str = "") -> str:
    """What vLLM is told to load: a Hub repository, or a directory in the pod."""
    if source.hugging_face:
        return source.hugging_face.repository
    root = f"{ADAPTERS_PATH}/{adapter}" if adapter else SOURCE_PATH
    volume = source.persistent_volume_claim or source.image
    return f"{root}/{volume.path}" if volume and volume.path else root


def config_pbtxt(served_name: str, front_ends: int) -> str:
    """Triton's configuration; the backend completes it with its tensors."""
    # Imported here: tritonclient takes longer to load than all else that `validate` needs.
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

    config = ModelConfig(
        name=served_name,
        backend="vllm",
        model_transaction_policy={"decoupled": True},
        # vLLM places the model on its GPUs itself; KIND_GPU would pin it to one. The instances of one
        # KIND_MODEL group share an engine.
        instance_group=[ModelInstanceGroup(count=front_ends, kind=ModelInstanceGroup.KIND_MODEL)],
    )
    return str(text_format.MessageToString(config))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
