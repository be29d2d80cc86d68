"""What a rule about combinations sees: the good values, and vLLM's defaults behind them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vllm_operator.engineargs.schema import Schema
from vllm_operator.engineargs.spans import at_least


@dataclass(frozen=True, slots=True)
class Arguments:
    """The good values of `spec.engineArgs`, and vLLM's defaults behind them."""

    values: Mapping[str, Any]
    schema: Schema
    environment: Mapping[str, str] = field(default_factory=dict)
    """The container's variables, as far as the spec sets them."""

    def given(self, name: str) -> Any:
        """The user's value, None where there is none."""
        return self.values.get(name)

    def get(self, name: str) -> Any:
        """The user's value, or vLLM's default."""
        value = self.values.get(name)
        return self.schema.arguments.get(name, {}).get("default") if value is None else value

    def nested(self, name: str) -> Mapping[str, Any]:
        """The user's value of an argument that is a mapping, empty where there is none."""
        value = self.values.get(name)
        return value if isinstance(value, Mapping) else {}

    def has(self, name: str) -> bool:
        """Whether this vLLM version has the argument at all."""
        return name in self.schema.arguments

    def since(self, minor: str) -> bool:
        """Whether this is vLLM `minor` or newer."""
        return at_least(self.schema.minor, minor)

    def until(self, minor: str) -> bool:
        """Whether this is older than vLLM `minor`."""
        return not at_least(self.schema.minor, minor)


Rule = Callable[[Arguments], Iterator[str]]
