"""An operator that knows which vLLM its image has."""

from collections.abc import Callable

import pytest

from operatorkit.process import OperatorProcess


@pytest.fixture(scope="module")
def operator(start_operator: Callable[..., OperatorProcess]) -> OperatorProcess:
    """A running operator for the module's namespace."""
    return start_operator(VLLM_VERSIONS="registry.example/*=0.32.0")
