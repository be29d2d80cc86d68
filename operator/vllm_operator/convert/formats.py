"""Which format a text or document is in, and its models as VLLMModels."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from vllm_operator.convert import compose, kserve, kubeai, shell
from vllm_operator.convert.serving import Leftover, Place, Serving, manifest, mapping

#: What `--from` takes; `auto` finds it out.
FORMATS: Final = ("auto", "serve", "compose", "model.json", "kserve", "kubeai")

Converted = tuple[dict[str, Any], dict[str, Place], list[Leftover]]


def from_text(text: str) -> Iterator[Converted]:
    """The VLLMModels of a text with `vllm serve` commands."""
    for serving in shell.read(text):
        yield _converted(serving)


def from_document(document: Any, place: Callable[[str], Place], wanted: str = "auto") -> Iterator[Converted]:
    """The VLLMModels of a YAML or JSON document; none where it is of another format."""
    value = mapping(document)
    found = _format_of(value)
    if not value or wanted not in ("auto", found):
        return
    readers = {
        "compose": compose.read,
        "kserve": kserve.read,
        "kubeai": kubeai.read,
        "model.json": _model_json,
    }
    for serving in readers[found](value, place) if found in readers else ():
        yield _converted(serving)


def _format_of(value: Mapping[str, Any]) -> str:
    group = str(value.get("apiVersion", "")).partition("/")[0]
    if group == kserve.GROUP and value.get("kind") == "InferenceService":
        return "kserve"
    if group == kubeai.GROUP and value.get("kind") == "Model":
        return "kubeai"
    if "services" in value:
        return "compose"
    return "model.json" if "model" in value and "kind" not in value else ""


def _model_json(value: Mapping[str, Any], place: Callable[[str], Place]) -> Iterator[Serving]:
    serving = Serving(place=place("model"))
    for name, argument in value.items():
        serving.set(str(name), argument, place(str(name)))
    yield serving


def _converted(serving: Serving) -> Converted:
    token = serving.spec.pop("_token", None)
    made = manifest(serving)
    hub = made["spec"]["source"].get("huggingFace")
    if token and hub is not None:
        hub["tokenSecretKeyRef"] = token
    places = {path: place for path, place in serving.places.items() if path.startswith("spec.")}
    return made, {"": serving.place, "spec.source": serving.place} | places, serving.leftovers
