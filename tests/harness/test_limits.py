"""Derivatives as limits: functions with many digits, and verdicts where rules have no number or too many choices."""

import math

import mpmath as mp
import numpy as np
import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.arbitration.limits import DIGITS, Evaluation, NotEvaluated, evaluated, evaluations, limits
from gradwitness.harness.judgement import by_limits
from gradwitness.harness.judgement.one_sided import WRONG_SUM
from gradwitness.reference_engine import ops, trace

INF, NAN = math.inf, math.nan
# A limit is extrapolated from steps of 10⁻²⁰ and less, and rounded once.
ROUNDED = 2.0**-50


def ends(f, x, order=1):
    """The least and greatest limit along ones, as often as `order` says."""
    x = np.asarray(x, dtype=np.float64)
    evaluation = evaluated(trace(f, x), [x])
    ((low, high),) = limits(evaluation, [[np.ones(x.shape)]] * order)
    return float(low), float(high)


def root_of_square(x):
    return ops.sqrt(x * x)


ONE_DIMENSIONAL = [
    ("root of a square", root_of_square, 0.0, [(-1.0, 1.0), (NAN, NAN)]),
    ("square of a root", lambda x: ops.sqrt(x) * ops.sqrt(x), 0.0, [(1.0, 1.0), (0.0, 0.0), (0.0, 0.0)]),
    ("root of a fourth power", lambda x: ops.sqrt(x**4), 0.0, [(0.0, 0.0), (2.0, 2.0), (0.0, 0.0)]),
    ("exponential of a logarithm", lambda x: ops.exp(2.0 * ops.log(x)), 0.0, [(0.0, 0.0), (2.0, 2.0), (0.0, 0.0)]),
    ("root", ops.sqrt, 0.0, [(INF, INF), (-INF, -INF)]),
    ("cusp", lambda x: ops.sqrt(ops.abs(x)), 0.0, [(-INF, INF)]),
    ("step", lambda x: ops.floor(x), 1.0, [(NAN, NAN)]),
    ("infinite value", ops.logit, 0.0, [(NAN, NAN), (NAN, NAN)]),
    ("exponential", ops.exp, 1.0, [(math.e, math.e), (math.e, math.e), (math.e, math.e)]),
]


@pytest.mark.parametrize(("f", "x", "right"), [c[1:] for c in ONE_DIMENSIONAL], ids=[c[0] for c in ONE_DIMENSIONAL])
def test_limits_of_every_order_are_the_derivatives_or_the_ends_of_the_set(f, x, right):
    for order, wanted in enumerate(right, 1):
        assert ends(f, x, order) == pytest.approx(wanted, rel=ROUNDED, abs=0.0, nan_ok=True), order


def test_what_is_lost_beside_numbers_that_are_too_large_is_not_called_zero():
    # e^x₀ + e^x₁ has the derivative 1 in x₀ = 0, whatever x₁ is; 200 digits do not hold it beside e^700
    x = np.array([0.0, 700.0])
    evaluation = evaluated(trace(lambda x: ops.sum(ops.exp(x)), x), [x])
    unit = [np.array([1.0, 0.0])]
    ((low, high),) = limits(evaluation, [unit])
    assert math.isnan(low) and math.isnan(high)
    y = np.array([0.0, 200.0])
    ((low, high),) = limits(evaluated(trace(lambda x: ops.sum(ops.exp(x)), y), [y]), [unit])
    assert (low, high) == pytest.approx((1.0, 1.0), rel=ROUNDED)


def test_a_radial_function_has_the_derivatives_of_its_square():
    def bell(x):
        return ops.exp(-(ops.norm(x) ** 2))

    assert ends(bell, [0.0, 0.0], 1) == (0.0, 0.0)
    assert ends(bell, [0.0, 0.0], 2) == pytest.approx((-4.0, -4.0), rel=ROUNDED)  # -2 |t|² along t = (1, 1)
    assert ends(bell, [0.0, 0.0], 3) == (0.0, 0.0)
    assert all(map(math.isnan, ends(ops.norm, [0.0, 0.0], 2)))


