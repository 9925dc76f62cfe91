"""How far rounding moves a result: the measured spread against the size that the algorithm of a kernel explains."""

from __future__ import annotations

import numpy as np
import pytest
from gradwitness.reference_engine import ops, trace
from gradwitness.reference_engine.drift import drift, drift_in_stages, nearest
from gradwitness.reference_engine.evaluate import Plan, arguments_of
from gradwitness.reference_engine.noise import Noise, NormalDraws
from gradwitness.reference_engine.registry import PRIMITIVES
from gradwitness.reference_engine.rounding import UNIT_ROUNDOFF, Disturbed, RootOfSquares, made_of, spread

SCALES = [2.0**-560, 2.0**-300, 1.0, 2.0**300, 2.0**480]
CANCELLING = np.array([[1.0, -1.0, 2.0**-10]])
ONES = np.ones((3, 1))
SUMS = {
    "sum": lambda a: ops.sum(a),
    "matmul": lambda a: ops.matmul(a, ONES),
    "einsum": lambda a: ops.einsum("ij,jk->ik", a, ONES),
}


def spread_of(fn, *xs, dtype="float64"):
    program = trace(fn, *xs)
    _, (s,) = spread(Plan(program), arguments_of(program, xs), dtype, samples=32)
    return s


@pytest.mark.parametrize("name", SUMS)
def test_the_spread_of_a_sum_is_that_of_its_terms_at_every_magnitude(name):
    # exact for powers of two, unless the squares of the terms leave the range of float64
    relative = [float(np.ravel(spread_of(SUMS[name], CANCELLING * scale))[0]) / scale for scale in SCALES]
    assert np.allclose(relative, relative[2], rtol=1e-3, atol=0.0)
    assert relative[2] > 0.3 * UNIT_ROUNDOFF["float64"]


@pytest.mark.parametrize(("fn", "power"), [(ops.var, 2), (ops.std, 1)])
def test_a_rounded_mean_moves_the_variance_of_constant_data_beyond_its_linear_rounding(fn, power):
    # all entries are m; a mean that is rounded by δ ≤ u m leaves n δ²/n of variance
    m, u = 0.1, UNIT_ROUNDOFF["float32"]
    s = float(spread_of(fn, np.full(24, m), dtype="float32"))
    assert 0.05 * (u * m) ** power < s < 10.0 * (u * m) ** power


def test_data_movement_has_no_spread():
    assert not spread_of(lambda a: ops.flip(ops.transpose(a)), CANCELLING).any()


