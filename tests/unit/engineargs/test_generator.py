"""engineschemas: vLLM's source as a tree becomes the files that the check uses."""
# ruff: noqa: E501

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from engineschemas.__main__ import OUTPUT, compact, write
from engineschemas.classes import LISTS, classify
from engineschemas.describe import describe
from engineschemas.history import history
from engineschemas.source import Source
from vllm_operator.engineargs import schema

FILES = {
    "vllm/config/__init__.py": "from vllm.config.cache import CacheConfig\nfrom vllm.config.spec import SpecConfig\n",
    "vllm/config/utils.py": "def config(cls): return cls\n",
    "vllm/config/cache.py": '''
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from pydantic import Field, field_validator
from vllm.config.utils import config
if TYPE_CHECKING:
    from vllm.quant import Methods
else:
    Methods = Any

Size = Literal[1, 8]
Dtype = Literal["auto", "fp8"]

class Mode(Enum):
    FAST = 1
    SAFE = 2

class Backend(Enum):
    FLASH = "vllm.attention.Flash"

@config
class CacheConfig:
    """Of the cache."""
    LIMIT: ClassVar[int] = 4
    block: int = Field(default=LIMIT * 1024, gt=0)
    """Tokens of a block. More text
    that is left out."""
    dtype: Dtype | str = "auto"
    size: Size = 8
    share: float = Field(default=0.9, gt=0, le=1)
    method: Methods | None = None
    mode: Mode = Mode.SAFE
    backend: Backend | None = None
    length: int = Field(default=None, ge=-1)
    hidden: int = Field(default=0, init=False)
    names: set[str] = Field(default_factory=set)

    @field_validator("method", mode="before")
    def _fold(cls, value): return value.lower()

    @field_validator("backend", mode="before")
    def _name(cls, value): return Backend[value.upper()]
''',
    "vllm/config/spec.py": '''
from vllm.config.utils import config
@config
class SpecConfig:
    tokens: int = 1
    model: str | None = None
''',
    "vllm/quant.py": 'from typing import Literal\nMethods = Literal["awq", "fp8"]\n',
    "vllm/engine/arg_utils.py": '''
import torch
from dataclasses import dataclass
from vllm.config import CacheConfig, SpecConfig
from vllm.config.cache import Backend, Dtype, Mode
from vllm.config.utils import get_field

@dataclass
class EngineArgs:
    block: int = CacheConfig.block
    kv_cache_dtype: Dtype | str = CacheConfig.dtype
    size: int = CacheConfig.size
    share: float = CacheConfig.share
    quantization: str | None = CacheConfig.method
    mode: Mode = get_field(CacheConfig, "mode")
    backend: Backend | str | None = CacheConfig.backend
    length: int | None = None
    names: set[str] = get_field(CacheConfig, "names")
    loud: bool = False
    """Speak up."""
    spec: dict | None = None
    torch_dtype: "torch.dtype | str" = "auto"

    def build(self):
        cache = CacheConfig(block=self.block, dtype=self.kv_cache_dtype, size=self.size, share=self.share,
                            method=self.quantization, mode=self.mode, backend=self.backend,
                            length=self.length if self.length else None, names=self.names)
        return cache, SpecConfig(**self.spec)

@dataclass
class AsyncEngineArgs(EngineArgs):
    later: bool = False
''',
    "vllm/model_executor/layers/quantization/__init__.py": '''
DEPRECATED_QUANTIZATION_METHODS = ["old"]
def get_quantization_config(name):
    from .awq import AWQConfig
    method_to_config = {"awq": AWQConfig}
    return method_to_config[name]
''',
    "vllm/model_executor/layers/quantization/awq.py": '''
import torch
class AWQConfig:
    def get_supported_act_dtypes(self): return [torch.half, torch.bfloat16]
''',
}  # fmt: skip


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return describe(Source(tmp_path), "0.99.0")


def test_arguments(document: dict[str, Any]) -> None:
    assert document["arguments"] == {
        "block": {"type": "int", "default": 4096, "gt": 0, "description": "Tokens of a block"},
        "kv_cache_dtype": {"type": "Literal['auto', 'fp8']", "default": "auto"},
        "size": {"type": "Literal[1, 8]", "default": 8},
        "share": {"type": "float", "default": 0.9, "gt": 0, "le": 1},
        "quantization": {"type": "Literal['awq', 'fp8'] | None", "default": None, "fold": "lower"},
        "mode": {"type": "Literal[1, 2]", "default": 2},
        "backend": {"type": "Enum['FLASH'] | None", "default": None, "fold": "upper"},
        "length": {"type": "int | None", "default": None, "ge": -1},
        "names": {"type": "set[str]", "default": []},
        "loud": {"type": "bool", "default": False, "unjudged": True, "description": "Speak up"},
        "spec": {"type": "SpecConfig | None", "default": None},
        "torch_dtype": {"type": "str", "default": "auto", "unjudged": True},
        "later": {"type": "bool", "default": False, "unjudged": True},
    }


