"""KServe's InferenceService with the Hugging Face runtime or a vLLM container."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from vllm_operator.convert import options, shell
from vllm_operator.convert.serving import Place, Serving, mapping, text

GROUP: Final = "serving.kserve.io"
#: Options of KServe's own server that mean something else there than in vLLM.
_OWN: Final = {"model_id": "model", "model_name": "served_model_name", "model_dir": "model"}
_IGNORED: Final = ("backend", "http_port", "grpc_port", "enable_docs_url", "enable_latency_logging", "task")

_READ: Final = frozenset({"model", "containers", "minReplicas", "nodeSelector", "tolerations", "affinity"})
_READ_OF_CONTAINER: Final = frozenset(
    {"name", "modelFormat", "command", "args", "env", "resources", "storageUri", "storage"}
)
_NO_PLACE: Final = {
    "maxReplicas": "scale by an HPA or KEDA on the VLLMModel's `/scale`",
    "scaleTarget": "scale by an HPA or KEDA on the VLLMModel's `/scale`",
    "scaleMetric": "scale by an HPA or KEDA on the VLLMModel's `/scale`",
    "serviceAccountName": "pods run without an account of their own",
    "workerSpec": "a replica is one pod here",
}


def read(document: Mapping[str, Any], place: Callable[[str], Place]) -> Iterator[Serving]:
    """The predictor's model or container as one Serving."""
    predictor, path = mapping(mapping(document.get("spec")).get("predictor")), "spec.predictor"
    part = "model" if mapping(predictor.get("model")) else "containers"
    listed = predictor.get("containers")
    container = mapping(predictor.get("model")) or mapping(
        listed[0] if isinstance(listed, list) and listed else {}
    )
    where = f"{path}.model" if part == "model" else f"{path}.containers[0]"
    serving = _command(container, where, place)
    serving.name = text(mapping(document.get("metadata")).get("name"))
    _own_options(serving)
    _storage(serving, container, where, place)
    container_fields(serving, container, where, place)
    if isinstance(minimum := predictor.get("minReplicas"), int) and minimum > 0:
        serving.spec["replicas"] = minimum
    for key in predictor:
        if key not in _READ:
            why = _NO_PLACE.get(str(key), "has no place in a VLLMModel")
            serving.leave(place(f"{path}.{key}"), f"`{key}`: {why}")
    for key in container:
        if key not in _READ_OF_CONTAINER:
            serving.leave(place(f"{where}.{key}"), f"`{key}`: has no place in a VLLMModel")
    for part_name in ("transformer", "explainer"):
        if part_name in mapping(document.get("spec")):
            serving.leave(place(f"spec.{part_name}"), f"`{part_name}`: is not part of a VLLMModel")
    scheduling(serving, predictor)
    yield serving


def _command(container: Mapping[str, Any], where: str, place: Callable[[str], Place]) -> Serving:
    words = [
        (str(word), place(f"{where}.{key}[{index}]"))
        for key in ("command", "args")
        for index, word in enumerate(_list(container.get(key)))
    ]
    found = next(shell.from_words(words), None)
    if found is None:
        found = Serving(place=place(where))
        if script := shell.script_of(words):
            found.leave(script[1], "the script: it runs no `vllm serve`, so its options are not vLLM's")
            return found
        arguments = [w for w in words if w[0].startswith("-") or w[1] >= place(f"{where}.args")]
        options.read(found, arguments)
    return found


def _own_options(serving: Serving) -> None:
    for own, ours in _OWN.items():
        if own in serving.arguments:
            value = serving.arguments.pop(own)
            serving.set(ours, value, serving.places.pop(f"spec.engineArgs.{own}", serving.place))
    for name in _IGNORED:
        if name in serving.arguments:
            del serving.arguments[name]
            place = serving.places.pop(f"spec.engineArgs.{name}", serving.place)
            serving.leave(place, f"`{name}`: belongs to KServe's own server")


def _storage(
    serving: Serving, container: Mapping[str, Any], where: str, place: Callable[[str], Place]
) -> None:
    uri = text(container.get("storageUri")) or text(mapping(container.get("storage")).get("path"))
    scheme, _, rest = uri.partition("://")
    if scheme and not rest:
        return
    if scheme == "pvc":
        claim, _, path = rest.partition("/")
        serving.spec["source"] = {
            "persistentVolumeClaim": {"claimName": claim} | ({"path": path.strip("/")} if path else {})
        }
    elif scheme == "hf":
        serving.model = rest.partition(":")[0]
    elif scheme == "oci":
        serving.spec["source"] = {"image": {"reference": rest}}
    elif uri:
        serving.model = uri
        serving.place = place(f"{where}.storageUri")
    if "source" in serving.spec:
        serving.arguments.pop("model", None)


def container_fields(
    serving: Serving, container: Mapping[str, Any], where: str, place: Callable[[str], Place]
) -> None:
    """Variables, resources and GPUs of a container."""
    listed = container.get("env")
    for index, entry in enumerate(listed if isinstance(listed, list) else []):
        name, at = text(mapping(entry).get("name")), place(f"{where}.env[{index}]")
        if "value" in mapping(entry):
            serving.environment[name], serving.places[f"env.{name}"] = str(mapping(entry)["value"]), at
        elif name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            _token(serving, mapping(mapping(mapping(entry).get("valueFrom")).get("secretKeyRef")))
        else:
            serving.leave(at, f"variable `{name}`: only literal values can be given")
    resources = mapping(container.get("resources"))
    _resources(serving, resources)


def _token(serving: Serving, reference: Mapping[str, Any]) -> None:
    if reference:
        serving.spec["_token"] = {"name": reference.get("name"), "key": reference.get("key")}


def _resources(serving: Serving, resources: Mapping[str, Any]) -> None:
    kept: dict[str, Any] = {}
    for kind in ("requests", "limits"):
        amounts = {str(k): v for k, v in mapping(resources.get(kind)).items() if k in ("cpu", "memory")}
        if amounts:
            kept[kind] = amounts
        for name, count in mapping(resources.get(kind)).items():
            if "/" in str(name) and str(count).isdigit():
                gpus: dict[str, Any] = {"count": int(count)}
                serving.spec["gpus"] = gpus | (
                    {} if name == "nvidia.com/gpu" else {"resourceName": str(name)}
                )
    if kept:
        serving.spec["resources"] = kept


def scheduling(serving: Serving, pod: Mapping[str, Any]) -> None:
    """Node selector, tolerations and affinity of a pod."""
    found = {key: pod[key] for key in ("nodeSelector", "tolerations", "affinity") if pod.get(key)}
    if found:
        serving.spec["scheduling"] = found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