SUMS = {
    "softmax": lambda x: ops.softmax(x, axis=1),
    "log_softmax": lambda x: ops.log_softmax(x, axis=0),
    "logsumexp": lambda x: ops.logsumexp(x, axis=1),
    "variance": lambda x: ops.var(x, axis=1),
    "deviation": lambda x: ops.std(x, axis=(0, 1)),
    "norm": lambda x: ops.norm(x, axis=0),
    "norm of order 3": lambda x: ops.norm(x, ord=3.0, axis=1),
    "product": lambda x: ops.prod(x, axis=1),
    "running product": lambda x: ops.cumprod(x, axis=1),
    "layer_norm": lambda x: ops.layer_norm(x, axis=-1),
    "matrix product": lambda x: ops.matmul(x, ops.swapaxes(x, 0, 1)),
    "mean and extremes": lambda x: ops.mean(x, axis=1) + ops.max(x, axis=1) - ops.min(x, axis=1),
    "rows": lambda x: ops.where(x > 0.3, ops.sin(x), x[::-1]) + ops.clip(x, -0.5, 0.5),
}


@pytest.mark.parametrize("name", SUMS)
def test_what_is_evaluated_with_many_digits_is_the_program(name):
    x = np.array([[0.7, -0.4, 1.3], [0.2, 0.9, -1.1]])
    program = trace(SUMS[name], x)
    found = Evaluation(program, [x]).at_x[0]
    assert np.allclose(found.astype(np.float64), SUMS[name](x), rtol=1e-13, atol=0.0)


def test_many_digits_are_many():
    with mp.workdps(DIGITS):
        (y,) = Evaluation(trace(lambda x: ops.logsumexp(x, axis=0), np.ones(2)), [np.array([1.0, 0.0])]).at_x
        assert abs(y.item() - mp.log(mp.e + 1)) < mp.mpf(10) ** (5 - DIGITS)


def test_another_decision_of_the_run_is_not_passed_over():
    x = np.array(0.0)
    program = trace(lambda x: ops.relu(x * 1.0), x)
    product = program.equations[0].outputs[0]
    with pytest.raises(NotEvaluated):
        Evaluation(program, [x], {product: np.array(1e-17)})
    assert evaluated(program, [x], {product: np.array(0.0)}) is not None
    assert evaluated(trace(lambda x: ops.svd(x)[1], np.eye(2)), [np.eye(2)]) is None


ZERO = torch.zeros((), dtype=torch.float64)


@pytest.mark.parametrize("mode", ["R", "F"])
def test_nan_is_a_mismatch_where_limits_exist(mode):
    result = check(lambda x: torch.sqrt(x**2), ZERO, modes=(mode,))
    whole = result.frame.query("program == 'whole' and quantity == 'derivative'")
    assert set(whole.verdict) == {"mismatch"} and whole.torch_value.isna().all()
    assert whole.message.str.contains("slopes between").all()


def test_what_stays_without_an_answer_is_indeterminate():
    assert check(lambda x: torch.atan2(x, x), ZERO).verdict == "indeterminate"  # it jumps


def test_a_number_between_the_slopes_is_a_legitimate_choice():
    x = torch.zeros(1, 1, 4, dtype=torch.float64)
    result = check(lambda x: torch.nn.functional.lp_pool1d(x, 2, 2).sum(), x)
    assert result.verdict == "convention", result.explain()


def bell(z):
    return torch.exp(-(torch.linalg.norm(z) ** 2))


@pytest.mark.parametrize("mode", ["FR", "FF"])
@pytest.mark.parametrize("fn", [bell, lambda z: (z.abs() ** 2).sum()], ids=["bell", "square of a modulus"])
def test_the_derivative_of_a_constant_choice_is_wrong_where_the_whole_is_smooth(fn, mode):
    result = check(fn, torch.zeros(2, dtype=torch.float64), modes=(mode,))
    assert result.verdict == "mismatch" and set(result.frame.message) == {WRONG_SUM}
    assert check(fn, torch.tensor([0.3, -0.4], dtype=torch.float64), modes=(mode,)).verdict == "agree"