def test_normal_draws_have_the_moments_of_the_law_and_are_never_zero():
    # of n draws the mean deviates by 1/√n, the variance by √(2/n), the fourth moment by √(96/n); five times is allowed
    n = 1 << 20
    x = NormalDraws(3)((4, n // 4)).astype(float).ravel()
    assert abs(x.mean()) < 5.0 / np.sqrt(n)
    assert abs((x**2).mean() - 1.0) < 5.0 * np.sqrt(2.0 / n)
    assert abs((x**4).mean() - 3.0) < 5.0 * np.sqrt(96.0 / n)
    assert np.abs(x).min() > 0.0
    assert abs((x[1:] * x[:-1]).mean()) < 5.0 / np.sqrt(n)


def test_small_draws_from_one_block_are_not_repeated():
    draw = NormalDraws(0)
    x = np.concatenate([draw((7,)) for _ in range(5000)])
    y = np.concatenate([draw((7,)) for _ in range(5000)])
    assert abs(np.corrcoef(x, y)[0, 1]) < 5.0 / np.sqrt(x.size)


@pytest.mark.parametrize("scale", [1.0, 2.0**-1000, 2.0**1000])
def test_roots_of_sums_of_squares_hold_at_every_magnitude(scale):
    total = RootOfSquares(np.zeros(4))
    for d in ([3.0, 0.0, 1.0, 2.0**-500], [-4.0, 0.0, np.inf, 0.0]):
        total.add(np.array(d) * scale)
    assert np.array_equal(total.root(), np.array([5.0, 0.0, np.inf, 2.0**-500]) * scale)


def test_further_disturbed_runs_go_on_from_those_that_were_made():
    program = trace(lambda a: ops.tanh(a @ a.T), CANCELLING)
    plan, given = Plan(program), arguments_of(program, [CANCELLING])
    runs = Disturbed(plan, given, "float64")
    runs.spread(4)
    assert np.array_equal(runs.spread(32)[0], spread(plan, given, "float64", samples=32)[1][0])


def test_noise_in_buffers_of_the_plan_is_the_noise_of_fresh_arrays():
    x = np.random.default_rng(0).standard_normal((40, 40))
    program = trace(lambda a: ops.sum(ops.exp(ops.tanh(a @ a.T) * 2.0 - a), axis=0), x)
    plan, given = Plan(program), arguments_of(program, [x])
    (in_buffers,), (fresh,) = (run(given, Noise("float32", 5)) for run in (plan.run, plan.observe))
    assert np.array_equal(in_buffers, fresh) and not np.array_equal(fresh, plan.run(given)[0])
    assert np.array_equal(given[0], x)


def test_a_cancelled_sum_is_made_of_its_terms_and_a_single_number_of_itself():
    x = np.array([3.0, -3.0, 1.0, -1.0])
    for fn, terms in ((ops.sum, x), (lambda v: ops.sum(ops.broadcast_to(v[:1], (4,)) * np.array([1, -1, 1, -1.0])), x)):
        program = trace(fn, x)
        (size,) = made_of(Plan(program), arguments_of(program, (x,)), samples=64)
        assert 0.3 * np.linalg.norm(terms) < size < 3.0 * np.sum(np.abs(terms))
    program = trace(ops.cosh, x)
    (size,) = made_of(Plan(program), arguments_of(program, (x,)), samples=64)
    assert np.all(size > 0.5 * np.cosh(x)) and np.all(size < 8.0 * np.cosh(x))


U = UNIT_ROUNDOFF["float16"]


def test_two_given_terms_are_rounded_once_however_much_they_cancel():
    values, places = np.array([1.0, -1.0, 2.0**-10]), np.array([0, 0, 1])
    primitive = PRIMITIVES["scatter_flat"]
    found = drift(primitive, [values, places], {"shape": (2,)}, np.array([0.0, 2.0**-10]), U)
    assert found[0] == 0.0
    assert 0.4 * U * 2.0**-10 <= found[1] < 0.6 * U * 2.0**-10


@pytest.mark.parametrize("samples", [1, 2])
def test_a_convolution_in_stages_rounds_the_sum_of_each_sample_and_their_running_sums(samples):
    x, g = np.array([[[1.0, 2.0]], [[3.0, -1.0]]])[:samples], np.array([[[1.0, 0.5]], [[-1.0, 0.25]]])[:samples]
    params = {"size": (1,), "stride": (1,), "padding": (0,), "dilation": (1,), "groups": 1}
    primitive = PRIMITIVES["conv_weight"]
    result = primitive.forward(x, g, **params)
    rounded = [2.0] if samples == 1 else [2.0, -3.25, -1.25]
    assert drift_in_stages(primitive, [x, g], params, result, U) == pytest.approx(0.4 * U * np.hypot.reduce(rounded))


def test_columns_that_do_not_overlap_are_rounded_once():
    g, w = np.array([[[1.0, 2.0]]]), np.array([[[1.0, 3.0]]])
    params = {"size": (4,), "stride": (2,), "padding": (0,), "dilation": (1,), "groups": 1}
    primitive = PRIMITIVES["conv_input"]
    result = primitive.forward(g, w, **params)
    assert np.allclose(drift_in_stages(primitive, [g, w], params, result, U), 0.4 * U * np.abs(result), rtol=1e-12)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_the_nearest_number_of_a_dtype_is_that_of_ieee_754(kind):
    x = np.array([0.1, 4.998, -1e-3, 2049.0, 2051.0, 0.0, np.inf, 65504.0])  # 2049, 2051: ties of float16
    assert np.array_equal(nearest(x, np.dtype(kind).name), x.astype(kind).astype(np.float64))
