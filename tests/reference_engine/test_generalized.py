"""Kinks: the set of legitimate derivatives, and the one-sided derivative that every choice is measured against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradwitness.reference_engine import Plan, Program, ShapeError, ops, reverse, simplify, trace
from gradwitness.reference_engine.evaluate import arguments_of
from gradwitness.reference_engine.generalized import ONE_SIDED, directional, hull
from gradwitness.reference_engine.registry import PRIMITIVES


def gradient_hull(fn: Callable[..., Any], *xs: Any, **settings: Any) -> list[Any]:
    """The hull of the gradient of `fn`, cotangents 1, at xs."""
    arrays = [np.asarray(x, dtype=float) for x in xs]
    program = simplify(reverse(trace(fn, *arrays)))
    ones = [np.ones(v.shape) for v in program.inputs[len(arrays) :]]
    return hull(Plan(program), arguments_of(program, [*arrays, *ones]), **settings)


def test_without_a_kink_the_hull_is_the_gradient_itself() -> None:
    ((lower, upper, exact, has_kink),) = gradient_hull(lambda x: ops.relu(x) * ops.abs(x), [-1.0, 2.0])
    assert not has_kink
    np.testing.assert_array_equal(lower, exact)
    np.testing.assert_array_equal(upper, exact)


@pytest.mark.parametrize(
    ("fn", "x", "lower", "upper", "exact"),
    [
        (ops.relu, 0.0, 0.0, 1.0, 0.0),
        (ops.abs, 0.0, -1.0, 1.0, 0.0),
        (lambda x: ops.clip(x, -1.0, 1.0), 1.0, 0.0, 1.0, 0.0),
        (lambda x: ops.i0e(x), 0.0, -1.0, 1.0, 0.0),
        (lambda x: ops.maximum(x, 2.0), 2.0, 0.0, 1.0, 0.5),
        (lambda x: ops.sqrt(ops.fmin(x, 0.0)), 0.0, 0.0, np.inf, np.inf),
        (lambda x: ops.relu(x) - ops.relu(-x), 0.0, 0.0, 2.0, 0.0),
        (lambda x: ops.relu(x) + 3.0 * ops.abs(x), 0.0, -3.0, 4.0, 0.0),
    ],
)
def test_the_hull_at_a_kink_is_the_whole_interval_of_legitimate_slopes(
    fn: Callable[[Any], Any], x: float, lower: float, upper: float, exact: float
) -> None:
    ((a, b, y, has_kink),) = gradient_hull(fn, x)
    assert has_kink
    # The slope of i0e is a special function, within a few roundings of 1.
    np.testing.assert_allclose((a, b, y), (lower, upper, exact), rtol=8 * np.finfo(float).eps, atol=0.0)


def test_the_two_arguments_of_a_tie_share_one_choice() -> None:
    """Slopes θ and 1 - θ: their sum is 1 for every choice, so it has no width."""
    ((lower, upper, _, _),) = gradient_hull(lambda x: ops.maximum(x, 1.0 * x), 2.0)
    assert (lower, upper) == (1.0, 1.0)


def test_every_tied_entry_of_a_maximum_may_have_all_or_nothing() -> None:
    ((lower, upper, exact, has_kink),) = gradient_hull(lambda x: ops.max(x), [3.0, 1.0, 3.0, 3.0], samples=16)
    assert has_kink
    np.testing.assert_array_equal(lower, [0.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(upper, [1.0, 0.0, 1.0, 1.0])
    np.testing.assert_array_equal(exact, [1 / 3, 0.0, 1 / 3, 1 / 3])


def test_a_maximum_without_a_tie_has_no_kink() -> None:
    ((_, _, _, has_kink),) = gradient_hull(lambda x: ops.max(x), [3.0, 1.0])
    assert not has_kink


def test_the_hull_does_not_depend_on_anything_but_its_seed() -> None:
    x = np.zeros(5)
    first = gradient_hull(lambda v: ops.sum(ops.relu(v) * ops.cumsum(ops.abs(v), axis=0)), x, seed=3)
    again = gradient_hull(lambda v: ops.sum(ops.relu(v) * ops.cumsum(ops.abs(v), axis=0)), x, seed=3)
    for a, b in zip(first[0][:3], again[0][:3], strict=True):
        np.testing.assert_array_equal(a, b)


def one_sided(fn: Callable[..., Any], xs: list[Any], ts: list[Any]) -> np.ndarray:
    arrays = [np.asarray(x, dtype=float) for x in xs]
    return directional(trace(fn, *arrays), arrays, ts)[0]


@pytest.mark.parametrize("t", [1.0, -1.0, 2.5])
def test_relu_of_x_minus_relu_of_minus_x_moves_with_x_although_both_choices_are_zero(t: float) -> None:
    assert one_sided(lambda x: ops.relu(x) - ops.relu(-x), [0.0], [t]) == t


KINKS: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "relu": (ops.relu, [[0.0, 1.0, -1.0]]),
    "abs": (ops.abs, [[0.0, 1.0, -1.0]]),
    "maximum": (ops.maximum, [[1.0, 2.0, 0.0], [1.0, 1.0, 1.0]]),
    "minimum": (ops.minimum, [[1.0, 2.0, 0.0], [1.0, 1.0, 1.0]]),
    "fmax": (ops.fmax, [[1.0, 2.0, 0.0], [1.0, 1.0, 1.0]]),
    "fmin": (ops.fmin, [[1.0, 2.0, 0.0], [1.0, 1.0, 1.0]]),
    "clip": (lambda x: ops.clip(x, -1.0, 1.0), [[-1.0, 1.0, 0.5, 3.0]]),
    "max": (lambda x: ops.max(x, axis=0), [[[2.0, 1.0], [2.0, 5.0], [2.0, 5.0]]]),
    "min": (lambda x: ops.min(x, axis=0), [[[2.0, 1.0], [2.0, 5.0], [2.0, 1.0]]]),
    "hypot": (ops.hypot, [[0.0, 3.0], [0.0, 4.0]]),
    "i0e": (ops.i0e, [[0.0, 1.0]]),
    "pieces": (lambda x: ops.pieces(x, x, 0.5 * x), [[0.0, 1.0, -1.0]]),
    "a tie inside a sum": (lambda x: ops.sum(ops.abs(x - 1.0) * ops.exp(x)), [[1.0, 2.0]]),
    "a kink of a kink": (lambda x: ops.relu(ops.abs(x) - ops.relu(x)), [[0.0, -1.0]]),
}
STEP = 2.0**-20
# Differences over one step: h/2 f'' with |f''| at most 3 e² t² < 100 here, and rounding 2 ε |f|/h.
BOUND = 50.0 * STEP


@pytest.mark.parametrize("name", sorted(KINKS))
def test_the_directional_derivative_is_the_limit_of_one_sided_differences(name: str) -> None:
    fn, xs = KINKS[name]
    arrays = [np.asarray(x, dtype=float) for x in xs]
    rng = np.random.default_rng(5)
    for _ in range(8):
        ts = [rng.standard_normal(x.shape) for x in arrays]
        found = one_sided(fn, arrays, ts)
        moved = fn(*[x + STEP * t for x, t in zip(arrays, ts, strict=True)])
        np.testing.assert_allclose(found, (moved - fn(*arrays)) / STEP, rtol=0.0, atol=BOUND)


def test_every_one_sided_rule_belongs_to_a_primitive_and_is_tried() -> None:
    assert set(ONE_SIDED) <= set(PRIMITIVES)
    assert set(ONE_SIDED) <= set(KINKS)


def test_clip_with_crossed_bounds_does_not_move() -> None:
    assert one_sided(lambda x: ops.clip(x, 1.0, -1.0), [1.0], [1.0]) == 0.0


def test_a_value_that_is_only_close_to_a_kink_is_not_on_it() -> None:
    np.testing.assert_array_equal(
        one_sided(ops.hypot, [[0.0, 1e-30], [0.0, 0.0]], [[3.0, -1.0], [4.0, 0.0]]), [5.0, -1.0]
    )


def test_where_the_program_is_smooth_it_is_the_ordinary_tangent() -> None:
    x = np.array([0.3, 2.0])
    found = one_sided(lambda v: ops.tanh(v) * v[::-1], [x], [np.array([1.0, 0.0])])
    np.testing.assert_allclose(found, [2.0 / np.cosh(0.3) ** 2, np.tanh(2.0)], rtol=4 * np.finfo(float).eps)


def test_an_output_that_no_input_moves_has_a_zero_tangent() -> None:
    program: Program = trace(lambda x: (ops.floor(x), ops.greater(x, 0.0) * 1.0), np.zeros(2))
    for t in directional(program, [np.zeros(2)], [np.ones(2)]):
        np.testing.assert_array_equal(t, np.zeros(2))


def test_tangents_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"directional: tangent shapes are \[\(3,\)\]; accepted are \[\(2,\)\]"):
        directional(trace(ops.relu, np.zeros(2)), [np.zeros(2)], [np.ones(3)])