def test_config_classes_that_arguments_refer_to(document: dict[str, Any]) -> None:
    assert document["classes"] == {
        "SpecConfig": {
            "tokens": {"type": "int", "default": 1},
            "model": {"type": "str | None", "default": None},
        }
    }


def test_quantization(document: dict[str, Any]) -> None:
    assert document["quantization_deprecated"] == ["old"]
    assert document["quantization_dtypes"] == {"awq": ["bfloat16", "float16"]}


def test_classes_come_from_the_reviewed_lists_and_new_names_need_permission(
    document: dict[str, Any], tmp_path: Path
) -> None:
    lists = tmp_path / "classes.toml"
    lists.write_text(
        'permission = ["SpecConfig.model"]\nfree = ["block", "SpecConfig.tokens"]\n[never]\nspec = "`spec.x`"\n'
    )
    unreviewed = classify(document, lists)
    assert "share" in unreviewed
    assert "block" not in unreviewed
    assert "class" not in document["arguments"]["block"]
    assert document["arguments"]["share"]["class"] == "permission"
    assert document["arguments"]["spec"]["class"] == "never"
    assert document["arguments"]["spec"]["use"] == "`spec.x`"
    assert document["classes"]["SpecConfig"]["model"]["class"] == "permission"


def _version(**arguments: Any) -> dict[str, Any]:
    entries = {name: {"type": "int", "default": default} for name, default in arguments.items()}
    return {"arguments": entries, "classes": {}}


def test_history() -> None:
    record = history({"0.1": _version(a=0, b=1), "0.2": _version(b=1, c=0), "0.3": _version(b=2, c=0)})
    assert record["versions"] == ["0.1", "0.2", "0.3"]
    assert record["arguments"] == {
        "a": {"removed": "0.2"}, "b": {"defaults": {"0.3": 2}}, "c": {"since": "0.2"}
    }  # fmt: skip


def test_history_below_the_top_level() -> None:
    def version(choices: str, *keys: str) -> dict[str, Any]:
        fields = {key: {"type": "int"} for key in keys}
        return {"arguments": {"a": {"type": choices}}, "classes": {"AConfig": fields} if keys else {}}

    record = history(
        {
            "0.1": version("Literal['x', 'y'] | None"),
            "0.2": version("Literal['y', 'z']", "one", "two"),
            "0.3": version("Literal['y', 'z']", "two", "three"),
        }
    )
    assert record["keys"] == {"AConfig.one": {"removed": "0.3"}, "AConfig.three": {"since": "0.3"}}
    assert record["choices"] == {"a": {"x": {"removed": "0.2"}, "z": {"since": "0.2"}}}


def test_the_same_source_gives_the_same_file(
    document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = describe(Source(tmp_path), "0.99.0")
    assert compact(again) == compact(document)
    write({"0.98": document, "0.99": again}, tmp_path / "out")
    first, second = ((tmp_path / "out" / f"0.{n}.json").read_text() for n in (98, 99))
    assert first == second
    assert json.loads(first)["arguments"]["block"]["gt"] == 0
    assert "13 arguments of vLLM 0.99.0" in capsys.readouterr().out


@pytest.mark.parametrize("minor", schema.known_minors())
def test_the_committed_files_are_as_the_generator_writes_them(minor: str) -> None:
    text = (OUTPUT / f"{minor}.json").read_text()
    assert compact(json.loads(text)) == text
    known = schema.load(minor)
    assert len(known.arguments) > 200
    assert known.arguments["model"]["class"] == "never"
    assert known.arguments["trust_remote_code"]["class"] == "permission"
    assert "class" not in known.arguments["max_model_len"]


def test_every_name_of_every_version_has_been_reviewed() -> None:
    lists = tomllib.loads(LISTS.read_text())
    reviewed = {*lists["free"], *lists["permission"], *lists["never"]}
    names = set[str]()
    for minor in schema.known_minors():
        known = schema.load(minor)
        names |= set(known.arguments)
        names |= {f"{c}.{f}" for c, fields in known.classes.items() for f in fields}
    assert names - reviewed == set()
    assert reviewed - names == set()
    assert len(reviewed) == len(lists["free"]) + len(lists["permission"]) + len(lists["never"])
