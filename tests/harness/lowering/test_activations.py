"""Lowerings of activation functions, at points where value and slope are known in closed form."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gradwitness.harness import check

ROUNDINGS = 1e-14  # of numbers of size 1 that are computed in at most 20 steps of 2^-53 each

SLOPES = [
    ("relu", F.relu, [-1.0, 2.0], [0.0, 2.0], [0.0, 1.0]),
    ("relu6", F.relu6, [-1.0, 2.0, 7.0], [0.0, 2.0, 6.0], [0.0, 1.0, 0.0]),
    ("hardtanh", lambda x: F.hardtanh(x, -0.5, 2.0), [-1.0, 1.0, 3.0], [-0.5, 1.0, 2.0], [0.0, 1.0, 0.0]),
    ("leaky_relu", lambda x: F.leaky_relu(x, 0.125), [-2.0, 2.0], [-0.25, 2.0], [0.125, 1.0]),
    ("elu", lambda x: F.elu(x, 2.0), [-1.0, 3.0], [2 * math.expm1(-1), 3.0], [2 * math.exp(-1), 1.0]),
    ("celu", lambda x: F.celu(x, 2.0), [-2.0, 3.0], [2 * math.expm1(-1), 3.0], [math.exp(-1), 1.0]),
    ("silu", F.silu, [0.0], [0.0], [0.5]),
    ("mish", F.mish, [0.0], [0.0], [math.tanh(math.log(2.0))]),
    ("gelu", F.gelu, [0.0, 1e4], [0.0, 1e4], [0.5, 1.0]),
    ("gelu by tanh", lambda x: F.gelu(x, approximate="tanh"), [0.0, 1e4], [0.0, 1e4], [0.5, 1.0]),
    ("softplus", F.softplus, [0.0, 25.0], [math.log(2.0), 25.0], [0.5, 1.0]),
    ("softplus with beta", lambda x: F.softplus(x, 2.0), [0.0], [math.log(2.0) / 2], [0.5]),
    ("hardsigmoid", F.hardsigmoid, [-4.0, 0.0, 4.0], [0.0, 0.5, 1.0], [0.0, 1 / 6, 0.0]),
    ("hardswish", F.hardswish, [-4.0, 1.0, 4.0], [0.0, 4 / 6, 4.0], [0.0, 5 / 6, 1.0]),
    ("hardshrink", F.hardshrink, [-1.0, 0.25], [-1.0, 0.0], [1.0, 0.0]),
    ("hardshrink by nothing", lambda x: F.hardshrink(x, 0.0), [0.0], [0.0], [1.0]),
    ("softshrink", F.softshrink, [-1.0, 0.25, 2.0], [-0.5, 0.0, 1.5], [1.0, 0.0, 1.0]),
    ("softshrink by nothing", lambda x: F.softshrink(x, 0.0), [0.0], [0.0], [1.0]),
    ("threshold", lambda x: F.threshold(x, 1.0, 20.0), [0.5, 1.0, 2.0], [20.0, 20.0, 2.0], [0.0, 0.0, 1.0]),
    ("logsigmoid", F.logsigmoid, [0.0, -1e3], [-math.log(2.0), -1e3], [0.5, 1.0]),
]


@pytest.mark.parametrize(("fn", "points", "values", "slopes"), [c[1:] for c in SLOPES], ids=[c[0] for c in SLOPES])
def test_an_activation_has_its_known_value_and_slope(read, fn, points, values, slopes):
    value, (slope,) = read(fn, points)
    assert np.allclose(value, values, rtol=ROUNDINGS, atol=ROUNDINGS)
    assert np.allclose(slope, slopes, rtol=ROUNDINGS, atol=ROUNDINGS)


def test_the_left_tail_of_gelu_is_kept_where_one_plus_erf_is_zero(read):
    value, (slope,) = read(F.gelu, [-9.0])
    tail = 0.5 * math.erfc(9.0 / math.sqrt(2.0))
    assert np.allclose(value, [-9.0 * tail], rtol=ROUNDINGS, atol=0.0)
    bell = 9.0 * math.exp(-40.5) / math.sqrt(2.0 * math.pi)
    assert np.allclose(slope, [tail - bell], rtol=ROUNDINGS, atol=0.0)


def test_prelu_sends_x_to_the_weight_below_zero_and_nothing_above(read):
    _, (to_x, to_weight) = read(F.prelu, [[-2.0, 3.0]], [0.25, 0.25])
    assert to_x.tolist() == [[0.25, 1.0]]
    assert to_weight.tolist() == [-2.0, 0.0]


def test_glu_is_the_first_half_times_the_sigmoid_of_the_second(read):
    value, (to_x,) = read(lambda x: F.glu(x, dim=0), [3.0, 0.0])
    assert value.tolist() == [1.5]
    assert to_x.tolist() == [0.5, 0.75]


def test_dropout_takes_its_mask_from_the_run(read):
    torch.manual_seed(0)
    value, (to_x,) = read(lambda x: torch.native_dropout(x, 0.5, True)[0], np.ones(100).tolist())
    assert set(to_x.tolist()) == {0.0, 2.0}
    assert (value == to_x).all()


def test_random_slopes_of_rrelu_are_those_of_the_run():
    result = check(lambda x: F.rrelu(x, training=True), torch.linspace(-3.0, 3.0, 50, dtype=torch.float64))
    assert result.verdict == "agree"


@pytest.mark.parametrize("fn", [F.relu, F.hardtanh, F.leaky_relu, F.selu, F.softshrink, F.hardswish, F.relu6])
def test_pytorchs_choice_at_a_kink_is_a_convention_and_not_a_fault(fn):
    kinks = torch.tensor([0.0, -1.0, 1.0, 0.5, -0.5, 3.0, -3.0, 6.0], dtype=torch.float64)
    assert check(fn, kinks).verdict in ("agree", "convention")


def test_second_derivatives_of_smooth_gates_agree_in_every_nesting():
    x = torch.linspace(-3.1, 3.3, 9, dtype=torch.float64)
    for fn in (F.silu, F.gelu, F.mish, F.softplus, F.logsigmoid, F.elu):
        result = check(fn, x, modes=("RR", "FR", "RF", "FF"))
        assert result.verdict == "agree", (fn.__name__, result.frame[["mode", "verdict", "z", "message"]])


def test_a_backward_formula_called_as_a_function_has_its_own_derivative():
    def fn(g, x):
        return torch.ops.aten.threshold_backward(g, x, 0.0)

    result = check(fn, (torch.tensor([3.0, 4.0], dtype=torch.float64), torch.tensor([-1.0, 1.0], dtype=torch.float64)))
    assert result.verdict == "agree"
