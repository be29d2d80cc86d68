"""The generated tables of names, and that every `raise` and every name in them has been reviewed."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from engineschemas.__main__ import RAISES
from engineschemas.environment import variables
from engineschemas.frontend import flags
from engineschemas.raises import raises, reviewed
from engineschemas.registries import registries
from engineschemas.source import Source
from engineschemas.spans import spans
from vllm_operator.desired.policy import ALLOWED_ENV
from vllm_operator.engineargs import replaced, schema
from vllm_operator.engineargs.spans import holds, is_gone

TABLE: dict[str, dict[str, Any]] = json.loads(RAISES.read_text())["raises"]


def source(folder: Path, **files: str) -> Source:
    for name, text in files.items():
        path = folder / "vllm" / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Source(folder)


def test_spans() -> None:
    found = spans({"0.9": {"a", "b"}, "0.10": {"b", "c"}, "0.11": {"b", "c"}})
    assert found == {"a": {"removed": "0.10"}, "b": {}, "c": {"since": "0.10"}}
    assert holds({"since": "0.9", "removed": "0.11"}, "0.10")
    assert not holds({"since": "0.10"}, "0.9")
    assert is_gone({"removed": "0.9"}, "0.10")


def test_registered_names(tmp_path: Path) -> None:
    tree = source(
        tmp_path,
        reasoning="_REASONING_PARSERS_TO_REGISTER = {'r1': ('f', 'C')}\n",
        factory="class KVConnectorFactory: ...\nKVConnectorFactory.register_connector('Nixl', 'm', 'N')\n",
    )
    found = registries(tree)
    assert found["reasoning_parser"] == ["r1"]
    assert found["kv_connector"] == ["Nixl"]
    assert found["ec_connector"] == []


def test_variables_that_are_read(tmp_path: Path) -> None:
    envs = "environment_variables: dict = {'VLLM_A': lambda: os.getenv('VLLM_A'), 'S3_KEY': None}\n"
    other = "import os\nx = os.environ.get('VLLM_B')\ny = 'VLLM_NOT_READ'\nz = os.environ['VLLM_C']\n"
    assert variables(source(tmp_path, envs=envs, other=other)) == ["S3_KEY", "VLLM_A", "VLLM_B", "VLLM_C"]


def test_flags_of_the_front_end(tmp_path: Path) -> None:
    text = (
        "class FrontendArgs(BaseFrontendArgs):\n    port: int = 1\n"
        "class BaseFrontendArgs:\n    chat_template: str = ''\n"
        "def make_arg_parser(parser):\n    parser.add_argument('--api-server-count', '-asc')\n"
    )
    tree = source(tmp_path, entrypoints__openai__cli_args=text)
    assert flags(tree) == ["api_server_count", "chat_template", "port"]


def test_raises_are_known_by_place_and_words(tmp_path: Path) -> None:
    config = (
        "class C:\n    def check(self):\n        if self.a:\n"
        "            raise ValueError(f'a={self.a} must be below b')\n        raise\n"
    )
    tree = source(tmp_path, config__c=config, engine__arg_utils="")
    assert raises(tree) == ["C.check: a must be below b"]


def test_a_new_raise_has_no_review_and_old_ones_keep_theirs() -> None:
    table = reviewed({"0.1": ["x"], "0.2": ["x", "y"]}, {"x": {"review": "rule: m.f"}})
    assert table == {"x": {"review": "rule: m.f"}, "y": {"since": "0.2", "review": ""}}


def test_every_raise_of_vllm_has_been_reviewed() -> None:
    """After `make engine-schemas` with a new vLLM this names what somebody has to look at."""
    assert [name for name, entry in TABLE.items() if not entry["review"]] == []


def test_every_rule_that_a_review_names_is_there() -> None:
    named = {rule for e in TABLE.values() for rule in re.findall(r"\b([a-z]+\.[a-z_]+)\b", e["review"][6:])
             if e["review"].startswith("rule: ")}  # fmt: skip
    assert len(named) > 25
    for rule in named:
        module, function = rule.split(".")
        assert hasattr(
            importlib.import_module(f"vllm_operator.engineargs.combinations.{module}"), function
        ), rule


def test_every_variable_on_our_list_is_read_by_some_supported_vllm() -> None:
    ours = [name for name in ALLOWED_ENV if name.startswith("VLLM_")]
    minors = schema.known_minors()
    read = schema.variables()
    assert [n for n in ours if n not in read or not any(holds(read[n], m) for m in minors)] == []


@pytest.mark.parametrize("table", ["REPLACED", "VARIABLES"])
def test_a_successor_exists(table: str) -> None:
    """What a remedy tells to use is an argument, a variable or a field of the resource."""
    every = {name for minor in schema.known_minors() for name in schema.load(minor).arguments}
    for name, remedy in getattr(replaced, table).items():
        for use in re.findall(r"use `([A-Za-z_0-9]+)", remedy):
            assert use in every or use in schema.variables() or use == "spec", (name, use)


def test_every_successor_of_a_key_is_a_key_of_that_class() -> None:
    for path, remedy in replaced.KEYS.items():
        class_name = path.partition(".")[0]
        fields = {f for m in schema.known_minors() for f in schema.load(m).classes.get(class_name, {})}
        for use in re.findall(r"use `([a-z_]+)", remedy):
            assert use in fields, (path, use)
