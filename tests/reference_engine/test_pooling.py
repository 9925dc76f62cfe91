"""Pooling and resizing against their definitions, window by window, at ordinary points, ties, padding, NaN and -inf."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from gradwitness.reference_engine import ParameterError, ShapeError, grad, hessian, jvp, ops, vjp

# A mean of at most 16 entries below 100 in size takes 16 roundings of 2**-53 relative to the greatest partial sum.
ROUNDING = 16 * 100 * 2.0**-53

POOLS: list[dict[str, Any]] = [
    {"size": (6,), "window": 2},
    {"size": (7,), "window": 3, "stride": 2, "padding": 1},
    {"size": (7,), "window": 2, "stride": 3, "ceil_mode": True},
    {"size": (5,), "window": 3, "stride": 3, "padding": 1, "ceil_mode": True},
    {"size": (4,), "window": 2, "stride": 3, "padding": 1, "ceil_mode": True},  # the last window would start in padding
    {"size": (5, 4), "window": (2, 3), "stride": (1, 2), "padding": (1, 1)},
    {"size": (4, 4), "window": 2},
    {"size": (3, 2, 3), "window": (2, 1, 2), "stride": 1},
]
every_pool = pytest.mark.parametrize("pool", POOLS, ids=[str(pool) for pool in POOLS])


def parameters(pool: dict[str, Any], shape: tuple[int, ...]) -> list[tuple[int, int, int, int, int]]:
    """(n, window, stride, padding, number of windows) along each axis."""
    result = []
    for axis, n in enumerate(shape):
        k, p = (
            pool.get(name, 0)[axis] if isinstance(pool.get(name), tuple) else pool.get(name, 0)
            for name in ("window", "padding")
        )
        s = pool.get("stride", k)
        s = s[axis] if isinstance(s, tuple) else s
        starts = [start for start in range(-p, n + p, s) if start + k <= n + p]
        if pool.get("ceil_mode") and starts[-1] + s < n and starts[-1] + k < n + p:
            starts.append(starts[-1] + s)
        result.append((n, k, s, p, len(starts)))
    return result


def members(pool: dict[str, Any], shape: tuple[int, ...]) -> list[tuple[tuple[int, ...], list[tuple[int, ...]], int]]:
    """Each window: its index, the entries of the input inside it, how many places it has up to the padding's end."""
    axes = parameters(pool, shape)
    found = []
    for index in itertools.product(*[range(count) for *_, count in axes]):
        ranges = [range(i * s - p, i * s - p + k) for i, (_, k, s, p, _) in zip(index, axes, strict=True)]
        inside = [at for at in itertools.product(*ranges) if all(0 <= a < n for a, n in zip(at, shape, strict=True))]
        places = math.prod(sum(a < n + p for a in r) for r, (n, _, _, p, _) in zip(ranges, axes, strict=True))
        found.append((index, inside, places))
    return found


def arguments(pool: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in pool.items() if name != "size"}


