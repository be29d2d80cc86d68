"""What a strict client refuses before the API server sees the object: unknown and repeated fields."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final, get_args

from vllm_operator.api.base import Model, Violation
from vllm_operator.api.meta import API_VERSION, GROUP, KIND
from vllm_operator.api.spec import VLLMModelSpec

TOP: Final = ("apiVersion", "kind", "metadata", "spec", "status")
METADATA: Final = (
    "annotations", "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers",
    "generateName", "generation", "labels", "managedFields", "name", "namespace", "ownerReferences",
    "resourceVersion", "selfLink", "uid",
)  # fmt: skip


def is_ours(value: Any) -> bool:
    """Whether a document is, or was meant to be, an object of our API group."""
    return isinstance(value, Mapping) and str(value.get("apiVersion", "")).partition("/")[0] == GROUP


def violations(value: Mapping[str, Any]) -> Iterator[Violation]:
    """Everything that a strict client would refuse in an object of our group."""
    if value.get("apiVersion") != API_VERSION:
        yield Violation("apiVersion", f"must be '{API_VERSION}'")
    if value.get("kind") != KIND:
        yield Violation("kind", f"must be '{KIND}'")
    yield from _unknown(value, "", TOP)
    metadata = value.get("metadata")
    if not isinstance(metadata, Mapping):
        yield Violation("metadata", "must be an object with a `name`")
    else:
        yield from _unknown(metadata, "metadata", METADATA)
        for name in ("labels", "annotations"):
            entries = metadata.get(name)
            for key, text in entries.items() if isinstance(entries, Mapping) else ():
                if not isinstance(text, str):
                    yield Violation(f"metadata.{name}.{key}", "must be a string: write it in quotes")
    if "spec" in value:
        yield from _fields(value["spec"], VLLMModelSpec, "spec")
    else:
        yield Violation("spec", "is required")


def _fields(value: Any, model: type[Model], path: str) -> Iterator[Violation]:
    if not isinstance(value, Mapping):
        return  # of the wrong type: the model itself says so
    known = {info.alias or name: info for name, info in model.model_fields.items()}
    if model.model_config.get("extra") != "allow":
        yield from _unknown(value, path, tuple(known))
    for key, info in known.items():
        child = next(_models(info.annotation), None)
        if child is None or key not in value:
            continue
        items = value[key]
        if isinstance(items, list):
            for index, item in enumerate(items):
                yield from _fields(item, child, f"{path}.{key}[{index}]")
        else:
            yield from _fields(items, child, f"{path}.{key}")


def _models(annotation: Any) -> Iterator[type[Model]]:
    """The parts of the resource that an annotation refers to."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _unknown(value: Mapping[str, Any], path: str, known: tuple[str, ...]) -> Iterator[Violation]:
    for key in value:
        if key in known:
            continue
        near = get_close_matches(str(key)[:64], known, n=1, cutoff=0.6)
        hint = f"; did you mean `{near[0]}`?" if near else "; remove it"
        name = str(key) if len(str(key)) <= 64 else f"{str(key)[:61]}..."
        yield Violation(f"{path}.{name}" if path else name, f"is not a field of {KIND}{hint}")
