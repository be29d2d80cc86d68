"""What every part of the resource is made of: the base model, rules for CEL and Python, quantities.

A rule is written twice side by side: as CEL for the API server, and as a predicate for `validate`, which has
no API server. Both carry the same message; tests run the same inputs through both.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition over an object: `cel` for the API server, `holds` for Python (None if it needs more)."""

    cel: str
    message: str
    holds: Callable[[Any], bool] | None
    field_path: str = ""

    def to_schema(self) -> dict[str, str]:
        """The rule as an entry of `x-kubernetes-validations`."""
        entry = {"rule": self.cel, "message": self.message}
        return entry | ({"fieldPath": self.field_path} if self.field_path else {})


class Model(BaseModel):
    """Base of all parts: frozen, camelCase outside, and deaf to fields of a newer CRD."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True,
        strict=True,
    )  # fmt: skip

    #: Rules over the whole object, beyond what single fields say.
    rules: ClassVar[tuple[Rule, ...]] = ()
    #: Extra schema keys for the object itself, such as `x-kubernetes-map-type`.
    schema_extra: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Add the rules and the schema keys of the class."""
        result = handler(schema)
        definition = handler.resolve_ref_schema(result)
        definition.update(cls.schema_extra)
        if cls.rules:
            definition["x-kubernetes-validations"] = [rule.to_schema() for rule in cls.rules]
        return result

    def manifest(self) -> dict[str, Any]:
        """The object as it was written: camelCase, without absent and defaulted members."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


@dataclass(frozen=True, slots=True)
class Check:
    """A rule over one value, attached to its type with `Annotated`; without `cel`, for the operator alone."""

    cel: str
    message: str
    holds: Callable[[Any], bool]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Run the predicate after the type's own checks."""

        def check(value: Any) -> Any:
            if not self.holds(value):
                # pydantic reads braces as placeholders, so the text travels as a value.
                raise PydanticCustomError("rule", "{text}", {"text": self.message})
            return value

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Add the rule to the schema of the scalar."""
        result = dict(handler(schema))
        if not self.cel:
            return result
        result["x-kubernetes-validations"] = [
            *result.get("x-kubernetes-validations", []),
            {"rule": self.cel, "message": self.message},
        ]
        return result


def matches(pattern: str, message: str) -> Check:
    """A rule that a string matches `pattern` (RE2 and Python alike) as a whole."""
    compiled = re.compile(pattern)
    escaped = pattern.replace("\\", "\\\\").replace("'", "\\'")
    return Check(f"self.matches('^{escaped}$')", message, lambda text: compiled.fullmatch(text) is not None)


def schema_extra(**entries: Any) -> dict[str, Any]:
    """Schema keys of Kubernetes for one field: `list_type="map"` becomes `x-kubernetes-list-type: map`."""
    return {f"x-kubernetes-{key.replace('_', '-')}": value for key, value in entries.items()}


ATOMIC_LIST: Final = schema_extra(list_type="atomic")
SET_LIST: Final = schema_extra(list_type="set")
ATOMIC_MAP: Final = schema_extra(map_type="atomic")


def map_list(*keys: str) -> dict[str, Any]:
    """Schema keys of a list whose items are told apart by `keys`."""
    return schema_extra(list_type="map", list_map_keys=list(keys))


def one_of(model: Model, names: tuple[str, ...]) -> int:
    """How many of these members the model has."""
    return sum(getattr(model, name) is not None for name in names)


_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?", re.ASCII)
_SUFFIX: Final[Mapping[str, Decimal]] = (
    {"": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(1000)}
    | {suffix: Decimal(1000) ** (2 + i) for i, suffix in enumerate("MGTPE")}
    | {f"{suffix}i": Decimal(1024) ** (1 + i) for i, suffix in enumerate("KMGTPE")}
)


def quantity(value: int | str) -> Decimal:
    """The amount that a Kubernetes quantity such as `16Gi` or `500m` stands for; ValueError if it is none."""
    found = _QUANTITY.fullmatch(str(value))
    if found is None:
        raise ValueError(f"not a quantity: {value!r}")
    number, suffix = found.group(1), found.group(2) or ""
    return Decimal(number) * (_SUFFIX[suffix] if suffix in _SUFFIX else Decimal(f"1{suffix}"))


def _is_positive_quantity(value: int | str) -> bool:
    try:
        return quantity(value) > 0
    except ValueError:
        return False


class _IntOrString:
    """Schema of a value that may be an integer or a string."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        handler(schema)
        return {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "maxLength": 32,
        }


INT_OR_STRING: Final = _IntOrString()

Quantity = Annotated[
    int | Annotated[str, Field(max_length=32)],
    INT_OR_STRING,
    Check(
        "isQuantity(string(self)) && quantity(string(self)).isGreaterThan(quantity('0'))",
        "must be a quantity greater than zero, such as '16Gi' or '500m'",
        _is_positive_quantity,
    ),
]

ObjectName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    matches(
        r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?",
        "must consist of lower case letters, digits, '-' or '.', and start and end with a letter or digit",
    ),
]

RelativePath = Annotated[
    str,
    Field(min_length=1, max_length=1024),
    matches(
        r"[A-Za-z0-9_@+=-][A-Za-z0-9._@+=-]*(/[A-Za-z0-9_@+=-][A-Za-z0-9._@+=-]*)*",
        "must be a relative path whose parts do not start with '.'; '..' is not allowed",
    ),
]

ImageReference = Annotated[
    str,
    Field(min_length=1, max_length=512),
    matches(
        r"[a-z0-9][a-z0-9._-]*(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._-]*)*"
        r"(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[a-f0-9]{64})?",
        "must be an image reference such as 'registry.example.com/name:tag' or "
        "'name@sha256:<64 hex digits>', in lower case but for the tag",
    ),
]


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that does not hold, with the path of the object it is about."""

    path: str
    message: str


def violations(value: Any, path: str) -> Iterator[Violation]:
    """All rules and list-map keys that do not hold in `value` and below."""
    if isinstance(value, Model):
        for rule in value.rules:
            if rule.holds is not None and not rule.holds(value):
                yield Violation(f"{path}{rule.field_path}", rule.message)
        for name, info in type(value).model_fields.items():
            child = getattr(value, name)
            here = f"{path}.{info.alias or name}"
            extra = info.json_schema_extra
            keys = extra.get("x-kubernetes-list-map-keys") if isinstance(extra, dict) else None
            if isinstance(child, tuple) and isinstance(keys, list):
                yield from _duplicates(child, [str(key) for key in keys], here)
            yield from violations(child, here)
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from violations(item, f"{path}[{index}]")


def _duplicates(items: tuple[Any, ...], keys: list[str], path: str) -> Iterator[Violation]:
    seen: set[tuple[Any, ...]] = set()
    for index, item in enumerate(items):
        manifest = item.manifest()
        identity = tuple(manifest.get(key) for key in keys)
        if identity in seen:
            named = ", ".join(f"`{key}` '{part}'" for key, part in zip(keys, identity, strict=True))
            yield Violation(f"{path}[{index}]", f"must not repeat {named}")
        seen.add(identity)
