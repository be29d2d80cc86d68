"""Whatever a text or a document holds, the readers end without a traceback."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vllm_operator.convert import formats

QUICK = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NESTED = "--compilation-config"
PIECES = (
    NESTED, f"{NESTED}.mode", f"{NESTED}.mode.x", f"{NESTED}.mode.x+", f"{NESTED}.", f"{NESTED}..", "=",
    '\'{"mode": 3}\'', "'{\"mode\": [1]}'", "null", "3", "-1", "-", "--", "-O", "''", "org/m", "-tp=",
    "--served-model-name", "A=1", "&&", ";", "|", ">", "2>&1", "&", "(", ")", "<", "\\", "bash", "sh", "-c",
    "'vllm serve x'", "$(", "`", '"', "'", "#", "vllm serve", "<model>", "--no-", "export",
)  # fmt: skip
WORDS = st.lists(st.sampled_from(PIECES), max_size=12)
TEXTS = st.sampled_from(["", "a", "vllm", "-c", "x=y", "a/b"])
LEAVES = st.none() | st.booleans() | st.integers(-2, 9) | TEXTS
KEYS = st.sampled_from(
    [
        "model", "args", "command", "containers", "env", "name", "value", "resources", "limits", "storageUri",
        "minReplicas", "url", "adapters", "engine", "resourceProfile", "image", "environment", "deploy",
        "reservations", "devices", "count", "shm_size", "entrypoint", "predictor",
    ]
)  # fmt: skip
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)

FORMS = ("serving.kserve.io/v1beta1 InferenceService", "kubeai.org/v1 Model", "compose")


@QUICK
@given(WORDS)
def test_a_command(words: list[str]) -> None:
    for value, _, _ in formats.from_text("vllm serve " + " ".join(words)):
        json.dumps(value)


@QUICK
@given(
    TREES, st.sampled_from(["serving.kserve.io/v1beta1 InferenceService", "kubeai.org/v1 Model", "compose"])
)
def test_a_document(tree: Any, form: str) -> None:
    version, _, kind = form.partition(" ")
    document = (
        {"services": {"vllm": tree}}
        if form == "compose"
        else {"apiVersion": version, "kind": kind, "metadata": {"name": "m"}, "spec": tree}
    )
    for value, _, _ in formats.from_document(document, lambda _: (1, 1)):
        json.dumps(value)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ("""--compilation-config '{"mode":3}' --compilation-config.mode.x 4""", {"mode": 3}),
        ("--compilation-config 3 --compilation-config.mode 4", 3),
        ("--compilation-config.mode 3 --compilation-config.mode.x.y 4", {"mode": 3}),
    ],
)
def test_a_key_below_a_plain_value_is_named(options: str, arguments: Any) -> None:
    ((value, _, left),) = formats.from_text(f"vllm serve org/m {options}")
    assert value["spec"]["engineArgs"] == {"compilation_config": arguments}
    assert "is not a mapping here, so it has no such key" in left[0].message
