"""What the store of observed objects holds for many models: resident memory, and the time of one look.

Objects are those that the operator would apply, with the record of their fields as long as the API server's,
a ReplicaSet and a serving pod: `python bench/store_memory.py [models]`.
"""

# ruff: noqa: E402
import copy
import gc
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "operator")]

from vllm_operator.api.v1alpha1 import parse_model
from vllm_operator.desired import state
from vllm_operator.desired.revision import accept
from vllm_operator.observed.store import Key, ObservedStore
from vllm_operator.settings import Settings


def main() -> None:
    """Fill a store and print what it takes."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    template = _objects()
    print(f"{sum(len(json.dumps(obj)) for obj in template) / 1024:.1f} KiB of JSON a model")
    gc.collect()
    before, store, began = _resident_mib(), ObservedStore(), time.perf_counter()
    for number in range(count):
        for obj in _renamed(template, number):
            store.put(obj)
    took = time.perf_counter() - began
    gc.collect()
    print(f"{count} models: {_resident_mib() - before:.0f} MiB, {took / count * 1000:.2f} ms a model to put")
    began = time.perf_counter()
    for number in range(1000):
        store.observe(Key("ns", f"model-{number}"), f"uid-model-{number}", {})
    print(f"{(time.perf_counter() - began):.2f} ms to observe a model")


def _resident_mib() -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found.group(1)) / 1024 if found else 0.0


def _objects() -> list[dict[str, Any]]:
    model = {
        "apiVersion": "triton-vllm.dev/v1alpha1",
        "kind": "VLLMModel",
        "metadata": {"name": "the-model", "namespace": "ns", "uid": "uid-the-model", "generation": 1},
        "spec": {"source": {"huggingFace": {"repository": "facebook/opt-125m"}}, "gpus": {"count": 1}},
    }
    parsed = parse_model(model)
    revision = accept(parsed, Settings(vllm_versions=("*=0.32.0",)), current=None)
    children = state.build(parsed.identity, revision, replicas=1).objects
    applied = [copy.deepcopy(dict(obj)) for obj in (revision.to_object(parsed.identity, 1), *children)]
    (deployment,) = (obj for obj in applied if obj["kind"] == "Deployment")
    replica_set = _owned(
        "ReplicaSet", "rs", deployment, {"replicas": 1, "template": deployment["spec"]["template"]}
    )
    pod = _owned("Pod", "pod", replica_set, {**deployment["spec"]["template"]["spec"], "nodeName": "node-1"})
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    pod["status"] = {"phase": "Running", "podIP": "10.0.0.1", "conditions": conditions}
    objects = [model, *applied, replica_set, pod]
    for obj in objects:
        obj["metadata"].setdefault("labels", {})["triton-vllm.dev/model"] = "the-model"
        fields = _fields({key: value for key, value in obj.items() if key not in ("apiVersion", "kind")})
        obj["metadata"]["managedFields"] = [
            {"manager": "vllm-operator", "operation": "Apply", "fieldsV1": fields}
        ]
        obj["metadata"].setdefault("uid", f"uid-{obj['kind']}-the-model")
    return objects


def _owned(kind: str, suffix: str, owner: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    reference = {
        "uid": f"uid-{owner['kind']}-the-model",
        "controller": True,
        "kind": owner["kind"],
        "name": "the-model",
    }
    metadata = {"name": f"the-model-{suffix}", "namespace": "ns", "ownerReferences": [reference]}
    return copy.deepcopy({"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec})


def _fields(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {f"f:{key}": _fields(item) for key, item in value.items()}
    return {}


def _renamed(objects: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    text = json.dumps(objects).replace("the-model", f"model-{number}")
    made: list[dict[str, Any]] = json.loads(text)
    for place, obj in enumerate(made):
        obj["metadata"]["resourceVersion"] = str(1000 + number * 10 + place)
    return made


if __name__ == "__main__":
    main()
