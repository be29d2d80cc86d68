"""KubeAI's Model with the vLLM engine."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from vllm_operator.convert import options
from vllm_operator.convert.serving import Place, Serving, mapping, text

GROUP: Final = "kubeai.org"
_READ: Final = frozenset({"engine", "args", "url", "env", "replicas", "minReplicas", "adapters"})
_NO_PLACE: Final = {
    "autoscalingProfile": "scale by an HPA or KEDA on the VLLMModel's `/scale`",
    "maxReplicas": "scale by an HPA or KEDA on the VLLMModel's `/scale`",
    "targetRequests": "scale by an HPA or KEDA on the VLLMModel's `/scale`",
    "scaleDownDelaySeconds": "scale by an HPA or KEDA on the VLLMModel's `/scale`",
    "loadBalancing": "the Service spreads connections",
    "resourceProfile": "say `spec.gpus` and `spec.resources`: a profile is KubeAI's own",
    "cacheProfile": "name a claim in `spec.cache`",
    "files": "files have no place; put them into the model's folder",
    "features": "the model decides what it does",
    "owner": "use a label",
}


def read(document: Mapping[str, Any], place: Callable[[str], Place]) -> Iterator[Serving]:
    """The Model as one Serving; one of another engine is only named."""
    spec = mapping(document.get("spec"))
    serving = Serving(name=text(mapping(document.get("metadata")).get("name")), place=place("spec.url"))
    engine = spec.get("engine", "VLLM")
    if engine != "VLLM":
        serving.leave(
            place("spec.engine"), f"`engine`: '{engine}' is not vLLM, so no argument means the same"
        )
    listed = spec.get("args")
    words = [
        (str(w), place(f"spec.args[{i}]")) for i, w in enumerate(listed if isinstance(listed, list) else [])
    ]
    if engine == "VLLM":
        options.read(serving, words)
    _url(serving, text(spec.get("url")))
    for name, value in mapping(spec.get("env")).items():
        serving.environment[str(name)] = str(value)
        serving.places[f"env.{name}"] = place(f"spec.env.{name}")
    replicas = spec.get("replicas", spec.get("minReplicas"))
    if isinstance(replicas, int) and replicas > 0:
        serving.spec["replicas"] = replicas
    profile = text(spec.get("resourceProfile")).rpartition(":")[2]
    if profile.isdigit() and int(profile) > 0:
        serving.spec["gpus"] = {"count": int(profile)}
    adapters = [_adapter(mapping(entry)) for entry in _list(spec.get("adapters"))]
    if adapters:
        serving.spec["adapters"] = adapters
    for key in spec:
        if key not in _READ:
            why = _NO_PLACE.get(str(key), "has no place in a VLLMModel")
            serving.leave(place(f"spec.{key}"), f"`{key}`: {why}")
    yield serving


def _url(serving: Serving, url: str) -> None:
    scheme, _, rest = url.partition("://")
    if scheme == "pvc" and rest.partition("/")[0]:
        claim, _, path = rest.partition("?")[0].partition("/")
        where = {"claimName": claim} | ({"path": path.strip("/")} if path else {})
        serving.spec["source"] = {"persistentVolumeClaim": where}
    else:
        serving.model = rest if scheme in ("hf", "pvc") else url


def _adapter(entry: Mapping[str, Any]) -> dict[str, Any]:
    repository = text(entry.get("url")).removeprefix("hf://")
    return {"name": text(entry.get("name")), "source": {"huggingFace": {"repository": repository}}}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