@pytest.mark.parametrize("mode", ["RR", "FR", "RF", "FF"])
@pytest.mark.parametrize(
    "fn",
    [torch.relu, lambda x: x.abs() * 2.0, lambda x: x.clamp(0.0, 1.0) ** 2],
    ids=["relu", "abs", "clamp"],
)
def test_a_second_derivative_at_a_kink_of_the_whole_stays_legitimate(fn, mode):
    assert check(fn, torch.zeros(3, dtype=torch.float64), modes=(mode,)).verdict in ("agree", "convention")


@pytest.mark.parametrize("order", [1, 2, 3])
def test_no_corner_is_evaluated_twice(order, monkeypatch):
    x = np.array([0.5, -0.25])
    evaluation = evaluated(trace(lambda x: ops.sum(ops.exp(x)), x), [x])
    moved, made = Evaluation.moved, []
    monkeypatch.setattr(Evaluation, "moved", lambda self, *given: made.append(0) or moved(self, *given))
    limits(evaluation, [[np.ones(2)]] * order)
    assert len(made) == evaluations(order) - 3  # at each of the three steps, the point itself is known


def test_operations_are_counted_where_they_are_made():
    def work(f, *shapes):
        inputs = [np.ones(s) for s in shapes]
        return evaluated(trace(f, *inputs), inputs).work

    assert work(lambda a, b: a @ b, (2, 30), (30, 4)) == 2 * 30 * 4
    assert work(lambda a: ops.reshape(a, (6,)), (2, 3)) == 0
    assert work(lambda a: a + a, (2, 3)) == 6 < work(ops.exp, (2, 3))


@pytest.mark.parametrize(("times", "verdict"), [(2.0, "mismatch"), (1.0, "mismatch"), (0.5, "agree")])
def test_where_each_input_takes_too_long_the_sum_over_all_of_them_is_decided(times, verdict, monkeypatch):
    """times: how many inputs can be afforded, of the two."""
    z, w = torch.zeros(2, dtype=torch.float64), torch.tensor([0.5, 1.5], dtype=torch.float64)

    def fn(z, w):
        return bell(z) + (w * w).sum()

    made, begin = [], Evaluation.__init__
    monkeypatch.setattr(Evaluation, "__init__", lambda self, *given: made.append(self) or begin(self, *given))
    check(fn, (z, w), modes=("FR",))
    monkeypatch.setattr(by_limits, "AFFORDED", int(times * made[0].work * evaluations(2)))
    result = check(fn, (z, w), modes=("FR",))
    assert result.verdict == verdict
    assert (WRONG_SUM in set(result.frame.message)) == (verdict == "mismatch")


@pytest.mark.parametrize("runner", ["func", "checkpoint", "create_graph"])
def test_every_runner_is_held_against_limits_as_the_plain_run_is(runner):
    result = check(bell, torch.zeros(2, dtype=torch.float64), modes=("FR",), runners=("autograd", runner))
    assert set(result.frame.verdict) == {"mismatch"} and set(result.frame.message) == {WRONG_SUM}
    result = check(root_of_square_in_torch, torch.zeros(1, dtype=torch.float64), runners=("autograd", runner))
    whole = result.frame[(result.frame["program"] == "whole") & (result.frame["quantity"] == "derivative")]
    assert set(zip(whole.runner, whole.verdict, strict=True)) == {("autograd", "mismatch"), (runner, "mismatch")}


def root_of_square_in_torch(x):
    return torch.sqrt(x * x)


def test_what_limits_decide_in_one_precision_says_nothing_of_another():
    x = torch.zeros(1, 1, 4, dtype=torch.float64)

    def verdicts(*dtypes):
        frame = check(lambda x: torch.nn.functional.lp_pool1d(x, 2, 2).sum(), x, dtypes=dtypes).frame
        return [sorted(frame[frame["dtype"] == d]["verdict"]) for d in ("float32", "float64")]

    apart = [verdicts("float32")[0], verdicts("float64")[1]]
    assert "indeterminate" in apart[0] and "indeterminate" not in apart[1]
    assert verdicts("float32", "float64") == verdicts("float64", "float32") == apart
