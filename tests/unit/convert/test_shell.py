"""Commands as people write them in shells and in containers: where each ends, and what belongs to it."""

from typing import Any

import pytest

from unit.convert.readers import from_yaml, one
from vllm_operator.convert import formats, words

SERVE = "vllm serve org/m --tensor-parallel-size"


def spec(text: str) -> dict[str, Any]:
    made: dict[str, Any] = one(text)[0]["spec"]
    return made


@pytest.mark.parametrize(
    "text",
    [
        f"{SERVE} 2; curl x",
        f"{SERVE}=2;curl --retry 3 x",
        f"{SERVE} 2&",
        f"{SERVE} 2 &>log",
        f"{SERVE} 2 >/tmp/log",
        f"{SERVE} 2 2>&1 >> log",
        f"{SERVE} 2 2> err < /dev/null",
        f"nohup {SERVE} 2 >log 2>&1 & disown",
        f"{SERVE} 2|tee log",
        f"{SERVE} 2 > >(tee log) # the log",
        f"{SERVE} 2||exit 1",
        f"( {SERVE} 2 )",
        f"cd /srv && exec {SERVE} 2 && echo done",
        f">log {SERVE} 2",
        f"{SERVE} \\\n  2 ; \\\n  curl x",
        f"bash -c '{SERVE} 2; curl x'",
        f'bash -o pipefail -lc "{SERVE} 2 | tee log"',
        f"sh -c '\n{SERVE} 2\n'",
        f"docker exec box /bin/sh -ec '{SERVE} 2'",
    ],
)
def test_only_its_own_words_belong_to_a_command(text: str) -> None:
    made, _, left = one(text)
    assert made["spec"] == {
        "source": {"huggingFace": {"repository": "org/m"}},
        "engineArgs": {"tensor_parallel_size": 2},
    }
    assert left == []


def test_a_redirection_is_no_name() -> None:
    made = spec("vllm serve org/m --served-model-name qwen >/tmp/log")
    assert made["servedName"] == "qwen"


@pytest.mark.parametrize(
    "text",
    [
        "export A=1 && vllm serve org/m --dtype=half",
        "export A=1; vllm serve org/m --dtype=half",
        "export A=1\nvllm serve org/m --dtype=half",
        "true && export -x A=1\nvllm serve org/m --dtype=half",
        "A=1 vllm serve org/m --dtype=half",
        "env A=1 vllm serve org/m --dtype=half",
        "export A=1 && sh -c 'vllm serve org/m --dtype=half'",
    ],
)
def test_only_assignments_are_variables(text: str) -> None:
    made = spec(text)
    assert made["engineArgs"] == {"dtype": "half"}
    assert made["runtime"] == {"env": [{"name": "A", "value": "1"}]}


@pytest.mark.parametrize("between", ["; ", " & ", "&&", " || ", "\n", " >log & "])
def test_each_command_is_a_model(between: str) -> None:
    made = list(formats.from_text(f"vllm serve org/a --dtype half{between}vllm serve org/b --seed 3"))
    assert [value["spec"]["engineArgs"] for value, _, _ in made] == [{"dtype": "half"}, {"seed": 3}]


def test_quotes_hold_what_would_end_a_command() -> None:
    found = list(words.commands("""a '; >x' "b & \\"c\\"" d\\;e $(f; g) #h\n i#j <model> "" $'k'"""))
    assert [[word for word, _ in command] for command in found] == [
        ["a", "; >x", 'b & "c"', "d;e", "$(f; g)", "i#j", "<model>", "", "$k"]
    ]


@pytest.mark.parametrize("text", ["a 'b", 'a "b', "a `b", "a $(b", 'a "b\\"'])
def test_an_open_quote_is_told(text: str) -> None:
    with pytest.raises(words.OpenQuote):
        list(words.commands(text))


CONTAINERS = [
    "command: [sh, -c], args: ['vllm serve org/m --dtype half']",
    "command: [/bin/bash, -lc], args: ['set -e; exec vllm serve org/m --dtype half >log']",
    "command: [bash, -c, 'export B=1 && vllm serve org/m --dtype half']",
    "command: [vllm, serve], args: [org/m, --dtype=half]",
]


@pytest.mark.parametrize("command", CONTAINERS)
@pytest.mark.parametrize("kind", ["kserve", "compose"])
def test_a_container_may_start_a_shell(command: str, kind: str) -> None:
    if kind == "kserve":
        text = (
            "{apiVersion: serving.kserve.io/v1beta1, kind: InferenceService, metadata: {name: m}, "
            f"spec: {{predictor: {{containers: [{{{command}}}]}}}}}}"
        )
    else:
        named = command.replace("command:", "entrypoint:").replace("args:", "command:")
        text = f"services: {{m: {{image: vllm/vllm-openai, {named}}}}}"
    made, _ = from_yaml(text)
    assert made["source"] == {"huggingFace": {"repository": "org/m"}}
    assert made["engineArgs"] == {"dtype": "half"}


def test_a_script_without_vllm_gives_no_arguments() -> None:
    made, left = from_yaml(
        "{apiVersion: serving.kserve.io/v1beta1, kind: InferenceService, metadata: {name: m}, spec: "
        "{predictor: {containers: [{command: [sh, -c], args: ['python serve.py --port 8'], storageUri: 'hf://org/m'}]}}}"
    )
    assert "engineArgs" not in made
    assert "runs no `vllm serve`" in left[0]
