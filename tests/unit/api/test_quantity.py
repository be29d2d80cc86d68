"""Quantities as Kubernetes reads them."""

from decimal import Decimal

import pytest

from vllm_operator.api.base import quantity


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        (2, 2), ("2", 2), ("500m", Decimal("0.5")), ("1k", 1000), ("1Ki", 1024), ("1.5Gi", 1610612736),
        ("1e3", 1000), ("1E3", 1000), ("1E", 10**18), ("1Ei", 2**60), (".5", Decimal("0.5")), ("-1", -1),
        ("5.", 5), ("100n", Decimal("1e-7")),
    ],
)  # fmt: skip
def test_quantity(text: int | str, amount: int | Decimal) -> None:
    assert quantity(text) == amount


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "1GB", "1gi", "1e", "--1", "1.2.3", "\u0661"])
def test_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        quantity(text)
