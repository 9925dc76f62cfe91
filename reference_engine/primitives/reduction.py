"""Sums, means, maxima and minima along axes, and what every reduction shares. Products are in product.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..registry import FLOAT, Accumulation, same_dtype
from ..tracing import bind
from .choice import tie_weights
from .declare import structural, terms_along
from .shape import axes_of, reshape, shaped, transpose

LINEAR = "transpose of a linear map; Griewank and Walther, sec. 3.2"
CLARKE = "Clarke, Optimization and Nonsmooth Analysis, prop. 2.3.12"


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` with length 1 along `axes`."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def reduced(x: Any, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of `x` without `axes`."""
    return tuple(n for i, n in enumerate(x.shape) if i not in axes)


def spread_back(g: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """g copied along `axes`.  g: x.shape without `axes` -> x.shape."""
    return bind("broadcast_to", bind("reshape", g, shape=kept_shape(x.shape, axes)), shape=x.shape)


def finish(y: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """`y` with the reduced axes put back as length 1 if asked for."""
    return bind("reshape", y, shape=kept_shape(x.shape, axes)) if keepdims else y


def count_along(x: Any, axes: tuple[int, ...]) -> int:
    """How many entries of `x` meet in one entry of a reduction along `axes`."""
    return math.prod(x.shape[i] for i in axes)


def one_axis(operation: str, x: Any, axis: Any) -> tuple[Any, int, tuple[int, ...]]:
    """x with the axes of a reduction merged into one: (x, that axis, the original axes).

    One axis stays where it is; several are moved last and merged, so that the other axes keep their order.
    """
    axes = axes_of(operation, axis, x.ndim)
    if len(axes) == 1:
        return x, axes[0], axes
    kept = tuple(i for i in range(x.ndim) if i not in axes)
    moved = transpose(x, (*kept, *axes)) if x.ndim > 1 else x
    return reshape(moved, (*(x.shape[i] for i in kept), count_along(x, axes))), len(kept), axes


def spread_of(
    variance: Callable[..., Any], length: Callable[..., int], beyond: Callable[..., Any] | None = None
) -> Accumulation:
    """Accumulation of a kernel whose rounding is known in full.

    variance(*xs, **params): the variance of the rounding error of each entry in units of (0.4 u)², beside the last
    rounding of the result, y². length: how many terms meet in one entry (a single term only rounds once). With chains
    of one term the formula in `rounding.drift` is y²(1 + 1/6) + 1.5 squares, hence the factor. beyond: as in
    Accumulation.
    """
    return Accumulation(
        lambda *xs, **params: 2 if length(*xs, **params) > 1 else 1,
        lambda *xs, **params: variance(*xs, **params) / 1.5,
        chain=1,
        beyond=beyond,
    )


LANES = 4  # partial sums that a vector register of float64 keeps apart in a hand-written kernel


def running_sum(total: Any, squares: Any, k: int, lanes: int = LANES) -> Any:
    """Variance of a sum of k terms in `lanes` chains, in units of (0.4 u)²; as in `rounding.drift`, Higham, sec. 4.2.

    total: the square of the sum; squares: Σ of the squared terms. y² (1 + c/(3 lanes)) + Σ x² (1 + c/2), c = k/lanes.
    """
    chain = np.maximum(k / lanes, 1.0)
    return total * (1.0 + chain / (3.0 * lanes)) + squares * (1.0 + chain / 2.0)


def filled(pool: Any, min_ndim: int = 1, domain: str = "real") -> Any:
    """A value from the pool without an axis of length 0; min_ndim is at most 2."""
    x = pool.array(min_ndim=min_ndim, domain=domain)
    return x if x.size else pool.shaped((2, 3), domain=domain)


def draw_reduction(reduction: Callable[..., Any], domain: str = "real", empty: bool = True) -> Callable[[Any], Any]:
    """How a generator applies `reduction(x, axis, keepdims)`: one axis, several or all."""

    def draw(pool: Any) -> Any:
        x = pool.array(min_ndim=0, domain=domain) if empty else filled(pool, 0, domain)
        axes: list[Any] = [None]
        if x.ndim:
            axes += [pool.axis(x.ndim), -1]
        if x.ndim > 1:
            axes.append((0, x.ndim - 1))
        return reduction(x, axis=pool.choice(axes), keepdims=pool.choice((False, True)))

    return draw


def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A001 - the array API's name
    """Σ x along `axis` (None: all).  x: any shape -> without the summed axes, or with length 1 there if `keepdims`."""
    x = shaped(x)
    axes = axes_of("sum", axis, x.ndim)
    return finish(total(x, axes=axes) if axes or not x.ndim else x, x, axes, keepdims)


def _sum(x: Any, *, axes: tuple[int, ...]) -> Any:
    return np.add.reduce(in_blocks(x, axes), axis=axes, dtype=None if x.dtype.kind in "fc" else FLOAT)


LONG = 512  # entries of an axis from which NumPy's own order of adding loses digits


def in_blocks(x: Any, axes: tuple[int, ...]) -> Any:
    """x with each long one of `axes` but the last added up in blocks of about √n, whose sums are still to be added.

    NumPy adds in pairs along the axis whose entries are neighbours in memory, and in one chain along any other.
    """
    if x.dtype.kind in "fc":
        for k in axes:
            n = x.shape[k]
            if n > LONG and (k != x.ndim - 1 or not x.flags.c_contiguous):
                x = np.add.reduceat(x, np.arange(0, n, math.isqrt(n)), axis=k)
    return x


total = structural(
    "sum",
    _sum,
    lambda x, *, axes: (reduced(x, axes), same_dtype(x)),
    lambda g, y, x, *, axes: spread_back(g, x, axes),
    torch="{0}.sum(dim={axes})",
    source=LINEAR,
    accumulates=terms_along(),
    draw=draw_reduction(sum),
)


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Σ x / n along `axis` (None: all); NaN for an empty mean.  Shapes as for sum."""
    x = shaped(x)
    axes = axes_of("mean", axis, x.ndim)
    return finish(average(x, axes=axes) if axes or not x.ndim else x, x, axes, keepdims)


average = structural(
    "mean",
    lambda x, *, axes: _sum(x, axes=axes) / np.float64(count_along(x, axes)),
    lambda x, *, axes: (reduced(x, axes), same_dtype(x)),
    lambda g, y, x, *, axes: spread_back(bind("divide", g, float(count_along(x, axes))), x, axes),
    torch="{0}.mean(dim={axes})",
    source=LINEAR,
    accumulates=Accumulation(
        lambda x, *, axes: count_along(x, axes),
        lambda x, *, axes: np.add.reduce(np.abs(x) ** 2, axis=axes) / count_along(x, axes) ** 2,
    ),
    draw=draw_reduction(mean),
)


def tied(y: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """The entries that reach the largest (or smallest) value `y`; where it is NaN, the NaN entries."""
    return bind("logical_or", bind("equal", x, spread_back(y, x, axes)), bind("isnan", x))


def _extreme_aval(name: str) -> Callable[..., Any]:
    def infer(x: Any, *, axes: tuple[int, ...]) -> Any:
        if count_along(x, axes) == 0 and 0 not in reduced(x, axes):
            raise ShapeError(
                f"{name}: x.shape={x.shape} has no entries along axes={axes}; accepted is at least one. "
                "Choose another axis, or skip empty arrays."
            )
        return reduced(x, axes), same_dtype(x)

    return infer


def _extreme_transpose(g: Any, y: Any, x: Any, *, axes: tuple[int, ...]) -> Any:
    """x̄ = w g with weights w ≥ 0 that sum to 1 over the tied entries and are strong zeros elsewhere.

    Legitimate at a tie: every such w; ours shares equally, the element of least norm.
    """
    mask = tied(y, x, axes)
    return bind("where", mask, spread_back(g, x, axes) * tie_weights(mask, axes), 0.0)


def max(x: Any, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A001 - the array API's name
    """The largest entry along `axis` (None: all); NaN if there is one. At a tie the gradient is shared equally.

    x: any shape -> without the reduced axes. Raises ShapeError along an axis of length 0.
    """
    x = shaped(x)
    axes = axes_of("max", axis, x.ndim)
    return finish(largest(x, axes=axes) if axes or not x.ndim else x, x, axes, keepdims)


def min(x: Any, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A001 - the array API's name
    """The smallest entry along `axis` (None: all); NaN if there is one. At a tie the gradient is shared equally.

    x: any shape -> without the reduced axes. Raises ShapeError along an axis of length 0.
    """
    x = shaped(x)
    axes = axes_of("min", axis, x.ndim)
    return finish(smallest(x, axes=axes) if axes or not x.ndim else x, x, axes, keepdims)


largest = structural(
    "max",
    lambda x, *, axes: np.maximum.reduce(x, axis=axes),
    _extreme_aval("max"),
    _extreme_transpose,
    torch="torch.amax({0}, dim={axes})",
    source=CLARKE,
    drops=True,
    draw=draw_reduction(max, empty=False),
)
smallest = structural(
    "min",
    lambda x, *, axes: np.minimum.reduce(x, axis=axes),
    _extreme_aval("min"),
    _extreme_transpose,
    torch="torch.amin({0}, dim={axes})",
    source=CLARKE,
    drops=True,
    draw=draw_reduction(min, empty=False),
)
amax, amin = max, min

__all__ = [
    "amax",
    "amin",
    "axes_of",
    "count_along",
    "filled",
    "finish",
    "kept_shape",
    "max",
    "mean",
    "min",
    "one_axis",
    "reduced",
    "running_sum",
    "spread_back",
    "spread_of",
    "sum",
    "tied",
    "total",
]
