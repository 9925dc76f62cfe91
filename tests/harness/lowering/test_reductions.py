"""Lowerings of reductions, norms, distances and scans, at points where value and gradient are known in closed form."""

import math

import numpy as np
import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.lowering import CallSite
from gradwitness.harness.lowering.reductions import kthvalue, max_dim, mode
from gradwitness.reference_engine import trace
from gradwitness.reference_engine.evaluate import evaluate

ROUNDINGS = 1e-14  # of numbers of size 1 that are computed in at most 20 steps of 2^-53 each
INF, NAN = math.inf, math.nan

CASES = [
    ("prod with a zero", torch.prod, [0.0, 2.0, 3.0], 0.0, [6.0, 0.0, 0.0]),
    ("prod of a scalar along an axis", lambda x: torch.prod(x, 0), 2.0, 2.0, 1.0),
    ("sum of a scalar along an axis", lambda x: torch.sum(x, -1), 2.0, 2.0, 1.0),
    ("nansum", torch.nansum, [1.0, NAN], 1.0, [1.0, 0.0]),
    ("max", torch.max, [1.0, 3.0, 2.0], 3.0, [0.0, 1.0, 0.0]),
    ("amax at a tie", torch.amax, [3.0, 3.0, 2.0], 3.0, [0.5, 0.5, 0.0]),
    ("max along an axis, tie", lambda x: torch.max(x, 0)[0], [3.0, 3.0, 2.0], 3.0, [1.0, 0.0, 0.0]),
    ("min along an axis", lambda x: torch.min(x, 0)[0], [3.0, 1.0, 2.0], 1.0, [0.0, 1.0, 0.0]),
    ("median of four is the lower one", torch.median, [4.0, 1.0, 3.0, 2.0], 2.0, [0.0, 0.0, 0.0, 1.0]),
    ("median at a tie", torch.median, [2.0, 2.0, 5.0], 2.0, [0.5, 0.5, 0.0]),
    ("nanmedian", torch.nanmedian, [NAN, 1.0, 3.0, 2.0], 2.0, [0.0, 0.0, 0.0, 1.0]),
    ("mode", lambda x: torch.mode(x)[0], [2.0, 1.0, 2.0], 2.0, [0.0, 0.0, 1.0]),
    ("kthvalue", lambda x: torch.kthvalue(x, 2)[0], [3.0, 1.0, 2.0], 2.0, [0.0, 0.0, 1.0]),
    ("sort", lambda x: torch.sort(x)[0][0], [3.0, 1.0, 2.0], 1.0, [0.0, 1.0, 0.0]),
    ("topk", lambda x: torch.topk(x, 2)[0], [3.0, 1.0, 2.0], [3.0, 2.0], [1.0, 0.0, 1.0]),
    ("var", torch.var, [1.0, 2.0, 3.0], 1.0, [-1.0, 0.0, 1.0]),
    ("std", lambda x: torch.std(x, correction=0), [1.0, 3.0], 1.0, [-0.5, 0.5]),
    ("norm", torch.linalg.vector_norm, [3.0, 4.0], 5.0, [0.6, 0.8]),
    ("norm at 0", torch.linalg.vector_norm, [0.0, 0.0], 0.0, [0.0, 0.0]),
    ("norm of order -2 at 0", lambda x: torch.linalg.vector_norm(x, -2), [0.0, 0.0], 0.0, [0.0, 0.0]),
    ("norm of order 1", lambda x: torch.norm(x, 1), [3.0, -4.0], 7.0, [1.0, -1.0]),
    ("largest absolute value", lambda x: torch.norm(x, INF), [3.0, -4.0], 4.0, [0.0, -1.0]),
    ("pdist", torch.pdist, [[0.0, 0.0], [3.0, 4.0]], [5.0], [[-0.6, -0.8], [0.6, 0.8]]),
    ("renorm to 0", lambda x: torch.renorm(x, 2, 0, 0.0), [[3.0, 4.0]], [[0.0, 0.0]], [[0.0, 0.0]]),
    ("renorm below its bound", lambda x: torch.renorm(x, 2, 0, 9.0), [[3.0, 4.0]], [[3.0, 4.0]], [[1.0, 1.0]]),
    ("logsumexp of -inf", lambda x: torch.logsumexp(x, 0), [-INF, -INF], -INF, [0.0, 0.0]),
    ("cumsum", lambda x: torch.cumsum(x, 0), [1.0, 2.0, 3.0], [1.0, 3.0, 6.0], [3.0, 2.0, 1.0]),
    ("cumprod with a zero", lambda x: torch.cumprod(x, 0), [0.0, 2.0, 3.0], [0.0, 0.0, 0.0], [9.0, 0.0, 0.0]),
    ("cummax", lambda x: torch.cummax(x, 0)[0], [1.0, 3.0, 2.0], [1.0, 3.0, 3.0], [1.0, 2.0, 0.0]),
    ("cumsum of a scalar", lambda x: torch.cumsum(x, 0), 2.0, 2.0, 1.0),
    ("logcumsumexp", lambda x: torch.logcumsumexp(x, 0), [-40.0, 0.0], [-40.0, 0.0], [1.0, 1.0]),
]


