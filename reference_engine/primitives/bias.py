"""A bias and a factor for every channel, and the sums that are their gradients, which kernels add up in one chain."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..registry import same_dtype
from .declare import Operation, general, structural
from .reduction import LINEAR, count_along, reduced, spread_back, spread_of, total
from .shape import reshape

# Equal addends of one sign are all rounded the same way while the running sum stays between two powers of 2: a chain of
# k of them loses up to k u Σ|x| / 4. That is 64 spreads of this share of k, in units of 0.4 u.
ONE_WAY = 0.01


def _chain_variance(x: Any, *, axes: tuple[int, ...]) -> Any:
    """Of one chain in any order: Σx² k/2 where its roundings are independent, (ONE_WAY k Σ|x|)² where they are not."""
    k = count_along(x, axes)
    squares, sizes = np.add.reduce(np.abs(x) ** 2, axis=axes), np.add.reduce(np.abs(x), axis=axes)
    return squares * k / 2.0 + (ONE_WAY * k * sizes) ** 2


# The same numbers as `sum`, with the rounding of one running sum; only declared rules that lose digits use it.
sum_in_one_chain = structural(
    "sum_in_one_chain",
    lambda x, *, axes: np.add.reduce(x, axis=axes),
    lambda x, *, axes: (reduced(x, axes), same_dtype(x)),
    lambda g, y, x, *, axes: spread_back(g, x, axes),
    torch="{0}.sum(dim={axes})",
    source=f"{LINEAR}; Higham, Accuracy and Stability of Numerical Algorithms, sec. 4.2",
    accumulates=spread_of(_chain_variance, lambda x, *, axes: count_along(x, axes)),
)


def _others(x: Any) -> tuple[int, ...]:
    return (0, *range(2, len(x.shape)))


def _shape(name: str) -> Any:
    def infer(y: Any, b: Any) -> Any:
        if len(y.shape) < 2 or b.shape != y.shape[1:2]:
            raise ShapeError(
                f"{name}: y.shape={y.shape}, b.shape={b.shape}; accepted are (batch, channels, …) and (channels,). "
                "Reshape them."
            )
        return y.shape, same_dtype(y)

    return infer


def _along(b: Any, y: Any) -> Any:
    """b shaped to broadcast against y."""
    return reshape(b, (-1, *(1,) * (len(y.shape) - 2)))


add_bias: Operation = general(
    "add_bias",
    lambda y, b: y + b.reshape(-1, *(1,) * (y.ndim - 2)),
    _shape("add_bias"),
    lambda g, z, y, b: g,
    lambda g, z, y, b: total(g, axes=_others(y)),
    lossy=(lambda g, z, y, b: g, lambda g, z, y, b: sum_in_one_chain(g, axes=_others(y))),
    torch="({0} + {1}.reshape(-1, *(1,) * ({0}.ndim - 2)))",
    source=LINEAR,
    draw=lambda pool: _draw(pool, add_bias),
)

scale_channels: Operation = general(
    "scale_channels",
    lambda y, b: y * b.reshape(-1, *(1,) * (y.ndim - 2)),
    _shape("scale_channels"),
    lambda g, z, y, b: g * _along(b, y),
    lambda g, z, y, b: total(g * y, axes=_others(y)),
    lossy=(lambda g, z, y, b: g * _along(b, y), lambda g, z, y, b: sum_in_one_chain(g * y, axes=_others(y))),
    torch="({0} * {1}.reshape(-1, *(1,) * ({0}.ndim - 2)))",
    source="product rule",
    draw=lambda pool: _draw(pool, scale_channels),
)


def _draw(pool: Any, operation: Any) -> Any:
    y = pool.array(min_ndim=2)
    return operation(y, pool.shaped(y.shape[1:2]))


__all__ = ["add_bias", "scale_channels"]
