"""What only moves or adds entries: its matrix, taken from NumPy on unit vectors, gives every derivative exactly.

All numbers here are small integers or halves of them, so that float64 is exact and no tolerance is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from gradwitness.reference_engine import grad, hessian, jvp, ops, vjp
from numpy.lib.stride_tricks import sliding_window_view

IDS = np.array([2, 0, 0, -1])
GRID = np.array([[0, 1], [1, 1]])
MASK = np.array([[True, False, True, False], [False, False, True, True], [False, True, False, True]])
ALONG = np.array([[2, 0, 1, 1], [2, 2, 0, -1]])


class Case(NamedTuple):
    """One linear (or, with a constant part, affine) map, ours and NumPy's."""

    name: str
    ours: Callable[[Any], Any]
    numpy: Callable[[np.ndarray], np.ndarray]
    shape: tuple[int, ...]


def put(x: np.ndarray, index: Any, values: Any) -> np.ndarray:
    y = x.copy()
    y[index] = values
    return y


def add_at(x: np.ndarray, index: Any, values: Any) -> np.ndarray:
    y = x.copy()
    np.add.at(y, index, values)
    return y


def numpy_pad(x: np.ndarray, widths: Any, mode: str) -> np.ndarray:
    return np.pad(x, widths, mode={"replicate": "edge", "circular": "wrap"}.get(mode, mode))


def windows_by_numpy(x: np.ndarray, window: int, stride: int, dilation: int) -> np.ndarray:
    """Of the last axis: NumPy's sliding windows of the whole extent, thinned out."""
    whole = sliding_window_view(x, dilation * (window - 1) + 1, axis=-1)
    return np.moveaxis(whole[..., ::stride, ::dilation], -1, 0)


def fold_by_numpy(x: np.ndarray, size: int, stride: int, dilation: int) -> np.ndarray:
    y = np.zeros((*x.shape[1:-1], size))
    for offset in range(x.shape[0]):
        for position in range(x.shape[-1]):
            y[..., position * stride + offset * dilation] += x[offset, ..., position]
    return y


