"""Services of a docker-compose file that run vLLM."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vllm_operator.convert import shell
from vllm_operator.convert.options import Token
from vllm_operator.convert.serving import Place, Serving, mapping, text


def read(document: Mapping[str, Any], place: Callable[[str], Place]) -> Iterator[Serving]:
    """One Serving for each service whose image or command is vLLM's."""
    for name, value in mapping(document.get("services")).items():
        service, path = mapping(value), f"services.{name}"
        words = [*_words(service, "entrypoint", path, place), *_words(service, "command", path, place)]
        variables = _environment(service.get("environment"), path, place)
        for serving in _servings(service, words, variables, place(path)):
            serving.name = str(name)
            _model_option(serving)
            _rest(serving, service, path, place)
            yield serving


def _servings(
    service: Mapping[str, Any], words: list[Token], variables: shell.Variables, at: Place
) -> Iterator[Serving]:
    """What the command serves; options alone are those of the image's own entry point."""
    image = text(service.get("image"))
    named = any(text == "vllm" or "api_server" in text for text, _ in words)
    if "vllm" in image and not named and shell.script_of(words) is None:
        words = [("vllm", at), ("serve", at), *words]
    return shell.from_words(words, variables)


def _words(service: Mapping[str, Any], key: str, path: str, place: Callable[[str], Place]) -> list[Token]:
    value = service.get(key)
    if isinstance(value, str):
        try:
            return [(word, place(f"{path}.{key}")) for word in shlex.split(value)]
        except ValueError:
            return []
    items = value if isinstance(value, list) else []
    return [(str(item), place(f"{path}.{key}[{index}]")) for index, item in enumerate(items)]


def _environment(value: Any, path: str, place: Callable[[str], Place]) -> dict[str, tuple[str, Place]]:
    if isinstance(value, Mapping):
        pairs = [(str(name), text, f"{path}.environment.{name}") for name, text in value.items()]
    else:
        listed = [str(item).partition("=") for item in (value if isinstance(value, list) else [])]
        pairs = [(name, text, f"{path}.environment[{i}]") for i, (name, _, text) in enumerate(listed)]
    return {name: ("" if text is None else str(text), place(where)) for name, text, where in pairs}


def _model_option(serving: Serving) -> None:
    if not serving.model and "model" in serving.arguments:
        serving.model = text(serving.arguments["model"])


def _rest(serving: Serving, service: Mapping[str, Any], path: str, place: Callable[[str], Place]) -> None:
    reservations = mapping(mapping(mapping(service.get("deploy")).get("resources")).get("reservations"))
    devices = reservations.get("devices")
    for device in devices if isinstance(devices, list) else []:
        count = mapping(device).get("count")
        if isinstance(count, int) and count > 0:
            serving.spec["gpus"] = {"count": count}
    if size := service.get("shm_size"):
        serving.spec["sharedMemory"] = {"sizeLimit": _quantity(str(size))}
    for key, why in (
        ("volumes", "put the model into a claim (`spec.source`), downloads into `spec.cache`"),
        ("ports", "the Service has ports 8000 (HTTP), 8001 (gRPC) and 8002 (metrics)"),
        ("image", "`spec.runtime.image` needs Triton and the backend beside vLLM"),
        ("healthcheck", "the operator probes by inferences: `spec.probe`"),
        ("restart", "Kubernetes restarts containers"),
        ("depends_on", "models do not depend on one another"),
        ("ipc", "`spec.sharedMemory` has its own default"),
    ):
        if key in service:
            serving.leave(place(f"{path}.{key}"), f"`{key}` of service '{serving.name}': {why}")


def _quantity(size: str) -> str:
    """Docker's `16gb` and `16g` as Kubernetes' `16Gi`."""
    letters = size.lower().rstrip("b")
    units = {"k": "Ki", "m": "Mi", "g": "Gi"}
    return f"{letters[:-1]}{units[letters[-1]]}" if letters[-1:] in units else letters
