"""What one foreign description says: collected by the readers of this package, made into a VLLMModel here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vllm_operator.api.meta import API_VERSION, KIND
from vllm_operator.api.v1alpha1 import MAX_NAME
from vllm_operator.engineargs import schema
from vllm_operator.engineargs.environment import INSTEAD
from vllm_operator.engineargs.names import serve_flag
from vllm_operator.engineargs.replaced import REPLACED

#: Line and column, both from 1.
Place = tuple[int, int]
START: Final[Place] = (1, 1)
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
_NO_MODEL: Final = "names no model: say which one, such as its repository `org/name` on the Hugging Face Hub"


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that has no place in a VLLMModel, and where it is done instead.

    With `error`, something without which there is no VLLMModel at all; the message is a sentence of its own.
    """

    place: Place
    message: str
    error: bool = False


@dataclass(slots=True)
class Serving:
    """One model server as its own description tells it."""

    name: str = ""
    model: str = ""
    place: Place = START
    arguments: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    """Fields of the spec that the description gives beside the engine's arguments."""
    places: dict[str, Place] = field(default_factory=dict)
    """Where fields of the spec came from, by their path, such as `spec.engineArgs.dtype`."""
    leftovers: list[Leftover] = field(default_factory=list)

    def leave(self, place: Place, message: str) -> None:
        """Remember that something has no place."""
        self.leftovers.append(Leftover(place, message))

    def set(self, name: str, value: Any, place: Place) -> None:
        """Take an engine argument."""
        self.arguments[name] = value
        self.places[f"spec.engineArgs.{name}"] = place


def manifest(serving: Serving) -> dict[str, Any]:
    """The VLLMModel; what cannot be in one is added to the leftovers."""
    arguments = dict(serving.arguments)
    model = text(arguments.pop("model", None)) or serving.model
    _leave_flags(serving, arguments)
    _leave_needless(serving, arguments)
    served = _served_name(serving, arguments)
    spec: dict[str, Any] = {"source": serving.spec.get("source") or _source(serving, model, arguments)}
    if served:
        spec["servedName"] = served
    if front_ends := _whole(arguments.pop("api_server_count", None)):
        spec["runtime"] = {"frontEnds": min(front_ends, 8)}
    if arguments:
        spec["engineArgs"] = arguments
    spec |= {key: value for key, value in serving.spec.items() if key not in ("source", "runtime")}
    runtime = spec.pop("runtime", {}) | serving.spec.get("runtime", {})
    variables = _variables(serving, spec)
    if variables:
        runtime["env"] = variables
    if runtime:
        spec["runtime"] = runtime
    name = object_name(serving.name or served or model)
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}


def object_name(text: str) -> str:
    """A name that Kubernetes takes for the object and its Service, made from a model's name."""
    words = re.sub(r"[^a-z0-9]+", "-", text.rpartition("/")[2].lower()).strip("-")
    words = words if words[:1].isalpha() else f"m-{words}".rstrip("-")
    return words[:MAX_NAME].rstrip("-") or "model"


def _leave_flags(serving: Serving, arguments: dict[str, Any]) -> None:
    flags = schema.serve_flags()
    for name in [n for n in arguments if n in flags and n != "api_server_count"]:
        if any(name in schema.load(minor).arguments for minor in schema.known_minors()):
            continue
        del arguments[name]
        place = serving.places.pop(f"spec.engineArgs.{name}", serving.place)
        serving.leave(place, f"`{name}`: {serve_flag(name)}")


def _leave_needless(serving: Serving, arguments: dict[str, Any]) -> None:
    """Options of older versions that ask for what is so anyway, or for what no supported version can do."""
    for name in [name for name in arguments if REPLACED.get(name, "").startswith("remove it")]:
        if schema.newest_with(name) is None:
            del arguments[name]
            place = serving.places.pop(f"spec.engineArgs.{name}", serving.place)
            serving.leave(place, f"`{name}`: {REPLACED[name]}")


def _served_name(serving: Serving, arguments: dict[str, Any]) -> str:
    given = arguments.pop("served_model_name", None)
    names = [str(name) for name in given] if isinstance(given, list) else [str(given)] if given else []
    place = serving.places.pop("spec.engineArgs.served_model_name", serving.place)
    if len(names) > 1:
        serving.leave(place, f"`served_model_name`: a model has one name here; the others are {names[1:]}")
    if names and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", names[0]):
        serving.leave(place, f"`served_model_name`: '{names[0]}' cannot be a name in Triton; another is made")
        return ""
    return names[0] if names else ""


def _source(serving: Serving, model: str, arguments: dict[str, Any]) -> dict[str, Any]:
    revision = arguments.pop("revision", None)
    token = arguments.pop("hf_token", None)
    directory = arguments.pop("download_dir", None)
    if directory:
        place = serving.places.pop("spec.engineArgs.download_dir", serving.place)
        serving.leave(place, "`download_dir`: use `spec.cache.persistentVolumeClaim` to keep downloads")
    if token:
        place = serving.places.pop("spec.engineArgs.hf_token", serving.place)
        serving.leave(place, "`hf_token`: put it into a Secret and name that in `tokenSecretKeyRef`")
    on_the_hub = model.startswith("hf://")
    model = model.removeprefix("hf://")
    if model and (on_the_hub or _REPOSITORY.fullmatch(model)):
        return {"huggingFace": {"repository": model} | ({"revision": str(revision)} if revision else {})}
    if not model:
        serving.leftovers.append(Leftover(serving.place, _NO_MODEL, error=True))
        return {"persistentVolumeClaim": {"claimName": "models"}}
    serving.leave(
        serving.place,
        f"the model '{model}' is a path or a URL: put it into a claim or an image, and name that in "
        "`spec.source`",
    )
    path = re.sub(r"^[a-z0-9+]+://", "", model).strip("/")
    claim: dict[str, Any] = {"claimName": "models"}
    if path and not path.startswith(("$", ".")) and "$" not in path:
        claim["path"] = path
    return {"persistentVolumeClaim": claim}


def _variables(serving: Serving, spec: dict[str, Any]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for name, value in serving.environment.items():
        place = serving.places.get(f"env.{name}", serving.place)
        if name in INSTEAD:
            serving.leave(place, f"variable `{name}`: use {INSTEAD[name]} instead")
            continue
        serving.places[f"spec.runtime.env[{len(found)}]"] = place
        found.append({"name": name, "value": value})
    return found


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 1 else 0


def text(value: Any) -> str:
    """A name or a model as text; nothing for null, which YAML makes of an empty value."""
    return "" if value is None or isinstance(value, bool | list | Mapping) else str(value).strip()


def mapping(value: Any) -> Mapping[str, Any]:
    """A mapping as it is, anything else as an empty one."""
    return value if isinstance(value, Mapping) else {}
