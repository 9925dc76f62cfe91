"""`Value`: the chain rule on plain floats, by hand, against the array engine, and on a million nodes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradwitness.reference_engine import DerivativeError, DtypeError, Value, grad, ops
from hypothesis import given
from hypothesis import strategies as st


def test_the_graph_of_the_course_gives_21_and_16() -> None:
    x1, x2 = Value(2.0), Value(3.0)
    y = (x1 + x2) * (x1 * x2)
    y.backward()
    assert (y.data, x1.grad, x2.grad) == (30.0, 21.0, 16.0)


def test_a_second_backward_starts_afresh_and_intermediate_gradients_do_not_pile_up() -> None:
    x = Value(3.0)
    y = x * x + 0
    y.backward()
    y.backward()
    assert x.grad == 6.0


def test_another_root_overwrites_the_gradients_of_the_first() -> None:
    x = Value(3.0)
    first, second = x * x, 5 * x
    first.backward()
    second.backward()
    assert x.grad == 5.0


def test_a_seed_scales_every_gradient() -> None:
    x = Value(3.0)
    (x * x).backward(seed=-2.0)
    assert x.grad == -12.0


def test_backward_from_a_leaf_gives_one() -> None:
    x = Value(3.0)
    x.backward()
    assert x.grad == 1.0


def test_repr_shows_data_and_gradient_to_four_places() -> None:
    x = Value(math.pi)
    (2 * x).backward()
    assert repr(x) == "Value(data=3.1416, grad=2.0000)"


# name: (on Value, on the array engine); the expression of both is written in full, once a line
PAIRS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "reflected": (lambda v: 2 - v + (1 + v) * (3 / v) - 2 * v, lambda v: 2 - v + (1 + v) * (3 / v) - 2 * v),
    "negation": (lambda v: -v * (v - 1), lambda v: -v * (v - 1)),
    "powers": (lambda v: v**3 - v**-2 + v**0 + v**1.5, lambda v: v**3 - v**-2 + v**0 + v**1.5),
    "exponent": (lambda v: 2**v + v**v, lambda v: ops.pow(2.0, v) + ops.pow(v, v)),
    "tanh": (lambda v: (v * 20).tanh() + v.tanh(), lambda v: ops.tanh(v * 20) + ops.tanh(v)),
    "exp log": (lambda v: (v.exp() + 1).log(), lambda v: ops.log(ops.exp(v) + 1)),
    "relu": (lambda v: (v - 1).relu() * v, lambda v: ops.relu(v - 1) * v),
    "shared": (lambda v: (v * v) * (v * v) / (v + v), lambda v: (v * v) * (v * v) / (v + v)),
}
# Both engines round a dozen times at most.
ROUNDING = 12 * np.finfo(float).eps


@pytest.mark.parametrize("name", sorted(PAIRS))
@given(x=st.floats(0.1, 4.0))
def test_value_agrees_with_the_array_engine(name: str, x: float) -> None:
    on_value, on_array = PAIRS[name]
    v = Value(x)
    y = on_value(v)
    y.backward()
    gradient = float(grad(on_array)(np.array(x)))
    size = abs(float(on_array(np.array(x)))) + abs(gradient) + 4.0  # terms of up to that size cancel
    assert abs(v.grad - gradient) <= ROUNDING * size * 20
    assert abs(y.data - float(on_array(np.array(x)))) <= ROUNDING * size * 20


def test_tanh_keeps_the_digits_of_its_tail() -> None:
    x = Value(20.0)
    x.tanh().backward()
    assert x.grad == pytest.approx(4 * math.exp(-40.0), rel=4 * np.finfo(float).eps)


def test_at_the_kink_of_relu_the_slope_is_zero_and_nan_is_passed_on() -> None:
    x = Value(0.0)
    x.relu().backward()
    assert x.grad == 0.0
    assert math.isnan(Value(math.nan).relu().data)


def test_a_chain_of_a_million_nodes_differentiates_and_is_freed_without_recursion() -> None:
    x = Value(1.0)
    y = x
    for _ in range(1_000_000):
        y = -y
    y.backward()
    assert x.grad == 1.0
    del y
    assert x.data == 1.0


def test_a_diamond_of_many_layers_visits_each_node_once() -> None:
    """Each layer doubles the number of paths: 2²⁰⁰ of them, in 200 nodes."""
    x = Value(1.0)
    y = x
    for _ in range(200):
        y = y + y
    y.backward()
    assert x.grad == 2.0**200


def test_numpy_numbers_may_stand_on_the_left() -> None:
    x = Value(3.0)
    y = np.float64(2.0) * x
    assert isinstance(y, Value) and y.data == 6.0


def test_overflow_is_infinite_and_a_root_at_zero_rises_vertically() -> None:
    assert Value(1000.0).exp().data == math.inf
    assert (Value(10.0) ** 400).data == math.inf
    x = Value(0.0)
    (x**0.5).backward()
    assert x.grad == math.inf


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda: Value(1.0) / 0, r"divide: 1\.0 / 0; accepted is any divisor but 0"),
        (lambda: Value(0.0).log(), r"log: a = 0\.0; accepted are numbers above 0"),
        (lambda: Value(0.0) ** -1, r"power: 0\.0 \*\* -1 is not a real number"),
        (lambda: Value(-2.0) ** 0.5, r"power: -2\.0 \*\* 0\.5 is not a real number; accepted are a base above 0"),
        (lambda: Value(-2.0) ** Value(2.0), r"power: base -2\.0 with a Value 2\.0 for exponent"),
    ],
)
def test_singular_points_raise_a_sentence(operation: Callable[[], Any], message: str) -> None:
    with pytest.raises(DerivativeError, match=message):
        operation()


def test_what_is_not_a_number_is_refused_by_name() -> None:
    with pytest.raises(DtypeError, match=r"add: found 'a' of type str; accepted is one number"):
        Value(1.0) + "a"


def test_a_cycle_made_by_hand_is_refused() -> None:
    x = Value(1.0)
    y = x * 2.0
    x._prev, x._slopes = (y,), (1.0,)
    with pytest.raises(DerivativeError, match=r"made from itself, in a cycle; accepted are expressions"):
        (y + 1.0).backward()
