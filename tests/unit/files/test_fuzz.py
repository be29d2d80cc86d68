"""Whatever is in a file: an answer in sentences, never a traceback; and a valid spec is never refused."""

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from unit.builders import SETTINGS
from unit.specs import NAMES, SPECS
from vllm_operator.api.conditions import Problem
from vllm_operator.engineargs import check, schema, warnings
from vllm_operator.files import output
from vllm_operator.files.documents import parse
from vllm_operator.files.findings import Report, examine
from vllm_operator.files.render import Refused, as_yaml, models, objects, revision_of

RELAXED = settings(
    deadline=None,
    max_examples=80,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking a whole spec takes minutes
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        [
            "\0",
            "../..",
            "$(reboot)",
            "{{ x }}",
            "'; rm -rf /",
            "\u202e",
            "\ud800",
            "\U00010000",
            "8k",
            "true",
            "1e999",
            "~",
        ]
    )
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=12,
)
ARGUMENTS = sorted(schema.newest().arguments)
ENGINE_ARGS = st.dictionaries(st.sampled_from(ARGUMENTS) | st.text(max_size=12), JSON, max_size=6)


def model(name: str, spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "triton-vllm.dev/v1alpha1",
        "kind": "VLLMModel",
        "metadata": {"name": name},
        "spec": spec,
    }


def judged(text: str) -> Report:
    """The report in every format: one line per finding, and data that parses."""
    report = examine(parse(text.encode("utf-8", "surrogatepass"), "f.yaml"), SETTINGS)
    assert len(output.text(report).splitlines()) == len(report.findings) + 1
    json.loads(output.as_json(report))
    json.loads(output.sarif(report))
    for finding in report.findings:
        assert finding.message.isprintable()
        assert finding.message
    return report


@given(name=NAMES, spec=SPECS)
@RELAXED
def test_a_valid_spec_is_never_refused(name: str, spec: dict[str, Any]) -> None:
    for text in (json.dumps(model(name, spec)), as_yaml([model(name, spec)])):
        assert [finding for finding in judged(text).findings if finding.level == "error"] == []
    (found,) = models(parse(text.encode(), "f"), "default")
    manifests = objects(found, revision_of(found, SETTINGS))
    assert [document.value for document in parse(as_yaml(manifests).encode(), "f")] == json.loads(
        json.dumps(manifests)
    )


@given(spec=SPECS, data=st.data())
@RELAXED
def test_a_mutated_spec_gets_an_answer(spec: dict[str, Any], data: st.DataObject) -> None:
    mutated = deepcopy(spec)
    for _ in range(data.draw(st.integers(1, 3))):
        mutate(mutated, data)
    text = json.dumps(model("opt", mutated))
    report = judged(text)
    try:
        for found in models(parse(text.encode(), "f"), "default"):
            objects(found, revision_of(found, SETTINGS))
    except Refused:
        assert report.errors
    else:
        # What the operator would take may still be refused by a strict client, never the other way round.
        assert all("is not a field" in f.message or f.level == "warning" for f in report.findings)


def mutate(value: Any, data: st.DataObject) -> None:
    """Replace, add or remove something somewhere in a spec."""
    while True:
        if isinstance(value, dict):
            key = data.draw(st.sampled_from(sorted(value)) if value else st.text(max_size=8))
            if isinstance(value.get(key), dict | list) and value[key] and data.draw(st.booleans()):
                value = value[key]
                continue
            if key in value and data.draw(st.booleans()):
                del value[key]
            else:
                value[data.draw(st.just(key) | st.text(max_size=8))] = data.draw(JSON)
        elif isinstance(value, list):
            index = data.draw(st.integers(0, len(value) - 1))
            if isinstance(value[index], dict) and value[index] and data.draw(st.booleans()):
                value = value[index]
                continue
            value[index] = data.draw(JSON)
        return


@given(value=JSON)
@RELAXED
def test_any_json_gets_an_answer(value: Any) -> None:
    judged(json.dumps(value))
    judged(json.dumps(model("opt", value)))


@given(
    text=st.text(max_size=300)
    | st.from_regex(r"([a-z]{1,3}: ?[\[{&*!|>-]{0,2}[a-z0-9]{0,3}\n){1,8}", fullmatch=True)
)
@RELAXED
def test_any_text_gets_an_answer(text: str) -> None:
    judged(text)
    judged(f"apiVersion: triton-vllm.dev/v1alpha1\nkind: VLLMModel\n{text}")


@given(
    arguments=ENGINE_ARGS, version=st.sampled_from([*(f"{m}.0" for m in schema.known_minors()), None, "9.9"])
)
@RELAXED
def test_any_engine_arguments_get_an_answer(arguments: Mapping[str, Any], version: str | None) -> None:
    for permitted in (frozenset[str](), frozenset(ARGUMENTS)):
        for problem in check(arguments, vllm_version=version, permitted=permitted, gpus=1):
            assert isinstance(problem, Problem)
            assert problem.message.startswith("spec.engineArgs")
            assert len(problem.message) < 700
    warnings(arguments, vllm_version=version)
