"""Layers and losses of generated networks: each takes its input from a pool and applies one layer of a real model.

Batch and channels are at least 2, and weights are drawn like everything else: dense, on lattices, with zeros and ties.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...reference_engine import ops
from .pool import Pool


def _rows(pool: Pool, min_ndim: int = 2, max_ndim: int = 2) -> Any:
    """The newest value with that many axes and at least 2 entries along each of the first two, or a new input."""
    near = [v for v in pool.values[::-1] if min_ndim <= v.ndim <= max_ndim and min(v.shape[:2]) >= 2 and v.size]
    if near and pool.integer(0, 7) < 7:
        return pool.take(near[:1])
    ndim = pool.integer(min_ndim, max_ndim)
    if pool.values and ndim == 2 and pool.values[-1].ndim > 2 and pool.values[-1].size:
        x = pool.take([pool.values[-1]])
        return ops.reshape(x, (x.shape[0], -1))
    return pool.fresh(
        (2 + pool.integer(0, 1), 2 + pool.integer(0, 1), *[3 + pool.integer(0, 2) for _ in range(ndim - 2)])
    )


def linear(pool: Pool) -> Any:
    """x W + b."""
    x = _rows(pool)
    out = 2 + pool.integer(0, 2)
    y = ops.matmul(x, pool.shaped((x.shape[1], out)))
    return ops.add(y, pool.fresh((out,))) if pool.integer(0, 3) else y


def convolution(pool: Pool) -> Any:
    """A convolution along one or two axes, with bias, stride, padding, dilation or groups."""
    d = pool.integer(1, 2)
    x = _rows(pool, d + 2, d + 2)
    window = tuple(pool.integer(1, min(3, n)) for n in x.shape[2:])
    groups = pool.choice([k for k in (1, 2, 3) if x.shape[1] % k == 0])
    out = groups * (1 + pool.integer(0, 1)) if groups > 1 else 2 + pool.integer(0, 1)
    w = pool.fresh((out, x.shape[1] // groups, *window))
    b = pool.fresh((out,)) if pool.integer(0, 1) else None
    return ops.conv(x, w, b, stride=pool.integer(1, 2), padding=pool.integer(0, 1), groups=groups)


def normalisation(pool: Pool) -> Any:
    """Layer, batch, group or root-mean-square normalisation, mostly with weight and bias."""
    x = _rows(pool, 2, 4)
    kind = pool.integer(0, 3)
    eps = pool.choice((1e-5, 1e-5, 1e-2))
    if kind == 1:
        w, b = (pool.fresh((x.shape[1],)), pool.fresh((x.shape[1],))) if pool.integer(0, 2) else (None, None)
        return ops.batch_norm(x, w, b, eps)
    if kind == 2:
        w, b = (pool.fresh((x.shape[1],)), pool.fresh((x.shape[1],))) if pool.integer(0, 2) else (None, None)
        return ops.group_norm(x, pool.choice([k for k in (1, 2, 3) if x.shape[1] % k == 0]), w, b, eps)
    last = x.shape[-1:]
    w = pool.fresh(last) if pool.integer(0, 2) else None
    if kind == 3:
        return ops.rms_norm(x, -1, w, eps)
    return ops.layer_norm(x, -1, w, pool.fresh(last) if w is not None else None, eps)


ACTIVATIONS: tuple[Callable[[Any], Any], ...] = (
    ops.relu,
    ops.tanh,
    ops.sigmoid,
    ops.silu,
    ops.softplus,
    ops.log_sigmoid,
    lambda x: ops.clip(x, -1.0, 1.0),
    lambda x: ops.clip(x, 0.0, 6.0),
    lambda x: ops.where(ops.greater(x, 0.0), x, ops.multiply(x, 0.25)),  # leaky
    lambda x: ops.multiply(
        ops.multiply(x, 0.5), ops.add(1.0, ops.erf(ops.multiply(x, 0.5**0.5)))
    ),  # Gaussian error linear
)


def activation(pool: Pool) -> Any:
    """One of ACTIVATIONS."""
    return pool.choice(ACTIVATIONS)(_rows(pool, 2, 4))


def pooling(pool: Pool) -> Any:
    """Max or average pooling along one or two axes."""
    d = pool.integer(1, 2)
    x = _rows(pool, d + 2, d + 2)
    window = tuple(pool.integer(1, min(2, n)) for n in x.shape[2:])
    stride = tuple(pool.integer(1, 2) for _ in window)
    return (ops.max_pool if pool.integer(0, 1) == 0 else ops.avg_pool)(x, window, stride)


def attention(pool: Pool) -> Any:
    """softmax(Q Kᵀ / √d + mask) V over rows of x."""
    x = _rows(pool)
    d = x.shape[1]
    q, k, v = (ops.matmul(x, pool.shaped((d, d))) for _ in range(3))
    scores = ops.divide(ops.matmul(q, ops.swap_last(k)), float(np.sqrt(d)))
    if pool.integer(0, 1):
        scores = ops.add(scores, np.where(np.tri(x.shape[0], dtype=bool), 0.0, -np.inf))
    return ops.matmul(ops.softmax(scores, axis=-1), v)


def residual(pool: Pool) -> Any:
    """x + f(x) for an activation f."""
    x = _rows(pool, 2, 4)
    return ops.add(x, pool.choice(ACTIVATIONS)(x))


def dropout(pool: Pool) -> Any:
    """x times a mask of 0 and 2, as in training with probability ½."""
    x = _rows(pool, 2, 4)
    return ops.multiply(x, np.where(pool.mask(x.shape), 2.0, 0.0)) if x.size <= 64 else ops.multiply(x, 2.0)


def embedding(pool: Pool) -> Any:
    """Rows of a table, some twice, some never."""
    table = pool.fresh((2 + pool.integer(0, 3), 2 + pool.integer(0, 1)))
    return ops.embedding(table, pool.indices((2 + pool.integer(0, 1),), table.shape[0]))


LAYERS: dict[str, Callable[[Pool], Any]] = {
    "linear": linear,
    "activation": activation,
    "normalisation": normalisation,
    "convolution": convolution,
    "pooling": pooling,
    "attention": attention,
    "residual": residual,
    "dropout": dropout,
    "embedding": embedding,
}


def _logits(pool: Pool) -> Any:
    """The newest value as (batch, classes)."""
    x = _rows(pool, 2, 4)
    return x if x.ndim == 2 else ops.reshape(x, (x.shape[0], -1))


def sum_of_squares(pool: Pool) -> Any:
    """Σ x²."""
    return ops.sum(ops.square(_rows(pool, 2, 4)))


def squared_error(pool: Pool) -> Any:
    """Mean squared distance from a target, which may broadcast."""
    x = _logits(pool)
    return ops.mean(ops.square(ops.subtract(x, pool.fresh(x.shape))))


def cross_entropy(pool: Pool) -> Any:
    """Mean of -log softmax at the right classes."""
    x = _logits(pool)
    right = pool.indices((x.shape[0], 1), x.shape[1])
    return ops.negative(ops.mean(ops.take_along_axis(ops.log_softmax(x, axis=-1), right, axis=-1)))


def logistic(pool: Pool) -> Any:
    """Binary cross-entropy with logits and a mask of labels: Σ softplus(x) - x z."""
    x = _logits(pool)
    labels = np.where(pool.mask(x.shape), 1.0, 0.0)
    return ops.sum(ops.subtract(ops.softplus(x), ops.multiply(x, labels)))


def absolute_error(pool: Pool) -> Any:
    """Mean absolute distance from a target: ties give kinks."""
    x = _logits(pool)
    return ops.mean(ops.abs(ops.subtract(x, pool.fresh(x.shape))))


LOSSES: dict[str, Callable[[Pool], Any]] = {
    "sum of squares": sum_of_squares,
    "squared error": squared_error,
    "cross-entropy": cross_entropy,
    "logistic": logistic,
    "absolute error": absolute_error,
}
