"""The bound from the last roundings lies below the measured spread, and is that spread where nothing else rounds."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from gradwitness.reference_engine import grad, ops, trace
from gradwitness.reference_engine.evaluate import Plan, arguments_of
from gradwitness.reference_engine.last_rounding import MOVES, SLOPES, LastRoundings
from gradwitness.reference_engine.registry import PRIMITIVES
from gradwitness.reference_engine.rounding import spread

# The ratio of a spread measured with m = 4096 runs to the true one is normal around 1 with deviation 1/√(2m) = 0.011;
# five of these are allowed on each side.
RUNS, SLACK = 4096, 0.06
RNG = np.random.default_rng(0)
A, B, C = (RNG.standard_normal((3, 4)) for _ in range(3))

# f(a, b, c) and the share of its spread that the bound must reach: 1 where the last rounding is all there is
PROGRAMS = {
    "one rounding": (lambda a, b, c: a * b, 1.0),
    "a sum": (lambda a, b, c: ops.sum(a, axis=1), 1.0),
    "a matrix product": (lambda a, b, c: a @ b.T, 1.0),
    "a product that is moved": (lambda a, b, c: ops.reshape(ops.transpose(a @ b.T), (9,)), 1.0),
    "a cancelling sum of a product": (lambda a, b, c: a * b - (a * b) * (1.0 - 2.0**-30), 0.5),
    "products of products": (lambda a, b, c: (a * b) * c, 0.7),
    "a quotient of products": (lambda a, b, c: (a * b) / (b * c), 0.5),
    "a choice": (lambda a, b, c: ops.where(a > 0.0, a * b, c), 1.0),
    "a difference of one thing": (lambda a, b, c: _minus_itself(a * b), 0.0),
    "padded with numbers": (lambda a, b, c: ops.pad(a * b, ((1, 1), (0, 0)), value=1e6), 1.0),
    "several layers": (lambda a, b, c: ops.sum(ops.tanh(ops.tanh(a @ b.T) @ c)), 0.0),
}


def _minus_itself(x):
    return x - ops.flip(ops.flip(x, 0), 0)


def bound_and_spread(fn, *xs, dtype="float64"):
    program = trace(fn, *xs)
    plan, given = Plan(program), arguments_of(program, xs)
    last = LastRoundings(plan, given, dtype)
    exact, measured = spread(plan, given, dtype, samples=RUNS)
    assert all(np.array_equal(a, b) for a, b in zip(last.exact, exact, strict=True))
    return [(np.broadcast_to(last.least(i), s.shape), s) for i, s in enumerate(measured)]


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_bound_is_at_most_the_spread_and_not_far_below_it(name, dtype):
    fn, share = PROGRAMS[name]
    for least, s in bound_and_spread(fn, A, B, C, dtype=dtype):
        assert (least <= s * (1.0 + SLACK)).all()
        assert (least >= share * (1.0 - SLACK) * s).all()


def test_the_bound_on_a_gradient_is_at_most_its_spread():
    fn = lambda a, b, c: ops.sum(ops.softmax(ops.relu(a @ b.T) @ c, axis=-1) ** 2)  # noqa: E731
    for least, s in bound_and_spread(lambda a, b, c: grad(fn, (0, 1, 2))(a, b, c), A, B, C):
        assert (least <= s * (1.0 + SLACK)).all()


def test_numbers_that_are_only_moved_have_no_bound():
    ((least, s),) = bound_and_spread(lambda a, b, c: ops.concat([ops.flip(a), b * c]), A, B, C)
    assert not least[:3].any() and not s[:3].any()
    assert least[3:].all()


def test_what_is_looked_through_is_data_movement_or_arithmetic_of_the_registry():
    assert all(PRIMITIVES[name].ulps == 0.0 for name in MOVES)
    assert all(PRIMITIVES[name].ulps > 0.0 for name in SLOPES)


def test_a_part_of_a_plan_gives_those_outputs_and_computes_nothing_else():
    program = trace(lambda a, b, c: (a @ b.T, ops.exp(a), ops.exp(a) * c), A, B, C)
    plan, given = Plan(program), arguments_of(program, [A, B, C])
    whole = plan.run(given)
    part = plan.part([2, 1])
    assert all(np.array_equal(x, whole[i]) for x, i in zip(part.run(given), (2, 1), strict=True))
    assert {e.primitive for e in part.equations} == {"exp", "multiply"}
    assert plan.part([2, 1]) is part and plan.part([0, 1, 2]) is plan


def test_the_bound_of_a_chain_longer_than_the_stack_of_python_is_that_of_a_short_one():
    def scaled(times):
        def fn(a, b, c):
            for _ in range(times):
                a = a * 1.0
            return a

        program = trace(fn, A, B, C)
        return LastRoundings(Plan(program), arguments_of(program, [A, B, C]), "float64").least(0)

    assert np.array_equal(scaled(2 * sys.getrecursionlimit()), scaled(1))
