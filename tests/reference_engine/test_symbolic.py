"""Symbolic differentiation: formulas, sizes counted by hand, growth in closed form, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import sympy
from gradwitness.reference_engine import Value, expression_growth, symbolic_derivative
from gradwitness.reference_engine.errors import DerivativeError, DtypeError, ParameterError
from gradwitness.reference_engine.symbolic import Size

X = sympy.Symbol("x", real=True)

FORMULAS: list[tuple[Callable[[Any], Any], Any]] = [
    (lambda x: (x * x).sin(), 2 * X * sympy.cos(X**2)),
    (lambda x: x * x.exp(), (X + 1) * sympy.exp(X)),
    (lambda x: x.softplus(), 1 / (1 + sympy.exp(-X))),
    (lambda x: x.sigmoid(), sympy.exp(-X) / (1 + sympy.exp(-X)) ** 2),
    (lambda x: 1 / (2 - x), 1 / (2 - X) ** 2),
    (lambda x: 2**x - x**0.5, sympy.log(2) * 2**X - 1 / (2 * sympy.sqrt(X))),
    (lambda x: 7, 0),
]


@pytest.mark.parametrize(("fn", "expected"), FORMULAS)
def test_the_derivative_is_the_one_on_paper(fn: Callable[[Any], Any], expected: Any) -> None:
    assert sympy.simplify(symbolic_derivative(fn, ["x"]).derivative - expected) == 0


U = 0.3
SLOPES_AT_U = {
    "exp": math.exp(U),
    "log": 1 / U,
    "sqrt": 0.5 / math.sqrt(U),
    "sin": math.cos(U),
    "cos": -math.sin(U),
    "tan": 1 / math.cos(U) ** 2,
    "tanh": 1 / math.cosh(U) ** 2,
    "sigmoid": 1 / (2 + 2 * math.cosh(U)),
    "softplus": 1 / (1 + math.exp(-U)),
    "erf": 2 / math.sqrt(math.pi) * math.exp(-U * U),
    "relu": 1.0,
    "__abs__": 1.0,
}
ROUNDINGS = 8 * 2.0**-52  # each formula and each expected value rounds at most four times, by at most ε/2 and 1.5 ε


@pytest.mark.parametrize("name", SLOPES_AT_U)
def test_every_method_of_value_has_a_formula(name: str) -> None:
    (slope,) = symbolic_derivative(lambda x: getattr(x, name)()).gradient_at(U)
    assert slope == pytest.approx(SLOPES_AT_U[name], rel=ROUNDINGS)


KINKS: list[tuple[Callable[[Any], Any], float]] = [
    (lambda x: abs(x), 0.0),
    (lambda x: x.relu(), 0.0),
    (lambda x: x.max(0), 0.5),
    (lambda x: x.min(0), 0.5),
    (lambda x: (2 * x).max(x), 1.5),
]


@pytest.mark.parametrize(("fn", "slope"), KINKS)
def test_at_a_kink_the_formula_makes_the_choice_that_value_makes(fn: Callable[[Any], Any], slope: float) -> None:
    x = Value(0.0)
    fn(x).backward()
    assert symbolic_derivative(fn).gradient_at(0.0) == (slope,)
    assert x.grad == slope


def test_every_argument_has_its_derivative_under_its_own_name() -> None:
    found = symbolic_derivative(lambda a, b: a * b.log())
    a, b = found.symbols
    assert found.names == ("a", "b") and found.derivatives == (sympy.log(b), a / b)
    assert found.gradient_at(6.0, 2.0) == (math.log(2.0), 3.0)
    assert found.value_at(6.0, 1.0) == 0.0


def test_sizes_are_those_counted_by_hand() -> None:
    found = symbolic_derivative(lambda x: (x * x).sin())
    # sin(x**2): sin, power, x, 2.
    assert found.formula_size == Size(operations=2, nodes=4, distinct=4)
    # 2*x*cos(x**2): product, 2, x, cos, power, x, 2; x and 2 stand there twice. Operations: two products, cos, power.
    assert found.derivative_size == Size(operations=4, nodes=7, distinct=5)


def test_a_decimal_constant_keeps_all_its_digits() -> None:
    assert symbolic_derivative(lambda x: 0.1 * x * x).gradient_at(0.5) == (0.1,)
    assert symbolic_derivative(lambda x: math.pi * x).gradient_at(3.0) == (math.pi,)


def nested(x: Any) -> Any:
    for _ in range(40):
        x = x * x.sin()
    return x


REFUSED: list[tuple[Callable[..., Any], type[Exception], str]] = [
    (lambda x: "text", DtypeError, "accepted is one number"),
    (lambda x: None, DtypeError, "accepted is one number"),
    (lambda x: x if x > 0 else -x, DerivativeError, "asks whether x > 0"),
    (lambda x: x / 0, DerivativeError, "any divisor but 0"),
    (nested, DerivativeError, r"the formula has 2,748,779,069,439 nodes; accepted are at most 100,000"),
    (lambda *xs: xs[0], ParameterError, r"names=\(\)"),
]


@pytest.mark.parametrize(("fn", "kind", "text"), REFUSED)
def test_what_has_no_formula_is_refused_with_a_reason(fn: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        symbolic_derivative(fn)


def test_a_formula_without_a_real_value_says_where() -> None:
    with pytest.raises(DerivativeError, match="has no real value at x = 0.0"):
        symbolic_derivative(lambda x: 1 / x).gradient_at(0.0)
    with pytest.raises(DerivativeError, match="has no real value at x = -1.0"):
        symbolic_derivative(lambda x: x**1.5).gradient_at(-1.0)
    with pytest.raises(ParameterError, match="evaluated at 2 numbers; accepted are 1"):
        symbolic_derivative(lambda x: x).gradient_at(1.0, 2.0)


def test_nesting_x_sin_x_doubles_the_formula_and_adds_to_the_automatic_gradient() -> None:
    growth = expression_growth(lambda x: x * x.sin())
    assert [row.depth for row in growth.rows] == list(range(1, 9))
    # y sin(y) of a product y with N nodes is that product with one more factor: N + 1 + N nodes; x sin(x) has 4.
    assert [row.formula for row in growth.rows] == [5 * 2 ** (d - 1) - 1 for d in range(1, 9)]
    # Each step makes two nodes with three edges: 2 + 2·3 operations.
    assert [row.automatic for row in growth.rows] == [8 * d for d in range(1, 9)]
    sizes = [row.derivative for row in growth.rows]
    assert all(b > 2 * a for a, b in zip(sizes, sizes[1:], strict=False))  # 2ⁿ times a sum that grows, too
    shared = [row.derivative_distinct for row in growth.rows]
    assert shared[-1] < 100 < sizes[-1]


def test_the_logistic_map_multiplied_out_has_a_term_for_each_power() -> None:
    growth = expression_growth(lambda x: 4 * x * (1 - x), range(1, 7))
    # The derivative of degree 2ᵈ - 1: a sum, a constant, c x with 3 nodes, and 2ᵈ - 2 terms c xᵏ with 5.
    assert [row.expanded for row in growth.rows] == [5 * 2**d - 5 for d in range(1, 7)]
    assert [row.automatic for row in growth.rows] == [13 * d for d in range(1, 7)]  # three nodes with five edges a step
    assert growth.expanded_exploded_at is None


def test_growth_stops_at_the_size_limit_and_says_at_which_depth() -> None:
    growth = expression_growth(lambda x: x * x.sin(), range(1, 8), size_limit=30)
    first, second, *rest = growth.rows
    assert first.derivative == 7 and second.derivative == 34 and growth.exploded_at == 2
    assert second.derivative_operations is None
    assert {row.derivative for row in rest} == {None} and rest[-1].formula == 319 and rest[-1].automatic == 56


def test_multiplying_out_stops_before_it_takes_too_long() -> None:
    growth = expression_growth(lambda x: (x + x.exp()) ** 2)
    assert growth.expanded_exploded_at is not None
    assert (
        growth.rows[-1].expanded is None and growth.rows[-1].automatic == 8 * 11
    )  # three nodes with four edges a step
