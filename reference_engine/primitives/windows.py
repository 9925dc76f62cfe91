"""Sliding windows over the last axes, and their transpose, the sum of overlapping windows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..errors import ParameterError, ShapeError
from ..registry import Accumulation, Array, same_dtype
from ..tracing import bind
from .declare import structural
from .shape import LINEAR, Shape, shaped


def output_length(n: int, window: int, stride: int, dilation: int) -> int:
    """How many windows of `window` entries, `dilation` apart, start at 0, stride, 2 stride, ... within n entries."""
    return max(0, (n - dilation * (window - 1) - 1) // stride + 1)


def output_shape(size: Sequence[int], window: Shape, stride: Shape, dilation: Shape) -> Shape:
    return tuple(output_length(*lengths) for lengths in zip(size, window, stride, dilation, strict=True))


def window_view(x: Array, window: Shape, stride: Shape, dilation: Shape, *, first: bool) -> Array:
    """All windows of the last axes of x without copying: (*window, …, *out) if `first`, else (…, *window, *out)."""
    d = len(window)
    batch, size = x.shape[: x.ndim - d], x.shape[x.ndim - d :]
    out = output_shape(size, window, stride, dilation)
    outer, steps = x.strides[: x.ndim - d], x.strides[x.ndim - d :]
    inside = tuple(step * k for step, k in zip(steps, dilation, strict=True))
    across = tuple(step * s for step, s in zip(steps, stride, strict=True))
    shape = (*window, *batch, *out) if first else (*batch, *window, *out)
    strides = (*inside, *outer, *across) if first else (*outer, *inside, *across)
    return as_strided(x, shape, strides, writeable=False)


def places_of(offset: Sequence[int], out: Shape, stride: Shape, dilation: Shape) -> tuple[Any, ...]:
    """Index of the entries that lie at `offset` in their windows: one slice an axis."""
    return (
        ...,
        *[
            slice(o * k, o * k + s * (n - 1) + 1 if n else o * k, s)
            for o, n, s, k in zip(offset, out, stride, dilation, strict=True)
        ],
    )


def add_windows(total: Array, values: Any, window: Shape, out: Shape, stride: Shape, dilation: Shape) -> None:
    """total += every window of `values` at its place; values[offset] is (…, *out) for each offset in the window."""
    for offset in itertools.product(*map(range, window)):
        total[places_of(offset, out, stride, dilation)] += values[offset]


def _fold(x: Array, *, size: Shape, window: Shape, stride: Shape, dilation: Shape, out: Array | None = None) -> Array:
    d = len(window)
    y = np.empty((*x.shape[d : x.ndim - d], *size), np.result_type(x, 1.0)) if out is None else out
    y.fill(0.0)
    add_windows(y, x, window, x.shape[x.ndim - d :], stride, dilation)
    return y


def _windows_torch(names: Sequence[str], params: dict[str, Any]) -> str:
    """One unfold an axis: each takes the first window axis that is left and appends the entries of the window."""
    d, text = len(params["window"]), names[0]
    for k, s, e in zip(params["window"], params["stride"], params["dilation"], strict=True):
        text += f".unfold({-d}, {e * (k - 1) + 1}, {s})" + (f"[..., ::{e}]" if e > 1 else "")
    return f"{text}.movedim({tuple(range(-d, 0))}, {tuple(range(d))})"


def _fold_torch(names: Sequence[str], params: dict[str, Any]) -> str:
    """A transposed convolution with one kernel an offset, then zeros for entries that no window reaches."""
    window, stride, dilation, size = (params[name] for name in ("window", "stride", "dilation", "size"))
    d, k = len(window), math.prod(params["window"])
    kernel = f"torch.eye({k}, dtype=v.dtype).reshape({(k, 1, *window)})"
    moved = f"v.reshape({k}, -1, *v.shape[{-d}:]).transpose(0, 1)"
    covered = f"torch.nn.functional.conv_transpose{d}d({moved}, {kernel}, stride={stride}, dilation={dilation})"
    rests = [f"{n} - y.shape[{i - d}]" for i, n in enumerate(size)]
    widths = ", ".join(f"0, {rest}" for rest in reversed(rests))
    batch = f"(*v.shape[{d}:{-d}], {', '.join(map(str, size))})"
    return f"(lambda v: (lambda y: torch.nn.functional.pad(y, ({widths})))({covered}).reshape({batch}))({names[0]})"


def _draw_geometry(pool: Any, size: Sequence[int]) -> tuple[Shape, Shape, Shape]:
    """A window that fits into `size`, a stride and a dilation, one an axis."""
    window = tuple(pool.integer(1, min(3, n)) for n in size)
    stride = tuple(pool.integer(1, 3) for _ in size)
    dilation = tuple(pool.integer(1, max(1, (n - 1) // max(1, k - 1))) for n, k in zip(size, window, strict=True))
    return window, stride, dilation


def _drawn(pool: Any) -> tuple[Any, int, tuple[Shape, Shape, Shape]]:
    d = pool.integer(1, 2)
    x = pool.array(min_ndim=d, max_ndim=4)
    while 0 in x.shape[x.ndim - d :]:
        x = pool.shaped((*x.shape[: x.ndim - d], *[pool.integer(1, 5) for _ in range(d)]))
    return x, d, _draw_geometry(pool, x.shape[x.ndim - d :])


def _draw_windows(pool: Any) -> Any:
    x, _, (window, stride, dilation) = _drawn(pool)
    return windows(x, window, stride, dilation)


def _draw_fold(pool: Any) -> Any:
    x, d, (window, stride, dilation) = _drawn(pool)
    size = x.shape[x.ndim - d :]
    out = output_shape(size, window, stride, dilation)
    values = pool.shaped((*window, *x.shape[: x.ndim - d], *out))
    return fold(values, size, window, stride, dilation)


unfolded = structural(
    "windows",
    lambda x, *, window, stride, dilation: window_view(x, window, stride, dilation, first=True),
    lambda x, *, window, stride, dilation: (
        (
            *window,
            *x.shape[: x.ndim - len(window)],
            *output_shape(x.shape[x.ndim - len(window) :], window, stride, dilation),
        ),
        x.dtype,
    ),
    lambda g, y, x, *, window, stride, dilation: bind(
        "fold", g, size=x.shape[x.ndim - len(window) :], window=window, stride=stride, dilation=dilation
    ),
    torch=_windows_torch,
    draw=_draw_windows,
    source=LINEAR,
    drops=True,
    view=True,
)
folded = structural(
    "fold",
    _fold,
    lambda x, *, size, window, stride, dilation: (
        (*x.shape[len(window) : x.ndim - len(window)], *size),
        same_dtype(x),
    ),
    lambda g, y, x, *, size, window, stride, dilation: bind(
        "windows", g, window=window, stride=stride, dilation=dilation
    ),
    torch=_fold_torch,
    draw=_draw_fold,
    ufunc=True,
    accumulates=Accumulation(
        # Along an axis, an entry lies in at most ⌈(dilation (k - 1) + 1) / stride⌉ windows, and in no more than k.
        lambda x, *, size, window, stride, dilation: math.prod(
            min(k, -(-(e * (k - 1) + 1) // s)) for k, s, e in zip(window, stride, dilation, strict=True)
        ),
        lambda x, **params: _fold(np.abs(x) ** 2, **params),
        given=True,
    ),
    source=LINEAR,
)


def per_axis(operation: str, name: str, value: Any, d: int, least: int) -> Shape:
    """A parameter as one integer an axis; one number stands for all. ParameterError below `least` or another count."""
    several = isinstance(value, (tuple, list))
    numbers = tuple(int(n) for n in value) if several else (int(value),) * d
    if len(numbers) == 1:
        numbers *= d
    if len(numbers) != d or min(numbers, default=least) < least:
        raise ParameterError(
            f"{operation}: {name}={value}; accepted are one integer >= {least}, or {d} of them, one an axis. Check "
            f"{name}."
        )
    return numbers


def windows(x: Any, window: Any, stride: Any = 1, dilation: Any = 1) -> Any:
    """All windows over the last axes of x; entry j of window i is entry i · stride + j · dilation.

    window: (k₁, …, k_d).  x: (…, n₁, …, n_d) -> (k₁, …, k_d, …, out₁, …, out_d) with
    out = ⌊(n - dilation · (k - 1) - 1) / stride⌋ + 1. Raises ShapeError where no window fits.
    """
    x = shaped(x)
    window = tuple(window) if isinstance(window, (tuple, list)) else (window,)
    d = len(window)
    if x.ndim < d:
        raise ShapeError(f"windows: x.shape={x.shape} and window={window}; accepted are at least {d} axes. Reshape x.")
    window = per_axis("windows", "window", window, d, 1)
    stride, dilation = per_axis("windows", "stride", stride, d, 1), per_axis("windows", "dilation", dilation, d, 1)
    check_fit("windows", x.shape[x.ndim - d :], window, dilation)
    return bind("windows", x, window=window, stride=stride, dilation=dilation)


def check_fit(operation: str, size: Shape, window: Shape, dilation: Shape) -> None:
    """ShapeError unless at least one window fits into `size` (padding included)."""
    if any(n < e * (k - 1) + 1 for n, k, e in zip(size, window, dilation, strict=True)):
        raise ShapeError(
            f"{operation}: window={window} with dilation={dilation} does not fit into size={size} (padding included); "
            "accepted are windows that fit at least once. Pad x, or choose a smaller window."
        )


def fold(x: Any, size: Any, window: Any, stride: Any = 1, dilation: Any = 1) -> Any:
    """The sum of overlapping windows, the transpose of `windows`.

    x: (k₁, …, k_d, …, out₁, …, out_d) -> (…, n₁, …, n_d) with size = (n₁, …, n_d). Raises ShapeError unless `windows`
    of that size gives the shape of x.
    """
    x = shaped(x)
    size = tuple(int(n) for n in (size if isinstance(size, (tuple, list)) else (size,)))
    d = len(size)
    window = per_axis("fold", "window", window, d, 1)
    stride, dilation = per_axis("fold", "stride", stride, d, 1), per_axis("fold", "dilation", dilation, d, 1)
    out = output_shape(size, window, stride, dilation)
    if x.ndim < 2 * d or x.shape[:d] != window or x.shape[x.ndim - d :] != out:
        raise ShapeError(
            f"fold: x.shape={x.shape} for size={size}, window={window}, stride={stride}, dilation={dilation}; "
            "accepted is "
            f"{window} + batch + {out}. Check the parameters of `windows`."
        )
    return bind("fold", x, size=size, window=window, stride=stride, dilation=dilation)
