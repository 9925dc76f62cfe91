"""Listings: the backward pass beside the forward one, by hand; its code is run and gives the numbers it shows."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from gradwitness.reference_engine import (
    DerivativeError,
    DtypeError,
    Value,
    backward_listing,
    evaluate,
    grad,
    listing,
    ops,
    reverse,
    side_by_side,
    trace,
)
from gradwitness.reference_engine.number_types import FUNCTIONS
from gradwitness.reference_engine.value_listing import CONTRIBUTIONS
from hypothesis import given
from hypothesis import strategies as st


def columns_of(text: str) -> list[tuple[str, str]]:
    """(left, right) of every line but the heading, without the space between."""
    pairs = [line.split("|") for line in text.splitlines()[1:]]
    return [(" ".join(left.split()), " ".join(right.split())) for left, right in pairs]


def test_the_backward_pass_of_the_course_by_hand() -> None:
    x1, x2 = Value(2.0), Value(3.0)
    assert columns_of(backward_listing((x1 + x2) * (x1 * x2), {"x1": x1, "x2": x2})) == [
        ("x1 = 2.0", "# g_x1 = 21.0"),
        ("x2 = 3.0", "# g_x2 = 16.0"),
        ("v1 = x1 + x2 # 5.0", "g_x1 += g1 # 6.0 * 1 = 6.0"),
        ("", "g_x2 += g1 # 6.0 * 1 = 6.0"),
        ("v2 = x1 * x2 # 6.0", "g_x1 += g2 * x2 # 5.0 * 3.0 = 15.0"),
        ("", "g_x2 += g2 * x1 # 5.0 * 2.0 = 10.0"),
        ("v3 = v1 * v2 # 30.0", "g1 += g3 * v2 # 1 * 6.0 = 6.0"),
        ("", "g2 += g3 * v1 # 1 * 5.0 = 5.0"),
        ("", "g3 = 1 # start here"),
    ]


def test_an_input_alone_starts_and_ends_with_1() -> None:
    x = Value(2.0)
    assert columns_of(backward_listing(x, {"x": x})) == [("x = 2.0", "# g_x = 1"), ("", "g_x = 1 # start here")]


# One operation each, at points where it is smooth.
OPERATIONS: dict[str, Callable[[Value, Value], Value]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
    "** number": lambda a, b: a**3.5,
    "** 2": lambda a, b: a**2,
    "** -1": lambda a, b: a**-1,
    "* number": lambda a, b: a * -2.5,
    "/ number": lambda a, b: a / 4,
    "neg": lambda a, b: -a,
    "max": lambda a, b: a.max(b),
    "min": lambda a, b: a.min(b),
    "min number": lambda a, b: a.min(-1),
    **{name: lambda a, b, name=name: getattr(a, name)() if name != "abs" else abs(a) for name in FUNCTIONS},  # type: ignore[misc]
}

WORDS: dict[str, Any] = {
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "sign": lambda x: math.copysign(1.0, x),
    **{name: getattr(math, name) for name in ("cos", "sin", "cosh", "exp", "log", "sqrt", "pi")},
}
# The printed code rounds a handful of times, and so does the engine's slope; sigmoid(-a) = 1 - sigmoid(a) to 1 ulp.
ROUNDING = 32 * np.finfo(float).eps


@pytest.mark.parametrize("name", OPERATIONS)
@given(a=st.floats(0.1, 3.0), b=st.floats(0.1, 3.0))
def test_the_printed_backward_code_gives_the_gradients_when_it_is_run(name: str, a: float, b: float) -> None:
    x, y = Value(a), Value(b)
    z = OPERATIONS[name](x, y)
    z.backward()
    rows = columns_of(backward_listing(z, {"a": x, "b": y, "z": z}))
    numbers = {"a": a, "b": b, "z": z.data, "g_a": 0.0, "g_b": 0.0}
    code = [right.split("#")[0] for _, right in rows if "=" in right.split("#")[0]]
    for line in (code[-1], *code[:-1]):
        exec(line, dict(WORDS), numbers)
    assert math.isclose(numbers["g_a"], x.grad, rel_tol=ROUNDING)
    assert math.isclose(numbers["g_b"], y.grad, rel_tol=ROUNDING)


def test_every_function_has_its_contribution_in_words() -> None:
    assert set(FUNCTIONS) <= set(CONTRIBUTIONS)


def test_slopes_that_are_not_those_of_the_name_stand_as_numbers() -> None:
    x, y = Value(2.0), Value(2.0)
    made = {
        "own": Value(5.0, (x,), "mine", (0.25,)),
        "wrong": Value(4.0, (x, y), "*", (7.0, 2.0)),  # a planted fault: the slope should be 2
        "tie": x.max(y),
    }
    found = {
        name: [right for _, right in columns_of(backward_listing(z, {"x": x, "y": y, "z": z}))]
        for name, z in made.items()
    }
    assert "g_x += g_z * 0.25 # 1 * 0.25 = 0.25" in found["own"]
    assert found["wrong"][2:4] == ["g_x += g_z * 7.0 # 1 * 7.0 = 7.0", "g_y += g_z * x # 1 * 2.0 = 2.0"]
    assert "g_x += g_z * 0.5 # 1 * 0.5 = 0.5" in found["tie"]


def test_numbers_changed_by_hand_after_the_fact_show_the_slope_that_was_stored() -> None:
    x = Value(2.0)
    z = x.log()
    x.data = -1.0
    assert "g_x += g_z * 0.5 # 1 * 0.5 = 0.5" in dict.fromkeys(
        r for _, r in columns_of(backward_listing(z, {"x": x, "z": z}))
    )


def test_other_numbers_are_listed_too() -> None:
    x = Value(Fraction(1, 3))
    assert columns_of(backward_listing(x / 2, {"x": x}))[1] == ("v1 = x / 2 # 1/6", "g_x += g1 / 2 # 1 * (1/2) = 1/2")
    z = Value(1 + 2j)
    assert columns_of(backward_listing(z * z, {"z": z}))[0] == ("z = 1+2j", "# g_z = 2+4j")
    m = Value(mpmath.mpf(2))
    assert columns_of(backward_listing(m * 3, {"m": m}))[1] == ("v1 = m * 3 # 6.0", "g_m += g1 * 3 # 1 * 3 = 3")


def test_the_lines_of_a_common_network_fit_100_columns() -> None:
    x, w, b = Value(0.123456789), Value(-1.23456789), Value(0.1)
    loss = ((x * w + b).tanh() - 1) ** 2
    assert max(map(len, backward_listing(loss, {"x": x, "w": w, "b": b, "loss": loss}).splitlines())) <= 100


def test_100_000_nodes_are_listed_without_recursion() -> None:
    y = Value(1.0)
    for _ in range(100_000):
        y = y + 1
    assert len(backward_listing(y).splitlines()) == 1 + 100_001 + 1


def test_misuse_of_the_listings_is_refused() -> None:
    program, x = trace(lambda x: x * x, 1.0), Value(1.0)
    with pytest.raises(DtypeError, match="backward_listing: root is .* accepted is a Value"):
        backward_listing(program)
    for print_program in (listing, side_by_side):
        with pytest.raises(DtypeError, match="accepted is a Program.*backward_listing"):
            print_program(x)
    y = x * 2
    y._prev = (y,)
    with pytest.raises(DerivativeError, match="backward_listing: .* made from itself"):
        backward_listing(y)


def test_a_program_is_listed_with_shapes() -> None:
    program = trace(lambda x, w: ops.sum(w @ ops.tanh(x) * 2.0), np.ones(3), np.ones((2, 3)), name="layer")
    lines = [" ".join(line.split()) for line in listing(program).splitlines()]
    assert lines[0] == "def layer(a: f64[3], b: f64[2,3]):"
    assert "# f64[3]" in lines[1] and lines[1].endswith("= tanh(a) # f64[3]")
    assert any(re.fullmatch(r"\w+ = \w+ \* 2.0 # f64\[2\]", line) for line in lines)
    assert len(lines) == 2 + len(program.equations)


def test_array_constants_are_listed_by_their_range() -> None:
    table = np.arange(12.0).reshape(3, 4)
    assert "    b = 0.0 … 11.0  # f64[3,4]" in listing(trace(lambda x: x * table, 1.0)).splitlines()


def test_the_reverse_program_stands_beside_the_equations_it_belongs_to() -> None:
    program = trace(lambda x: ops.sin(x) * x + 1.0, 1.0)
    assert columns_of(side_by_side(program)) == [
        ("a # f64[]", "return g_a"),
        ("c = sin(a) # f64[]", "g_a += g_c * cos(a)"),  # b is the constant 1.0
        ("d = c * a # f64[]", "g_c += g_d * a"),
        ("", "g_a += g_d * c"),
        ("e = d + 1.0 # f64[]", "g_d += g_e"),
        ("return e # f64[]", "g_e = given"),
    ]


def test_inputs_without_a_part_and_without_a_gradient_say_so() -> None:
    program = trace(lambda x, i, unused: ops.take(x, i, axis=0) * 2.0, np.ones(3), np.array([0, 2]), 1.0)
    rows = columns_of(side_by_side(program))
    assert rows[0] == ("a # f64[3]", "return g_a")
    assert rows[1] == ("b # i64[2]", "")
    assert rows[2] == ("c # f64[]", "return g_c # 0: has no part in it")


def test_a_result_returned_twice_is_given_twice() -> None:
    program = trace(lambda x: [x * x] * 2, 1.0)
    assert [right for _, right in columns_of(side_by_side(program))][-2:] == ["g_b = given", "g_b += given"]


# Functions whose reverse programs use +, -, *, / and named functions of NumPy alone.
RUNNABLE: dict[str, Callable[[Any], Any]] = {
    "product": lambda x: ops.sin(x) * x * x - x / 3.0,
    "quotient": lambda x: (x + 1.0) / (x * x + 2.0),
    "chain": lambda x: ops.exp(ops.sin(x)) * ops.cos(x * 2.0),
    "shared": lambda x: (lambda y: y * y + ops.exp(-y) / y)(x * x + 1.0),
}


@pytest.mark.parametrize("name", RUNNABLE)
@given(x=st.floats(-2, 2))
def test_the_lines_side_by_side_give_value_and_gradient_when_they_are_run(name: str, x: float) -> None:
    program = trace(RUNNABLE[name], x)
    rows = columns_of(side_by_side(program))
    words = {
        "square": np.square,
        "reciprocal": np.reciprocal,
        **{name: getattr(np, name) for name in ("sin", "cos", "exp")},
    }
    numbers: dict[str, Any] = {"a": np.float64(x), "given": 1.0}
    blocks: list[list[str]] = []
    for left, right in rows:
        code = left.split("#")[0]
        if "=" in code:
            exec(code, words, numbers)
        if left:
            blocks.append([])
        if "=" in right and not right.startswith("return"):
            blocks[-1].append(right)
    names = {word for _, right in rows for word in re.findall(r"g_\w+", right)}
    numbers.update(dict.fromkeys(names, 0.0))
    for block in reversed(blocks):
        for line in block:
            exec(line, words, numbers)
    # The same operations in the same order as the program's own: equal up to the order of sums.
    assert math.isclose(numbers["g_a"], float(grad(RUNNABLE[name])(x)), rel_tol=ROUNDING, abs_tol=ROUNDING)


def test_a_trail_does_not_change_the_reverse_program() -> None:
    program = trace(lambda x: ops.sum(ops.relu(x) * ops.max(x)), np.ones(3))
    trail: list[Any] = []
    assert reverse(program, trail=trail).key() == reverse(program).key()
    assert [step.equation for step in trail] == list(reversed(program.equations))
    assert evaluate(reverse(program), np.array([1.0, 2.0, -1.0]), 1.0).tolist() == [2.0, 5.0, 0.0]


def test_lines_side_by_side_of_a_layer_fit_100_columns() -> None:
    program = trace(lambda x, w, b: ops.sum(ops.tanh(w @ x + b) ** 2), np.ones(3), np.ones((2, 3)), np.ones(2))
    assert max(map(len, side_by_side(program).splitlines())) <= 100
