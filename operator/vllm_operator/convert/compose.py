"""Services of a docker-compose file that run vLLM."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from vllm_operator.convert import shell
from vllm_operator.convert.options import Token
from vllm_operator.convert.serving import Place, Serving, mapping, text
from vllm_operator.engineargs.environment import INSTEAD

_READ: Final = frozenset({"entrypoint", "command", "environment", "deploy", "gpus", "shm_size"})
_NO_PLACE: Final = {
    "volumes": "put the model into a claim (`spec.source`), downloads into `spec.cache`",
    "ports": "the Service has ports 8000 (HTTP), 8001 (gRPC) and 8002 (metrics)",
    "image": "`spec.runtime.image` needs Triton and the backend beside vLLM",
    "healthcheck": "the operator probes by inferences: `spec.probe`",
    "restart": "Kubernetes restarts containers",
    "depends_on": "models do not depend on one another",
    "ipc": "`spec.sharedMemory` has its own default",
    "env_file": "write its variables into `spec.runtime.env`",
    "container_name": "pods are named by Kubernetes",
    "runtime": "`spec.gpus` asks for GPUs",
    "mem_limit": "say `spec.resources`",
    "cpus": "say `spec.resources`",
}
_ALL_GPUS: Final = "all GPUs of a machine: say how many in `spec.gpus.count`"
#: `${NAME}` and `$NAME`, which compose replaces; `$$` stands for a dollar.
_FILLED_IN: Final = re.compile(r"(?<!\$)(?:\$\$)*\$[{A-Za-z_]")


def read(document: Mapping[str, Any], place: Callable[[str], Place]) -> Iterator[Serving]:
    """One Serving for each service whose image or command is vLLM's."""
    for name, value in mapping(document.get("services")).items():
        service, path = mapping(value), f"services.{name}"
        words = [*_words(service, "entrypoint", path, place), *_words(service, "command", path, place)]
        variables, passed = _environment(service.get("environment"), path, place)
        for serving in _servings(service, words, variables, place(path)):
            serving.name = str(name)
            _model_option(serving)
            for variable, at in passed.items():
                serving.leave(at, f"variable `{variable}`: compose fills in its value; write it out")
            _gpus(serving, service, path, place)
            _rest(serving, service, path, place)
            yield serving


def _servings(
    service: Mapping[str, Any], words: list[Token], variables: shell.Variables, at: Place
) -> Iterator[Serving]:
    """What the command serves; options alone are those of the image's own entry point."""
    image = text(service.get("image"))
    named = any(word == "vllm" or "api_server" in word for word, _ in words)
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


def _environment(
    value: Any, path: str, place: Callable[[str], Place]
) -> tuple[dict[str, tuple[str, Place]], dict[str, Place]]:
    """The variables with values, and those whose values compose takes from its own environment."""
    if isinstance(value, Mapping):
        pairs = [(str(name), given, f"{path}.environment.{name}") for name, given in value.items()]
    else:
        listed = [str(item).partition("=") for item in (value if isinstance(value, list) else [])]
        pairs = [
            (name, given if equals else None, f"{path}.environment[{i}]")
            for i, (name, equals, given) in enumerate(listed)
        ]
    given_here: dict[str, tuple[str, Place]] = {}
    passed: dict[str, Place] = {}
    for name, given, where in pairs:
        if name in INSTEAD:
            given_here[name] = "", place(where)  # its value has no place, whatever it is
        elif given is None or _FILLED_IN.search(str(given)):
            passed[name] = place(where)
        else:
            given_here[name] = str(given).replace("$$", "$"), place(where)
    return given_here, passed


def _model_option(serving: Serving) -> None:
    if not serving.model and "model" in serving.arguments:
        serving.model = text(serving.arguments["model"])


def _gpus(serving: Serving, service: Mapping[str, Any], path: str, place: Callable[[str], Place]) -> None:
    """Devices that are reserved, or `gpus`: their number, where one is said."""
    reservations = mapping(mapping(mapping(service.get("deploy")).get("resources")).get("reservations"))
    for at, listed in (
        (f"{path}.deploy.resources.reservations.devices", reservations.get("devices")),
        (f"{path}.gpus", service.get("gpus")),
    ):
        if text(listed) == "all":
            serving.leave(place(at), _ALL_GPUS)
        for index, device in enumerate(listed if isinstance(listed, list) else []):
            ids, count = mapping(device).get("device_ids"), mapping(device).get("count", "all")
            if isinstance(ids, list) and ids:
                serving.spec["gpus"] = {"count": len(ids)}
            elif text(count).isdigit() and int(text(count)) > 0:
                serving.spec["gpus"] = {"count": int(text(count))}
            elif count == "all":  # also where no number is said
                serving.leave(place(f"{at}[{index}]"), _ALL_GPUS)


def _rest(serving: Serving, service: Mapping[str, Any], path: str, place: Callable[[str], Place]) -> None:
    if size := service.get("shm_size"):
        serving.spec["sharedMemory"] = {"sizeLimit": _quantity(str(size))}
    replicas = mapping(service.get("deploy")).get("replicas")
    if isinstance(replicas, int) and replicas > 0:
        serving.spec["replicas"] = replicas
    for key in service:
        if key not in _READ:
            why = _NO_PLACE.get(str(key), "has no place in a VLLMModel")
            serving.leave(place(f"{path}.{key}"), f"`{key}` of service '{serving.name}': {why}")


def _quantity(size: str) -> str:
    """Docker's `16gb` and `16g` as Kubernetes' `16Gi`."""
    letters = size.lower().rstrip("b")
    units = {"k": "Ki", "m": "Mi", "g": "Gi"}
    return f"{letters[:-1]}{units[letters[-1]]}" if letters[-1:] in units else letters
