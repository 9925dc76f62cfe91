"""Zeros made by selection are strong, all others are numbers: what the difference decides, to third order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradwitness.reference_engine import grad, ops


def derivatives(fn: Callable[[Any], Any], x: float, order: int) -> list[float]:
    """First to `order`-th derivative at x, reverse mode over itself."""
    found = []
    for _ in range(order):
        fn = grad(fn)
        found.append(float(fn(np.array(x))))
    return found


def is_known(found: float, expected: float) -> bool:
    """Equal to the derivative, or openly not a number: a wrong number is what must not come out."""
    return np.isnan(found) or found == expected


# What is computed with numbers that are 0 by accident; a strong zero would give the first column, or 0.
ACCIDENTS: dict[str, tuple[Callable[[Any], Any], list[float]]] = {
    "sqrt(x) sqrt(x) is x": (lambda x: ops.sqrt(x) * ops.sqrt(x), [1.0, 0.0, 0.0]),
    "sqrt(x⁴) is x²": (lambda x: ops.sqrt(ops.pow(x, 4)), [0.0, 2.0, 0.0]),
    "exp(2 log x) is x²": (lambda x: ops.exp(2.0 * ops.log(x)), [0.0, 2.0, 0.0]),
    "exp(-x²) by its norm": (lambda x: ops.exp(-ops.square(ops.sqrt(x * x))), [0.0, -2.0, 0.0]),
}


@pytest.mark.parametrize("name", sorted(ACCIDENTS))
def test_an_accidental_zero_never_hides_a_derivative(name: str) -> None:
    fn, expected = ACCIDENTS[name]
    for found, right in zip(derivatives(fn, 0.0, 3), expected, strict=True):
        assert is_known(found, right), f"{name}: {found} where the derivative is {right}"


SELECTIONS: dict[str, Callable[[Any], Any]] = {
    "where": lambda x: ops.where(x > 0, ops.sqrt(x), 0.0),
    "where inside where": lambda x: ops.where(x > 0, ops.where(x > -5, ops.log(x), 1.0), 0.0),
    "relu of a not a number": lambda x: ops.where(x > 0, ops.relu(ops.sqrt(x)), 0.0),
    "clip": lambda x: ops.where(x > 0, ops.clip(ops.sqrt(x), 0.5, 2.0), 0.0),
    "maximum": lambda x: ops.where(x > 0, ops.maximum(ops.sqrt(x), 0.1), 0.0),
    "through an exponential": lambda x: ops.where(x > 0, ops.exp(ops.sqrt(x) / x), 0.0),
    "through a sum": lambda x: ops.sum(ops.where(x > 0, ops.log(x) * np.ones(3), 0.0)),
    "nan_to_num": lambda x: ops.nan_to_num(ops.sqrt(x)),
}


@pytest.mark.parametrize("name", sorted(SELECTIONS))
def test_what_is_not_selected_has_derivative_zero_to_third_order_whatever_it_would_be(name: str) -> None:
    assert derivatives(SELECTIONS[name], -1.0, 3) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", sorted(SELECTIONS))
def test_what_is_selected_has_its_own_derivative(name: str) -> None:
    first, second = derivatives(SELECTIONS[name], 1.7, 2)
    step = 1e-5
    # Central differences: h²/6 f''' + ε/h, and f''' is below 100 at 1.7.
    fn = SELECTIONS[name]
    slope = (float(fn(np.array(1.7 + step))) - float(fn(np.array(1.7 - step)))) / (2 * step)
    assert abs(first - slope) < 1e-8
    assert np.isfinite(second)


def test_an_unselected_infinite_branch_does_not_reach_a_shared_input() -> None:
    x = np.array([0.0, 2.0])
    gradient = grad(lambda v: ops.sum(ops.where(v > 0, 1.0 / v, v * v)))(x)
    np.testing.assert_array_equal(gradient, [0.0, -0.25])


def test_a_product_with_zero_is_no_selection() -> None:
    """0 · sqrt(x) at -1: the factor 0 is a number, and 0 · NaN is not a number."""
    assert np.isnan(derivatives(lambda x: 0.0 * ops.sqrt(x), -1.0, 1)[0])
