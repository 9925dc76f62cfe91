"""What a convolution rounds where no processor instruction keeps its sums longer than a half precision.

It multiplies matrices, whose sums are long, and adds their results to one another as they are stored: the columns that
overlap in a gradient of the input, and the samples in a gradient of the kernel. Source: Chellapilla, Puri and Simard,
High performance convolutional neural networks for document processing, 2006 (convolution as a matrix product).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..registry import Array


def rounded_sums(parts: Iterator[Array]) -> Iterator[Array]:
    """Every part, and every sum of the first of them: what is rounded where they are added one after the other. What
    adds nothing rounds nothing."""
    total: Any = None
    for part in parts:
        yield part
        if total is not None:
            yield np.where((part != 0.0) & (total != 0.0), total + part, 0.0)
        total = part if total is None else total + part


def by_offset(kernel: Callable[..., Array], g: Array, w: Array, **params: Any) -> Iterator[Array]:
    """The sums of the gradient of the input, `kernel(g, w)`, whose parts are made by the entries of the window."""

    def parts() -> Iterator[Array]:
        for offset in itertools.product(*map(range, w.shape[2:])):
            alone = np.zeros_like(w)
            at: tuple[Any, ...] = (..., *offset)
            alone[at] = w[at]
            yield kernel(g, alone, **params)

    return rounded_sums(parts())


def by_sample(kernel: Callable[..., Array], x: Array, g: Array, **params: Any) -> Iterator[Array]:
    """The sums of the gradient of the kernel, `kernel(x, g)`, whose parts are made by the samples."""
    return rounded_sums(kernel(x[n : n + 1], g[n : n + 1], **params) for n in range(g.shape[0]))