CASES = [
    Case("reshape", lambda x: ops.reshape(x, (-1, 2)), lambda x: x.reshape(-1, 2), (3, 4)),
    Case("reshape of nothing", lambda x: ops.reshape(x, (0, 7)), lambda x: x.reshape(0, 7), (3, 0)),
    Case("transpose", lambda x: ops.transpose(x, (2, 0, 1)), lambda x: x.transpose(2, 0, 1), (2, 3, 2)),
    Case("moveaxis", lambda x: ops.moveaxis(x, 0, -1), lambda x: np.moveaxis(x, 0, -1), (2, 3, 2)),
    Case("swapaxes", lambda x: ops.swapaxes(x, 0, -1), lambda x: np.swapaxes(x, 0, -1), (2, 3, 2)),
    Case("broadcast_to", lambda x: ops.broadcast_to(x, (2, 3, 4)), lambda x: np.broadcast_to(x, (2, 3, 4)), (3, 1)),
    Case("broadcast to nothing", lambda x: ops.broadcast_to(x, (0, 3)), lambda x: np.broadcast_to(x, (0, 3)), (3,)),
    Case("expand_dims", lambda x: ops.expand_dims(x, (0, -1)), lambda x: np.expand_dims(x, (0, -1)), (2, 3)),
    Case("squeeze", ops.squeeze, np.squeeze, (2, 1, 3, 1)),
    Case("flatten", lambda x: ops.flatten(x, 1, 2), lambda x: x.reshape(2, 6, 2), (2, 3, 2, 2)),
    Case("tile", lambda x: ops.tile(x, (2, 1, 3)), lambda x: np.tile(x, (2, 1, 3)), (2, 2)),
    Case("repeat", lambda x: ops.repeat(x, 2, 1), lambda x: np.repeat(x, 2, 1), (2, 3)),
    Case("repeat unevenly", lambda x: ops.repeat(x, [0, 2, 1], 1), lambda x: np.repeat(x, [0, 2, 1], 1), (2, 3)),
    Case("flip", lambda x: ops.flip(x, 1), lambda x: np.flip(x, 1), (2, 3)),
    Case("flip all axes", ops.flip, np.flip, (2, 3)),
    Case("roll", lambda x: ops.roll(x, (1, -5), (0, 1)), lambda x: np.roll(x, (1, -5), (0, 1)), (3, 4)),
    Case("roll the same axis twice", lambda x: ops.roll(x, (1, 1), (0, 0)), lambda x: np.roll(x, 2, 0), (5,)),
    Case("roll flattened", lambda x: ops.roll(x, 2), lambda x: np.roll(x, 2), (2, 3)),
    Case(
        "concat with itself",
        lambda x: ops.concat([x, 2.0 * x, x], 1),
        lambda x: np.concatenate([x, 2 * x, x], 1),
        (2, 3),
    ),
    Case("concat of nothing", lambda x: ops.concat([x, x]), lambda x: np.concatenate([x, x]), (0, 2)),
    Case("stack", lambda x: ops.stack([x, -x], -1), lambda x: np.stack([x, -x], -1), (2, 3)),
    Case("split", lambda x: ops.split(x, [1, 0, 3], 1)[2], lambda x: x[:, 1:], (2, 4)),
    Case("split evenly", lambda x: ops.split(x, 2)[2], lambda x: x[4:], (5, 2)),
    Case("unstack", lambda x: ops.unstack(x, 1)[2], lambda x: x[:, 2], (2, 4)),
    Case("slices", lambda x: ops.slices(x, (0, 1), (3, 4), (2, 2)), lambda x: x[0:3:2, 1:4:2], (3, 5)),
    Case("slice with a step", lambda x: x[1:, ::3], lambda x: x[1:, ::3], (3, 5)),
    Case("slice backwards", lambda x: x[::-2, 3:0:-2], lambda x: x[::-2, 3:0:-2], (4, 5)),
    Case("slice of nothing", lambda x: x[2:1], lambda x: x[2:1], (4,)),
    Case("index and new axis", lambda x: x[-1, None, ..., 0], lambda x: x[-1, None, ..., 0], (2, 3, 2)),
    Case("index by an array", lambda x: x[:, IDS], lambda x: x[:, IDS], (2, 3)),
    Case("index behind an ellipsis", lambda x: x[..., GRID, :], lambda x: x[..., GRID, :], (2, 3)),
    Case("index by a slice and an array", lambda x: x[1:, IDS], lambda x: x[1:, IDS], (3, 3)),
    Case("index by two arrays", lambda x: x[[0, 1, 0], [2, 2, 2]], lambda x: x[[0, 1, 0], [2, 2, 2]], (2, 3)),
    Case("index by arrays apart", lambda x: x[[0, 1], :, [1, 1]], lambda x: x[[0, 1], :, [1, 1]], (2, 3, 2)),
    Case("index by a mask", lambda x: x[MASK], lambda x: x[MASK], (3, 4)),
    Case("index by a mask of one axis", lambda x: x[:, MASK[0]], lambda x: x[:, MASK[0]], (2, 4)),
    Case("index by an empty list", lambda x: x[[]], lambda x: x[[]], (3, 2)),
    Case("masked_select", lambda x: ops.masked_select(x, MASK), lambda x: np.broadcast_to(x, MASK.shape)[MASK], (1, 4)),
    Case("pad", lambda x: ops.pad(x, ((1, 2), (0, 1))), lambda x: np.pad(x, ((1, 2), (0, 1))), (2, 3)),
    Case("pad with a value", lambda x: ops.pad(x, 1, 5.0), lambda x: np.pad(x, 1, constant_values=5), (2, 2)),
    Case(
        "pad and crop", lambda x: ops.pad(x, ((-1, 1), (2, -2))), lambda x: np.pad(x[1:, :-2], ((0, 1), (2, 0))), (3, 4)
    ),
    Case("pad nothing", lambda x: ops.pad(x, ((1, 1), (0, 0))), lambda x: np.pad(x, ((1, 1), (0, 0))), (0, 2)),
    *[
        Case(
            f"pad, {mode}",
            lambda x, m=mode: ops.pad(x, (2, 1), mode=m),
            lambda x, m=mode: numpy_pad(x, (2, 1), m),
            (3, 3),
        )
        for mode in ("reflect", "replicate", "circular")
    ],
    Case("reflect twice", lambda x: ops.pad(x, (5, 0), mode="reflect"), lambda x: np.pad(x, (5, 0), "reflect"), (3,)),
    Case("tril", lambda x: ops.tril(x, -1), lambda x: np.tril(x, -1), (2, 3, 3)),
    Case("triu", lambda x: ops.triu(x, 1), lambda x: np.triu(x, 1), (2, 3)),
    Case("diagonal", lambda x: ops.diagonal(x, -1), lambda x: np.diagonal(x, -1, -2, -1), (2, 3, 2)),
    Case("diagonal of other axes", lambda x: ops.diagonal(x, 1, 2, 0), lambda x: np.diagonal(x, 1, 2, 0), (2, 2, 3)),
    Case("diagonal off the matrix", lambda x: ops.diagonal(x, 5), lambda x: np.diagonal(x, 5), (2, 3)),
    Case("diag_embed", lambda x: ops.diag_embed(x, -1), lambda x: np.diag(x, -1), (3,)),
    Case("take", lambda x: ops.take(x, GRID, 1), lambda x: np.take(x, GRID, 1), (2, 3)),
    Case("take one", lambda x: ops.take(x, -1, 0), lambda x: x[-1], (2, 3)),
    Case("take flattened", lambda x: ops.take(x, IDS), lambda x: np.take(x, IDS), (2, 3)),
    Case("take_flat", lambda x: ops.take_flat(x, GRID), lambda x: np.take(x, GRID), (2, 3)),
    Case("embedding", lambda x: ops.embedding(x, GRID), lambda x: x[GRID], (3, 2)),
    Case(
        "take_along_axis", lambda x: ops.take_along_axis(x, ALONG, 0), lambda x: np.take_along_axis(x, ALONG, 0), (3, 4)
    ),
    Case(
        "gather less",
        lambda x: ops.take_along_axis(x, ALONG[:, :2], 0),
        lambda x: np.take_along_axis(x[:, :2], ALONG[:, :2], 0),
        (3, 4),
    ),
    Case(
        "index_add",
        lambda x: ops.index_add(x, IDS, ops.tile(x[:, :1], (1, 4)), 1),
        lambda x: add_at(x, (slice(None), IDS), x[:, :1]),
        (2, 3),
    ),
    Case(
        "scatter_add",
        lambda x: ops.scatter_add(x, ALONG, x[:2], 0),
        lambda x: add_at(x, (ALONG, np.arange(4)), x[:2]),
        (3, 4),
    ),
    Case(
        "scatter_add less",
        lambda x: ops.scatter_add(x, ALONG[:, :2], x[:2, :2], 0),
        lambda x: add_at(x, (ALONG[:, :2], np.arange(2)), x[:2, :2]),
        (3, 4),
    ),
    Case(
        "scatter, the last of two writes stays",
        lambda x: ops.scatter(x, np.array([1, 0, 1]), 2.0 * x[:3]),
        lambda x: put(x, [0, 1], 2 * x[[1, 2]]),
        (4,),
    ),
    Case(
        "put",
        lambda x: ops.put(x, (slice(1, None), 0), x[0, :2]),
        lambda x: put(x, (slice(1, None), 0), x[0, :2]),
        (3, 2),
    ),
    Case("windows", lambda x: ops.windows(x, (2,), 2, 3), lambda x: windows_by_numpy(x, 2, 2, 3), (2, 8)),
    Case(
        "windows of two axes",
        lambda x: ops.windows(x, (2, 2)),
        lambda x: np.moveaxis(sliding_window_view(x, (2, 2), axis=(-2, -1)), (-2, -1), (0, 1)),
        (2, 3, 3),
    ),
    Case("fold", lambda x: ops.fold(x, (9,), 2, 2, 3), lambda x: fold_by_numpy(x, 9, 2, 3), (2, 2, 3)),
    Case(
        "avg_pool",
        lambda x: ops.avg_pool(x, (2, 2)),
        lambda x: x[:, :2, :4].reshape(1, 1, 2, 2, 2).mean((2, 4)),
        (1, 3, 5),
    ),
    Case("upsample_nearest", lambda x: ops.upsample_nearest(x, (5,)), lambda x: x[:, [0, 0, 0, 1, 1]], (2, 2)),
]
# ceil(3 * i / 5) is not what `nearest` means: entry floor(i n / m) gives 0 0 0 1 1 for n = 2, m = 5.


