"""KServe and KubeAI: a key that no VLLMModel has is named, known or not."""

import pytest

from unit.convert.readers import from_yaml

KSERVE = (
    "{apiVersion: serving.kserve.io/v1beta1, kind: InferenceService, metadata: {name: m}, spec: {predictor: "
)
KUBEAI = (
    "{apiVersion: kubeai.org/v1, kind: Model, metadata: {name: m}, spec: {url: 'hf://org/m', engine: VLLM, "
)


@pytest.mark.parametrize("key", ["maxReplicas", "volumes", "imagePullSecrets", "timeout", "anything"])
def test_a_predictor(key: str) -> None:
    _, left = from_yaml(f"{KSERVE}{{{key}: 1, model: {{storageUri: 'hf://org/m'}}}}}}}}")
    assert [message.split("`")[1] for message in left] == [key]


@pytest.mark.parametrize("key", ["image", "volumeMounts", "ports", "livenessProbe", "runtime", "anything"])
def test_a_container(key: str) -> None:
    _, left = from_yaml(f"{KSERVE}{{containers: [{{storageUri: 'hf://org/m', {key}: 1}}]}}}}}}")
    assert [message.split("`")[1] for message in left] == [key]


@pytest.mark.parametrize("key", ["maxReplicas", "envFrom", "priorityClassName", "anything"])
def test_kubeai(key: str) -> None:
    _, left = from_yaml(f"{KUBEAI}{key}: 1}}}}")
    assert [message.split("`")[1] for message in left] == [key]
