"""`sum_to`: the one place where a broadcast is undone."""

from __future__ import annotations

from typing import Any

from ..tracing import bind


def sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """`g` summed over the axes along which an array of `shape` was broadcast to g.shape.

    g: any shape that `shape` broadcasts to -> shape.
    """
    if g.shape == shape:
        return g
    extra = len(g.shape) - len(shape)
    axes = tuple(i for i, n in enumerate(g.shape) if i < extra or (shape[i - extra] == 1 and n != 1))
    if axes:
        g = bind("sum", g, axes=axes)
    return g if g.shape == shape else bind("reshape", g, shape=shape)