def entries(shape: tuple[int, ...]) -> np.ndarray:
    """Distinct small integers of both signs."""
    size = int(np.prod(shape))
    return np.random.default_rng(size).permutation(np.arange(1.0, size + 1)).reshape(shape) - size // 2


def matrix(case: Case) -> np.ndarray:
    """One column for each entry of x, one row for each of y, from NumPy alone."""
    zero = np.zeros(case.shape)
    constant = case.numpy(zero)
    columns = []
    for k in range(zero.size):
        unit = zero.copy()
        unit.flat[k] = 1.0
        columns.append((case.numpy(unit) - constant).ravel())
    return np.array(columns).reshape(zero.size, -1).T if columns else np.zeros((constant.size, 0))


every_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


@every_case
def test_the_value_is_that_of_numpy(case: Case) -> None:
    x = entries(case.shape)
    y, expected = case.ours(x), case.numpy(x)
    assert y.shape == expected.shape
    assert np.array_equal(y, expected)


@every_case
def test_pulling_back_multiplies_by_the_transposed_matrix(case: Case) -> None:
    y, pull = vjp(case.ours, entries(case.shape))
    g = entries(y.shape)
    assert np.array_equal(pull(g)[0].ravel(), matrix(case).T @ g.ravel())


@every_case
def test_pushing_forward_multiplies_by_the_matrix(case: Case) -> None:
    t = entries(case.shape)
    y, pushed = jvp(case.ours, [entries(case.shape)], [t])
    assert pushed.shape == y.shape
    assert np.array_equal(pushed.ravel(), matrix(case) @ t.ravel())


