"""Reductions: sum, mean, prod, max, min, variance, norm, and the index of the largest entry."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..registry import same_dtype
from ..tracing import bind
from .declare import structural, terms_along
from .shape import axes_of, reshape, shaped

LINEAR = "transpose of a linear map; Griewank and Walther, sec. 3.2"


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


total = structural(
    "sum",
    lambda x, *, axes: np.sum(x, axis=axes),
    lambda x, *, axes: (reduced(x, axes), same_dtype(x)),
    lambda g, y, x, *, axes: spread_back(g, x, axes),
    torch="{0}.sum(dim={axes})",
    source=LINEAR,
    accumulates=terms_along(),
)


def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A001 - the array API's name
    """Σ x along `axis` (None: all).  x: any shape -> without the summed axes, or with length 1 there if `keepdims`."""
    x = shaped(x)
    axes = axes_of("sum", axis, x.ndim)
    return finish(bind("sum", x, axes=axes), x, axes, keepdims)


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Σ x / n along `axis` (None: all); NaN for an empty mean.  Shapes as for sum."""
    x = shaped(x)
    axes = axes_of("mean", axis, x.ndim)
    n = 1
    for i in axes:
        n *= x.shape[i]
    y = bind("divide", bind("sum", x, axes=axes), float(n))
    return finish(y, x, axes, keepdims)


__all__ = ["axes_of", "finish", "kept_shape", "mean", "reduced", "reshape", "spread_back", "sum", "total"]
