"""The manifests that the operator would apply for a VLLMModel, as it would apply them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import yaml

from vllm_operator.api.v1alpha1 import SpecInvalid, VLLMModel, parse_model
from vllm_operator.desired.revision import Revision, SpecRejected, accept
from vllm_operator.desired.state import build
from vllm_operator.files import strict
from vllm_operator.files.documents import NUMBERS, Document
from vllm_operator.settings import Settings

#: Stands for the UID that the API server gives the VLLMModel: the only thing a file cannot tell.
NO_UID: Final = "00000000-0000-0000-0000-000000000000"


class Refused(Exception):
    """The operator would apply nothing for this object; one line per problem."""


def models(documents: Iterable[Document], namespace: str) -> Iterator[VLLMModel]:
    """The valid VLLMModels of the documents, with a namespace and a placeholder for the UID."""
    for document in documents:
        if document.error:
            raise Refused(f"{document.file}: {document.error}")
        if strict.is_ours(document.value):
            yield named(document.value, document.file, namespace)


def named(value: Mapping[str, Any], file: str, namespace: str) -> VLLMModel:
    """One object as the API server would hold it."""
    try:
        model = parse_model(value)
    except SpecInvalid as invalid:
        raise Refused("\n".join(f"{file}: {problem.message}" for problem in invalid.problems)) from None
    identity = replace(
        model.identity,
        namespace=model.identity.namespace or namespace,
        uid=model.identity.uid or NO_UID,
    )
    return replace(model, identity=identity)


def revision_of(model: VLLMModel, settings: Settings, current: Revision | None = None) -> Revision:
    """The revision that the operator would make of the model."""
    try:
        return accept(model, settings, current=current)
    except SpecRejected as rejected:
        name = f"{model.namespace}/{model.name}"
        raise Refused("\n".join(f"{name}: {problem.message}" for problem in rejected.problems)) from None


def objects(model: VLLMModel, revision: Revision, number: int = 1) -> list[dict[str, Any]]:
    """Everything that is applied for the model, in that order."""
    children = build(model.identity, revision, replicas=model.spec.replicas).objects
    return [revision.to_object(model.identity, number), *children]


def as_yaml(values: Iterable[Mapping[str, Any]], *, sort_keys: bool = False) -> str:
    """A stream of documents that reads back as exactly these values."""
    return yaml.dump_all(values, Dumper=_Dumper, sort_keys=sort_keys, explicit_start=True, width=110)


class _Dumper(yaml.SafeDumper):
    """No aliases, and text of several lines as a block."""

    def ignore_aliases(self, data: Any) -> bool:
        """Every value is written where it stands."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
# Quoted is all that kubectl's parser could take for a number or a boolean, though PyYAML's would not.
for _tag, _pattern, _first in NUMBERS:
    _Dumper.add_implicit_resolver(_tag, re.compile(f"^({_pattern})$"), list(_first))
_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^[yYnN]$"), list("yYnN"))