def image(size: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Distinct negative integers in random order: padding with 0 would win if it counted."""
    count = math.prod(size)
    return (np.random.default_rng(seed).permutation(count) - count - 1.0).reshape(1, 1, *size)


@every_pool
def test_max_pool_is_the_greatest_entry_of_each_window(pool: dict[str, Any]) -> None:
    x = image(pool["size"])
    y = ops.max_pool(x, **arguments(pool))
    windows = members(pool, pool["size"])
    assert y.size == len(windows)
    assert all(y[(0, 0, *index)] == max(x[(0, 0, *at)] for at in inside) for index, inside, _ in windows)


@every_pool
def test_the_cotangent_of_max_pool_goes_to_the_greatest_entry(pool: dict[str, Any]) -> None:
    x = image(pool["size"])
    y, pull = vjp(lambda x: ops.max_pool(x, **arguments(pool)), x)
    g = np.arange(1.0, y.size + 1).reshape(y.shape)
    expected = np.zeros(x.shape)
    for index, inside, _ in members(pool, pool["size"]):
        winner = max(inside, key=lambda at: x[(0, 0, *at)])
        expected[(0, 0, *winner)] += g[(0, 0, *index)]
    assert np.array_equal(pull(g)[0], expected)


@every_pool
def test_max_pool_has_exact_second_derivatives(pool: dict[str, Any]) -> None:
    """f = Σ max_pool(x)² is locally a sum of squares: its Hessian is twice the count of wins on the diagonal."""
    x = image(pool["size"])
    wins = grad(lambda x: ops.sum(ops.max_pool(x, **arguments(pool))))(x)
    second = hessian(lambda x: ops.sum(ops.max_pool(x, **arguments(pool)) ** 2))(x)
    assert np.array_equal(second.reshape(x.size, x.size), np.diag(2.0 * wins.ravel()))


def test_tied_entries_share_evenly_and_the_shares_sum_to_the_cotangent() -> None:
    x = np.array([[[3.0, 3.0, 1.0, 2.0, 2.0, 2.0]]])
    assert grad(lambda x: ops.sum(ops.max_pool(x, 3)))(x)[0, 0].tolist() == [0.5, 0.5, 0, 1 / 3, 1 / 3, 1 / 3]


def test_pushing_a_tangent_through_max_pool_takes_that_of_the_greatest_entry() -> None:
    x, t = np.array([[[3.0, 1.0, 5.0, 7.0]]]), np.array([[[1.0, 2.0, 4.0, 8.0]]])
    assert jvp(lambda x: ops.max_pool(x, 2), [x], [t])[1][0, 0].tolist() == [1, 8]


def test_nothing_reaches_an_entry_that_is_not_the_maximum_even_where_its_slope_is_infinite() -> None:
    x = np.array([[[0.0, 1.0, 0.0, 4.0]]])
    assert grad(lambda x: ops.sum(ops.max_pool(ops.sqrt(x), 2)))(x)[0, 0].tolist() == [0, 0.5, 0, 0.25]


def test_an_infinite_cotangent_of_max_pool_leaves_the_other_entries_at_zero() -> None:
    x = np.array([[[0.0, 1.0, 3.0, 2.0]]])
    _, pull = vjp(lambda x: ops.max_pool(x, 2), x)
    assert pull(np.array([[[np.inf, 1.0]]]))[0][0, 0].tolist() == [0, np.inf, 1, 0]


def test_a_nan_wins_its_window_and_no_other() -> None:
    y = ops.max_pool(np.array([[[np.nan, 1.0, -np.inf, -np.inf, 2.0, -np.inf]]]), 2)[0, 0]
    assert np.isnan(y[0]) and y[1:].tolist() == [-np.inf, 2]


@every_pool
@pytest.mark.parametrize("counting", [True, False])
@pytest.mark.parametrize("divisor", [None, 3])
def test_avg_pool_divides_the_sum_by_its_places_its_entries_or_the_divisor(
    pool: dict[str, Any], counting: bool, divisor: int | None
) -> None:
    x = image(pool["size"])
    more = {"count_include_pad": counting, "divisor_override": divisor}
    y, pull = vjp(lambda x: ops.avg_pool(x, **arguments(pool), **more), x)
    g = np.arange(1.0, y.size + 1).reshape(y.shape)
    expected, expected_gradient = np.zeros(y.shape), np.zeros(x.shape)
    for index, inside, places in members(pool, pool["size"]):
        count = divisor or (places if counting else len(inside))
        expected[(0, 0, *index)] = sum(x[(0, 0, *at)] for at in inside) / count
        for at in inside:
            expected_gradient[(0, 0, *at)] += g[(0, 0, *index)] / count
    assert np.abs(y - expected).max() <= ROUNDING
    assert np.abs(pull(g)[0] - expected_gradient).max() <= ROUNDING


@pytest.mark.parametrize(("n", "m"), [(6, 3), (5, 3), (3, 5), (4, 1), (1, 4)])
def test_adaptive_average_takes_the_mean_of_its_share_of_the_axis(n: int, m: int) -> None:
    x = np.arange(float(n)).reshape(1, 1, n)
    expected = [x[0, 0, math.floor(i * n / m) : math.ceil((i + 1) * n / m)].mean() for i in range(m)]
    assert np.abs(ops.adaptive_avg_pool(x, m)[0, 0] - expected).max() <= ROUNDING


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("n", "m"), [(3, 6), (4, 7), (5, 2), (1, 3), (4, 1)])
def test_linear_resizing_interpolates_at_the_documented_places(n: int, m: int, align_corners: bool) -> None:
    x = np.random.default_rng(n).standard_normal((1, 2, n))
    i = np.arange(m)
    places = i * (n - 1) / max(1, m - 1) if align_corners else (i + 0.5) * n / m - 0.5
    expected = [np.interp(places, np.arange(n), row) for row in x[0]]  # np.interp holds the ends constant
    y, pull = vjp(lambda x: ops.upsample_linear(x, (m,), align_corners), x)
    assert np.abs(y[0] - expected).max() <= ROUNDING
    assert np.abs(pull(np.ones((1, 2, m)))[0].sum() - 2 * m) <= ROUNDING  # each output is an average


def test_resizing_two_axes_is_resizing_one_after_the_other() -> None:
    x = np.arange(12.0).reshape(1, 1, 3, 4)
    rows = ops.moveaxis(ops.upsample_linear(ops.moveaxis(x, 2, 3), (5,)), 2, 3)
    assert np.abs(ops.upsample_linear(x, (5, 2)) - ops.upsample_linear(rows, (2,))).max() <= ROUNDING


MISUSES = [
    (lambda: ops.max_pool(np.ones((1, 1, 2)), 3), ShapeError, "does not fit into size=(2,)"),
    (lambda: ops.max_pool(np.ones((1, 1, 4)), 2, padding=2), ParameterError, "at most half of the window"),
    (lambda: ops.max_pool(np.ones(4), 2), ShapeError, "x.shape=(4,)"),
    (lambda: ops.avg_pool(np.ones((1, 1, 4)), 2, divisor_override=0), ParameterError, "divisor_override=0"),
    (lambda: ops.avg_pool(np.ones((1, 1, 4)), 2, stride=-1), ParameterError, "stride=-1"),
    (lambda: ops.adaptive_avg_pool(np.ones((1, 1, 0)), 2), ShapeError, "non-empty"),
    (lambda: ops.upsample_nearest(np.ones((1, 1, 3)), 0), ParameterError, "size=0"),
    (lambda: ops.windows(np.ones(3), (2, 2)), ShapeError, "at least 2 axes"),
    (lambda: ops.fold(np.ones((2, 3)), (9,), 2), ShapeError, "accepted is (2,) + batch + (8,)"),
]


@pytest.mark.parametrize(("misuse", "error", "words"), MISUSES)
def test_misuse_is_named_in_one_sentence(misuse: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        misuse()
    assert words in str(caught.value)
