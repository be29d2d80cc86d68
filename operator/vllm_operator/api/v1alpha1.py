"""The VLLMModel as the operator holds it, read from an object of the API server or a file."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from vllm_operator.api.base import Rule, matches, violations
from vllm_operator.api.conditions import Problem, Reason
from vllm_operator.api.spec import VLLMModelSpec

MAX_NAME: Final = 52
_MAX_INT32: Final = 2**31 - 1
_MAX_DEPTH: Final = 100

_NAME = matches(r"[a-z]([-a-z0-9]*[a-z0-9])?", "")
NAME_RULES: Final = (
    Rule(
        f"size(self.metadata.name) <= {MAX_NAME}",
        f"`metadata.name` must be no more than {MAX_NAME} characters: names of children are made from it",
        lambda name: len(name) <= MAX_NAME,
    ),
    Rule(
        _NAME.cel.replace("self.", "self.metadata.name.", 1),
        "`metadata.name` must consist of lower case letters, digits or '-', start with a letter and end with "
        "a letter or digit: a Service has this name",
        _NAME.holds,
    ),
)
SERVED_NAME_RULE: Final = Rule(
    "(has(self.spec.servedName) ? self.spec.servedName : self.metadata.name) == "
    "(has(oldSelf.spec.servedName) ? oldSelf.spec.servedName : oldSelf.metadata.name)",
    "may not be changed, its default from `metadata.name` included; create a new VLLMModel",
    None,
    ".spec.servedName",
)


class SpecInvalid(Exception):
    """The object cannot be a VLLMModel; `problems` says all that is wrong with it.

    `spec` is there where each field is right by itself, and only rules over them do not hold.
    """

    def __init__(self, problems: tuple[Problem, ...], spec: VLLMModelSpec | None = None) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems
        self.spec = spec


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Who an object is, readable even where its spec is not.

    `replicas` is None and `paused` False where the spec does not say it in a usable way.
    """

    name: str
    namespace: str
    uid: str
    generation: int
    replicas: int | None
    paused: bool
    deletion_timestamp: str | None
    status: Mapping[str, Any]

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> "ModelIdentity":
        """Identity of any object that the API server returned."""
        metadata, spec, status = obj.get("metadata") or {}, obj.get("spec"), obj.get("status")
        fields = spec if isinstance(spec, Mapping) else {}
        replicas = fields.get("replicas", 1)
        usable = isinstance(replicas, int) and not isinstance(replicas, bool) and 0 <= replicas <= _MAX_INT32
        return cls(
            name=str(metadata.get("name", "")),
            namespace=str(metadata.get("namespace", "")),
            uid=str(metadata.get("uid", "")),
            generation=int(metadata.get("generation", 0)),
            replicas=replicas if usable else None,
            paused=fields.get("paused") is True,
            deletion_timestamp=metadata.get("deletionTimestamp"),
            status=status if isinstance(status, Mapping) else {},
        )


@dataclass(frozen=True, slots=True)
class VLLMModel:
    """A VLLMModel with a valid spec. `status` is the previous one, as the API server holds it."""

    identity: ModelIdentity
    spec: VLLMModelSpec

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return self.identity.name

    @property
    def namespace(self) -> str:
        """`metadata.namespace`."""
        return self.identity.namespace

    @property
    def uid(self) -> str:
        """`metadata.uid`."""
        return self.identity.uid

    @property
    def generation(self) -> int:
        """`metadata.generation`."""
        return self.identity.generation

    @property
    def deletion_timestamp(self) -> str | None:
        """`metadata.deletionTimestamp`."""
        return self.identity.deletion_timestamp

    @property
    def status(self) -> Mapping[str, Any]:
        """The previous status."""
        return self.identity.status

    @property
    def served_name(self) -> str:
        """Name of the model in Triton."""
        return self.spec.served_name or self.name


def parse_model(obj: Mapping[str, Any]) -> VLLMModel:
    """Read and check an object; SpecInvalid with all problems if it is no valid VLLMModel."""
    identity = ModelIdentity.of(obj)
    problems = [
        Problem(Reason.INVALID_SPEC, rule.message)
        for rule in NAME_RULES
        if rule.holds is not None and not rule.holds(identity.name)
    ]
    spec: VLLMModelSpec | None = None
    try:
        # Through JSON: strict types of JSON apply, and the result shares nothing with `obj`.
        spec = VLLMModelSpec.model_validate_json(json.dumps(obj.get("spec", {}), allow_nan=False))
    except ValidationError as error:
        problems += _from_pydantic(error)
    except (RecursionError, ValueError, TypeError):
        problems += list(_not_json(obj.get("spec"))) or [
            _invalid("spec", "must be JSON that is not nested deeper than 100 levels")
        ]
    else:
        problems += [_invalid(found.path, found.message) for found in violations(spec, "spec")]
        if not problems:
            return VLLMModel(identity, spec)
    raise SpecInvalid(tuple(problems), spec)


def _invalid(path: str, message: str) -> Problem:
    return Problem(Reason.INVALID_SPEC, f"{path}: {message}")


def _not_json(spec: Any) -> Iterator[Problem]:
    """Numbers that YAML has and JSON has not; never recurses."""
    level = [("spec", spec)]
    for _ in range(_MAX_DEPTH):
        below: list[tuple[str, Any]] = []
        for path, value in level:
            if isinstance(value, float) and not isfinite(value):
                yield _invalid(path, f"must be a number that JSON has, not .{value}; write another number")
            elif isinstance(value, Mapping):
                below += [(f"{path}.{key}", inner) for key, inner in value.items()]
            elif isinstance(value, list):
                below += [(f"{path}[{index}]", inner) for index, inner in enumerate(value)]
        level = below


def _from_pydantic(error: ValidationError) -> list[Problem]:
    """One problem per place: the branches of a union say the same thing twice."""
    found: dict[str, Problem] = {}
    for detail in error.errors(include_url=False, include_context=True):
        path = _path(detail)
        found.setdefault(path, _invalid(path, _words(detail)))
    return list(found.values())


#: Parts that pydantic adds to a path for members of a union and for checks, none of which are fields.
_NOT_FIELDS: Final = ("int", "str", "constrained-str", "function-after")


def _path(detail: ErrorDetails) -> str:
    path = "spec"
    for part in detail["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not part.startswith(_NOT_FIELDS):
            path += f".{part}"
    return path


_WORDS: Final[Mapping[str, str]] = {
    "missing": "is required",
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "bool_type": "must be true or false",
    "string_type": "must be a string",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "greater_than_equal": "must be greater than or equal to {ge}",
    "less_than_equal": "must be less than or equal to {le}",
    "string_too_long": "must be no more than {max_length} characters",
    "string_too_short": "must be at least {min_length} characters",
    "too_long": "must have at most {max_length} items",
    "too_short": "must have at least {min_length} items",
    "string_pattern_mismatch": "must match the pattern '{pattern}'",
    "literal_error": "must be one of {expected}",
    "json_invalid": "must be JSON that is not nested deeper than 100 levels",
}


def _words(detail: ErrorDetails) -> str:
    """pydantic's error in the words of the Kubernetes API conventions."""
    words = _WORDS.get(detail["type"])
    return words.format(**detail.get("ctx", {})) if words else detail["msg"]
