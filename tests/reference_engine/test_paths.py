"""`paths`: the sum over all paths against closed forms and `backward`, counts without listing, exactness, misuse."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from gradwitness.reference_engine import DerivativeError, DtypeError, ParameterError, Value, paths
from hypothesis import given
from hypothesis import strategies as st

EPS = float(np.finfo(float).eps)


def course_graph() -> tuple[Value, dict[str, Value]]:
    x1, x2 = Value(2.0), Value(3.0)
    return (x1 + x2) * (x1 * x2), {"x1": x1, "x2": x2}


def ladder(rungs: int, start: Value) -> Value:
    """y₀ = x, yₖ = yₖ₋₁ + yₖ₋₁: two ways at every rung, so 2^rungs paths, each with slopes 1."""
    y = start
    for _ in range(rungs):
        y = y + y
    return y


def test_the_two_paths_of_the_course_are_printed_with_their_factors() -> None:
    y, names = course_graph()
    assert str(paths(y, names["x1"], names)).splitlines() == [
        "∂v3/∂x1: 2 paths",
        "  x1 → v1 → v3  1 · 6.0   = 6.0",
        "  x1 → v2 → v3  3.0 · 5.0 = 15.0",
        "  total                   = 21.0",
    ]
    assert [path.product for path in paths(y, names["x2"])] == [6.0, 10.0]


def test_a_path_runs_from_leaf_to_root_with_one_slope_for_each_step() -> None:
    y, names = course_graph()
    first, second = paths(y, names["x1"])
    assert first.nodes[0] is names["x1"] and first.nodes[-1] is y
    assert (first.slopes, second.slopes) == ((1, 6.0), (3.0, 5.0))
    assert first.nodes[1]._op == "+" and second.nodes[1]._op == "*"


def test_a_square_has_two_paths_one_for_each_operand() -> None:
    x = Value(3.0)
    found = paths(x * x, x)
    assert (len(found), [p.product for p in found], found.total) == (2, [3.0, 3.0], 6.0)


def test_the_path_of_no_step_has_product_1() -> None:
    x = Value(3.0)
    found = paths(x, x, {"x": x})
    assert (len(found), found[0].product, found.total) == (1, 1, 1.0)
    assert str(found) == "∂x/∂x: 1 path\n  x      1 = 1\n  total    = 1.0"


def test_paths_may_start_in_the_middle() -> None:
    x = Value(2.0)
    middle = x * 3
    assert paths(middle * middle, middle).total == 12.0


def test_branches_that_the_leaf_has_no_part_in_are_not_walked() -> None:
    x, other = Value(2.0), Value(1.0)
    found = paths(x * ladder(200, other), x)  # 2^200 paths lead from the other
    assert (len(found), found.total) == (1, 2.0**200)


@pytest.mark.parametrize("rungs", [1, 5, 9])
def test_a_ladder_of_k_rungs_has_2_to_the_k_paths(rungs: int) -> None:
    x = Value(1.0)
    found = paths(ladder(rungs, x), x)
    assert (len(found), found.total) == (2**rungs, 2.0**rungs)
    assert len({tuple(id(n) for n in path.nodes) for path in found}) == 1  # they differ by operand alone


@pytest.mark.parametrize(
    ("rungs", "count"),
    [(10, "1,024"), (64, "18,446,744,073,709,551,616"), (200, "about 10^60"), (20_000, "about 10^6020")],
)
def test_more_paths_than_the_limit_are_counted_and_not_walked(rungs: int, count: str) -> None:
    x = Value(Fraction(1))
    match = rf"found {count.replace('^', chr(92) + '^')} paths; accepted are at most most=1000"
    with pytest.raises(ParameterError, match=match):
        paths(ladder(rungs, x), x)


def test_the_limit_can_be_moved() -> None:
    x = Value(1.0)
    assert len(paths(ladder(11, x), x, most=2048)) == 2048
    with pytest.raises(ParameterError, match="found 2 paths; accepted are at most most=1"):
        paths(x * x, x, most=1)


def test_a_path_of_100_000_steps_is_found_and_printed_on_a_short_line() -> None:
    x = Value(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1
    found = paths(y, x, {"x": x})
    assert (len(found[0].slopes), found.total) == (100_000, 1.0)
    assert str(found).splitlines()[1] == "  x → v1 → v2 → … → v99998 → v99999 → v100000  1 · 1 · 1 · … · 1 · 1 · 1 = 1"


Step = tuple[str, int, int]
STEPS = st.lists(st.tuples(st.sampled_from("+-*"), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8)


def computed(steps: list[Step], leaf: Value, other: Value) -> Value:
    """A computation in which `leaf` has a part."""
    made = [leaf, other]
    for op, i, j in steps:
        a, b = made[i % len(made)], made[j % len(made)]
        made.append(a + b if op == "+" else a - b if op == "-" else a * b)
    return made[-1] * leaf


@given(steps=STEPS, x=st.fractions(-3, 3, max_denominator=9), z=st.fractions(-3, 3, max_denominator=9))
def test_the_total_is_the_gradient_exactly_where_numbers_are_exact(steps: list[Step], x: Fraction, z: Fraction) -> None:
    leaf = Value(x)
    y = computed(steps, leaf, Value(z))
    found = paths(y, leaf, most=10**6)
    y.backward()
    assert found.total == leaf.grad
    assert found.total == sum((path.product for path in found), Fraction(0))


@given(steps=STEPS, x=st.floats(-2, 2), z=st.floats(-2, 2))
def test_the_total_is_the_gradient_up_to_rounding_for_floats(steps: list[Step], x: float, z: float) -> None:
    leaf = Value(x)
    y = computed(steps, leaf, Value(z))
    found = paths(y, leaf, most=10**6)
    y.backward()
    # Each product rounds once a step, and adding n terms up rounds at most n times, each time by half an ulp of what
    # the sizes of all products add up to; `backward` does no more operations than that. Underflow loses below 1e-290.
    size = sum(abs(path.product) for path in found)
    bound = 2 * (len(found) + len(steps) + 1) * EPS * size + 1e-290
    assert abs(found.total - leaf.grad) <= bound


def test_negative_factors_and_fractions_stand_in_brackets() -> None:
    x = Value(Fraction(-1, 2))
    assert str(paths(x * -3 * x, x, {"x": x})).splitlines()[1:] == [
        "  x → v1 → v2  (-3) · (-1/2) = 3/2",
        "  x → v2       (3/2)         = 3/2",
        "  total                      = 3",
    ]


def test_a_leaf_outside_the_graph_is_refused() -> None:
    x, other = Value(1.0), Value(2.0)
    with pytest.raises(DerivativeError, match="is not among the 2 nodes .* the gradient is 0"):
        paths(x * 2, other)
    with pytest.raises(DerivativeError, match="is not among"):
        paths(x, x * 2)  # the wrong way round


@pytest.mark.parametrize(("root", "leaf"), [(1.0, Value(1.0)), (Value(1.0), 1.0), ("y", Value(1.0))])
def test_what_is_no_value_is_refused(root: Any, leaf: Any) -> None:
    with pytest.raises(DtypeError, match="paths: (root|leaf) is .* accepted is a Value"):
        paths(root, leaf)


def test_a_cycle_is_refused() -> None:
    x = Value(1.0)
    y = x * 2
    z = y + 1
    y._prev = (z,)
    with pytest.raises(DerivativeError, match="paths: .* is made from itself"):
        paths(z, x)