@pytest.mark.parametrize(("fn", "point", "expected", "slope"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_reduction_or_scan_has_its_known_value_and_gradient(read, fn, point, expected, slope):
    value, (gradient,) = read(fn, point)
    assert np.allclose(value, expected, rtol=ROUNDINGS, atol=ROUNDINGS, equal_nan=True)
    assert np.allclose(gradient, slope, rtol=ROUNDINGS, atol=ROUNDINGS)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_distances_of_one_coordinate_are_absolute_differences(read, p):
    for fn in (lambda a, b: torch.cdist(a, b, p), lambda a, b: torch.dist(a, b, p)):
        value, (ga, gb) = read(fn, [[3.0]], [[1.0]])
        assert np.allclose((value.item(), ga.item(), gb.item()), (2.0, 1.0, -1.0), rtol=ROUNDINGS)


def test_both_ends_are_returned_by_aminmax(read):
    value, (gradient,) = read(lambda x: torch.stack(torch.aminmax(x)), [1.0, 3.0, 2.0])
    assert np.array_equal(value, [1.0, 3.0])
    assert np.array_equal(gradient, [1.0, 1.0, 0.0])


def recorded(name, values, indices, numbers):
    return CallSite(name, (np.array(values), np.array(indices)), "float64", lambda _: np.array(numbers))


def test_a_wrong_index_of_the_largest_entry_is_not_taken_over():
    numbers = [1.0, 3.0, 2.0]
    call = recorded("aten::max.dim", 2.0, 2, numbers)
    program = trace(lambda x: max_dim(call, x, 0), np.zeros(3))
    assert float(evaluate(program, np.array(numbers))) == 3.0


def test_a_wrong_index_of_the_second_smallest_entry_is_not_taken_over():
    numbers = [1.0, 3.0, 2.0]
    call = recorded("aten::kthvalue", 1.0, 0, numbers)
    program = trace(lambda x: kthvalue(call, x, 2, 0), np.zeros(3))
    assert float(evaluate(program, np.array(numbers))) == 2.0


@pytest.mark.parametrize(
    ("numbers", "index", "found"),
    [
        ([NAN, 5.0, 4.0, 3.0], 0, NAN),  # each is there once
        ([NAN, 5.0, 4.0, 3.0], 1, 5.0),
        ([NAN, NAN, NAN, 1.0], 0, NAN),  # NaN three times, or each NaN once
        ([NAN, NAN, NAN, 1.0], 3, 1.0),
        ([NAN, NAN, 3.0, 3.0], 3, 3.0),
        ([1.0, 2.0, NAN, 2.0], 0, 2.0),  # 2 is there twice, whatever NaN is
        ([1.0, 2.0, NAN, 2.0], 2, 2.0),
        ([NAN, 2.0, 2.0, 2.0, 1.0, NAN], 0, 2.0),
        ([1.0, 1.0, 2.0, 2.0], 2, 1.0),  # without NaN the least of several
    ],
)
def test_the_mode_of_a_row_with_nan_is_the_recorded_one_where_nothing_is_more_frequent(numbers, index, found):
    call = recorded("aten::mode", numbers[index], index, numbers)
    program = trace(lambda x: mode(call, x), np.zeros(len(numbers)))
    assert np.array_equal(evaluate(program, np.array(numbers)), found, equal_nan=True)


def test_each_row_of_a_mode_is_judged_by_itself_along_any_axis():
    numbers = np.array([[NAN, 5.0, 4.0], [1.0, NAN, 1.0], [3.0, 3.0, 2.0]]).T
    call = recorded("aten::mode", [[NAN, NAN, 3.0]], [[0, 1, 1]], numbers)
    program = trace(lambda x: mode(call, x, 0, keepdim=True), np.zeros((3, 3)))
    assert np.array_equal(evaluate(program, numbers), [[NAN, 1.0, 3.0]], equal_nan=True)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("p", [float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["dist", "cdist", "pdist", "norm of moduli"])
def test_the_largest_of_rounded_differences_is_one_of_them(name, p, dtype):
    """Its recorded number is rounded, and equal to no difference that is computed exactly."""
    if name in ("cdist", "pdist") and (dtype in ("bfloat16", "float16") or p < 0):
        pytest.skip("PyTorch has no kernel")
    if name == "norm of moduli" and dtype in ("bfloat16", "float16"):
        pytest.skip("complex numbers have no such precision")
    x = 5 * torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(11))
    fn = {
        "dist": lambda a, b: torch.dist(a, b, p),
        "cdist": lambda a, b: torch.cdist(a, b, p),
        "pdist": lambda a, b: torch.nn.functional.pdist(a, p) + 0 * b.sum(),
        "norm of moduli": lambda a, b: torch.linalg.vector_norm(torch.complex(a, b), p, dim=-1),
    }[name]
    assert check(fn, (x[0], x[1]), dtypes=dtype).verdict == "agree"