@every_case
def test_the_hessian_of_the_squared_result_is_twice_the_product_of_the_matrices(case: Case) -> None:
    size = int(np.prod(case.shape))
    second = hessian(lambda x: ops.sum(case.ours(x) ** 2))(entries(case.shape))
    assert np.array_equal(second.reshape(size, size), 2.0 * matrix(case).T @ matrix(case))


@every_case
def test_an_entry_that_is_not_used_has_derivative_zero_even_where_its_slope_is_infinite(case: Case) -> None:
    used = np.abs(matrix(case)).sum(axis=0).reshape(case.shape) > 0
    x = np.where(used, 1.0, 0.0)  # sqrt has slope inf at 0 and exactly 1/2 at 1
    gradient = grad(lambda x: ops.sum(case.ours(ops.sqrt(x))))(x)
    expected = 0.5 * matrix(case).sum(axis=0).reshape(case.shape)
    assert np.array_equal(gradient, np.where(used, expected, 0.0))


@every_case
def test_an_infinite_cotangent_stays_where_it_belongs(case: Case) -> None:
    y, pull = vjp(case.ours, entries(case.shape))
    if y.size:
        g = np.zeros(y.shape)
        g.flat[-1] = np.inf
        row = matrix(case)[-1].reshape(case.shape)
        assert np.array_equal(pull(g)[0] == np.inf, row > 0)
        assert np.array_equal(pull(g)[0] == -np.inf, row < 0)


def test_a_wrong_transpose_would_be_noticed() -> None:
    """A roll that is pulled back the same way round, not the opposite one, fails the test of the transposed matrix."""
    case = next(case for case in CASES if case.name == "roll")
    wrong = case._replace(ours=lambda x: ops.roll(x, (-1, 5), (0, 1)))
    with pytest.raises(AssertionError):
        test_pulling_back_multiplies_by_the_transposed_matrix(wrong)
