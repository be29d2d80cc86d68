"""Waiting for a VLLMModel's conditions, and telling what they say as they change."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from demo.kubectl import Kubectl, Manifest


class NotInTime(Exception):
    """Something did not become true before its deadline; the text says what was seen last."""


def condition(model: Mapping[str, Any] | None, kind: str) -> Mapping[str, Any]:
    """One condition of a model, empty where it is absent."""
    conditions = ((model or {}).get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == kind), {})


def is_current(model: Mapping[str, Any]) -> bool:
    """Whether the status is about the newest spec."""
    return bool((model.get("status") or {}).get("observedGeneration") == model["metadata"]["generation"])


def has(model: Mapping[str, Any] | None, **wanted: str | None) -> bool:
    """Whether a current status has these, by status or reason; None means absent or False."""
    if model is None or not is_current(model):
        return False
    for kind, value in wanted.items():
        found = condition(model, kind)
        if value is None and found.get("status", "False") != "False":
            return False
        if value is not None and value not in (found.get("status"), found.get("reason")):
            return False
    return True


def one_line(model: Mapping[str, Any]) -> str:
    """All conditions of a model in a line."""
    conditions = (model.get("status") or {}).get("conditions") or []
    return "  ".join(f"{each['type']}={each['status']}/{each['reason']}" for each in conditions)


def changes(versions: Iterator[Manifest]) -> Iterator[tuple[Manifest, str]]:
    """Each version of a model whose conditions read differently from the one before."""
    last = ""
    for version in versions:
        line = one_line(version)
        if line != last:
            last = line
            yield version, line


def wait_for(
    what: str,
    look: Callable[[], Any],
    *,
    timeout: float,
    every: float = 0.5,
    describe: Callable[[], str] = lambda: "",
) -> Any:
    """Look again and again until something true is seen, and return it."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while True:
        if seen := look():
            return seen
        if time.monotonic() > deadline:
            raise NotInTime(f"{what}: not within {timeout:.0f} s. {describe()}".strip())
        pause.wait(every)


def wait_for_model(
    kubectl: Kubectl, name: str, namespace: str, *, timeout: float, **wanted: str | None
) -> Manifest:
    """Wait until a model has these conditions, as `has` reads them."""

    def look() -> Manifest | None:
        model = kubectl.get("vllm", name, namespace)
        return model if has(model, **wanted) else None

    def describe() -> str:
        return _describe(kubectl, name, namespace)

    spelled = ", ".join(f"{kind}={value}" for kind, value in wanted.items())
    found: Manifest = wait_for(f"{name} to have {spelled}", look, timeout=timeout, describe=describe)
    return found


def _describe(kubectl: Kubectl, name: str, namespace: str) -> str:
    """What a person would look at next: the status, the pods and the last words of their containers."""
    model = kubectl.get("vllm", name, namespace)
    lines = [f"Last seen: {one_line(model) if model else 'no such model'}"]
    lines += [
        f"  {each['type']}: {each.get('message')}"
        for each in ((model or {}).get("status") or {}).get("conditions", [])
    ]
    for pod in kubectl.list("pods", namespace, f"triton-vllm.dev/model={name}"):
        pod_name = pod["metadata"]["name"]
        lines.append(f"Pod {pod_name}: {pod['status'].get('phase')} {pod['status'].get('containerStatuses')}")
        lines.append(kubectl.run("logs", pod_name, "--namespace", namespace, "--tail=30", "--ignore-errors"))
    return "\n".join(lines)
