"""Pooling over windows of the last axes: the maximum and the average."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ParameterError, ShapeError
from ..registry import Accumulation, Array, same_dtype
from ..tracing import bind
from .arithmetic import to_float, where
from .choice import tie_weights
from .declare import general, structural
from .layout import pad
from .shape import Shape, shaped
from .windows import check_fit, output_shape, per_axis, places_of, window_view

CLARKE = "Clarke, Optimization and Nonsmooth Analysis, prop. 2.3.12"
MEAN = "a weighted sum; Griewank and Walther, sec. 3.2"
Pairs = tuple[tuple[int, int], ...]


def _pad(x: Array, padding: Pairs, value: float) -> Array:
    widths = [(0, 0)] * (x.ndim - len(padding)) + list(padding)
    return np.pad(x, widths, constant_values=value) if any(map(any, padding)) else x


def _padded_size(shape: Shape, padding: Pairs) -> Shape:
    return tuple(n + a + b for n, (a, b) in zip(shape[len(shape) - len(padding) :], padding, strict=True))


def _pooled_shape(x: Any, window: Shape, stride: Shape, padding: Pairs, dilation: Shape) -> Shape:
    return (*x.shape[: x.ndim - len(window)], *output_shape(_padded_size(x.shape, padding), window, stride, dilation))


# Maximum. At a tie every weighting of the tied entries that sums to 1 is legitimate; ours is even, of least norm.


def _max_pool(
    x: Array, *, window: Shape, stride: Shape, padding: Pairs, dilation: Shape, out: Array | None = None
) -> Array:
    shape = _pooled_shape(x, window, stride, padding, dilation)
    y = np.empty(shape, x.dtype) if out is None else out
    y.fill(-np.inf)
    x = _pad(x, padding, -np.inf)
    for offset in itertools.product(*map(range, window)):
        np.maximum(y, x[places_of(offset, shape[x.ndim - len(window) :], stride, dilation)], out=y)
    return y


def _at_maximum(y: Any, x: Any, window: Shape, stride: Shape, padding: Pairs, dilation: Shape) -> Any:
    """Which entries of each window equal its maximum: (*window, *y.shape), Boolean."""
    inside = bind("windows", _padded(x, padding), window=window, stride=stride, dilation=dilation)
    return bind("equal", inside, y)


def _padded(x: Any, padding: Pairs) -> Any:
    return pad(x, [(0, 0)] * (x.ndim - len(padding)) + list(padding), -math.inf) if any(map(any, padding)) else x


def _put_back(values: Any, x: Any, window: Shape, stride: Shape, padding: Pairs, dilation: Shape) -> Any:
    """The sum of overlapping windows, without the padding.  values: (*window, …, *out) -> x.shape."""
    size = _padded_size(x.shape, padding)
    y = bind("fold", values, size=size, window=window, stride=stride, dilation=dilation)
    return pad(y, [(0, 0)] * (x.ndim - len(window)) + [(-a, -b) for a, b in padding]) if any(map(any, padding)) else y


def _max_pool_vjp(g: Any, y: Any, x: Any, **params: Any) -> Any:
    """x̄ = Σ over windows of g at the entries that are the maximum, shared where several are."""
    hit = _at_maximum(y, x, **params)
    weights = tie_weights(hit, tuple(range(len(params["window"]))))
    return _put_back(where(hit, weights * g, 0.0), x, **params)


def _reached(y: Any, x: Any, **params: Any) -> Any:
    return bind("greater", _put_back(to_float(_at_maximum(y, x, **params)), x, **params), 0.0)


def _sides(padding: Pairs) -> tuple[Shape, bool]:
    """Padding before each axis, and whether more was added behind (which is torch's ceil_mode)."""
    return tuple(a for a, _ in padding), any(a != b for a, b in padding)


def _max_pool_torch(names: Sequence[str], params: dict[str, Any]) -> str:
    d, (padding, more) = len(params["window"]), _sides(params["padding"])
    x, window = names[0], params["window"]
    return (
        f"torch.nn.functional.max_pool{d}d({x}, {window}, stride={params['stride']}, padding={padding}, "
        f"dilation={params['dilation']}, ceil_mode={more})"
    )


def _draw_pool(pool: Any) -> tuple[Any, dict[str, Any]]:
    """A batch of images or signals, and a window that fits."""
    d = pool.integer(1, 2)
    x = pool.array(min_ndim=d + 2, max_ndim=d + 2)
    if 0 in x.shape[1:]:  # only the batch may be empty in torch
        x = pool.shaped((x.shape[0], *[max(1, n) for n in x.shape[1:]]))
    window = tuple(pool.integer(1, min(3, n)) for n in x.shape[2:])
    params = {
        "window": window,
        "stride": tuple(pool.integer(1, 3) for _ in range(d)),
        "padding": tuple(pool.integer(0, k // 2) for k in window),
        "ceil_mode": pool.choice((False, True)),
    }
    return x, params


def _draw_max_pool(pool: Any) -> Any:
    x, params = _draw_pool(pool)
    return max_pool(x, **params)


maximum_pooled = general(
    "max_pool",
    _max_pool,
    lambda x, **params: (_pooled_shape(x, **params), x.dtype),
    _max_pool_vjp,
    selects=(_reached,),
    torch=_max_pool_torch,
    draw=_draw_max_pool,
    ufunc=True,
    source=CLARKE,
    ulps=0.0,
)


# Average: a sum with constant weights, one a window, so only the weights know about padding and divisors.


def _avg_weights(size: Shape, window: Shape, stride: Shape, padding: Pairs, inside: Pairs, divisor: int) -> Array:
    """1 / divisor of every window: (*out). divisor 0 counts its entries, `inside` of the padding on each side too."""
    counts: Any = np.ones(())
    for n, k, s, (a, b), (c, d) in zip(size, window, stride, padding, inside, strict=True):
        counted = np.zeros(a + n + b)
        counted[a - c : a + n + d] = 1.0
        along = window_view(counted, (k,), (s,), (1,), first=True).sum(axis=0)
        counts = counts[..., None] * along
    return np.full(counts.shape, 1.0 / divisor) if divisor else 1.0 / counts


def _avg_pool(x: Array, *, window: Shape, stride: Shape, padding: Pairs, inside: Pairs, divisor: int) -> Array:
    weights = _avg_weights(x.shape[x.ndim - len(window) :], window, stride, padding, inside, divisor)
    once = (1,) * len(window)
    out = output_shape(_padded_size(x.shape, padding), window, stride, once)
    x = _pad(x, padding, 0.0)
    y = np.zeros((*x.shape[: x.ndim - len(window)], *out), np.result_type(x, 1.0))
    for offset in itertools.product(*map(range, window)):
        y += x[places_of(offset, out, stride, once)]
    y *= weights
    return y


def _avg_pool_transpose(
    g: Any, y: Any, x: Any, *, window: Shape, stride: Shape, padding: Pairs, inside: Pairs, divisor: int
) -> Any:
    """x̄ = Σ over windows of g / divisor."""
    weights = _avg_weights(x.shape[x.ndim - len(window) :], window, stride, padding, inside, divisor)
    spread = bind("broadcast_to", g * weights, shape=(*window, *y.shape))
    return _put_back(spread, x, window, stride, padding, (1,) * len(window))


def _avg_pool_torch(names: Sequence[str], params: dict[str, Any]) -> str:
    d, (padding, more) = len(params["window"]), _sides(params["padding"])
    whole = params["inside"] == tuple((a, a) for a in padding)
    divisor = f", divisor_override={params['divisor']}" if params["divisor"] else ""
    return (
        f"torch.nn.functional.avg_pool{d}d({names[0]}, {params['window']}, stride={params['stride']}, "
        f"padding={padding}, ceil_mode={more}, count_include_pad={whole}{divisor})"
    )


def _draw_avg_pool(pool: Any) -> Any:
    x, params = _draw_pool(pool)
    divisor = pool.choice((None, None, 3)) if x.ndim == 4 else None
    return avg_pool(x, count_include_pad=pool.choice((True, False)), divisor_override=divisor, **params)


average_pooled = structural(
    "avg_pool",
    _avg_pool,
    lambda x, *, window, stride, padding, inside, divisor: (
        _pooled_shape(x, window, stride, padding, (1,) * len(window)),
        same_dtype(x),
    ),
    _avg_pool_transpose,
    torch=_avg_pool_torch,
    draw=_draw_avg_pool,
    accumulates=Accumulation(
        lambda x, *, window, **params: math.prod(window),
        # Σ (w x)² over a window = w · (w Σ x²).
        lambda x, *, window, **params: (
            _avg_pool(np.abs(x) ** 2, window=window, **params)
            * _avg_weights(x.shape[x.ndim - len(window) :], window, **params)
        ),
    ),
    source=MEAN,
    drops=True,
)


def _geometry(
    operation: str, x: Any, window: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Shape, Shape, Pairs, Shape]:
    """Window, stride, (before, after) padding and dilation, one an axis; with ceil_mode the padding behind grows.

    The last window must start inside x or before it. Raises ParameterError for padding above half a window.
    """
    d = len(window) if isinstance(window, (tuple, list)) else x.ndim - 2
    if not 1 <= d <= x.ndim:
        raise ShapeError(
            f"{operation}: x.shape={x.shape}, window={window}; accepted are (batch, channels, n₁, ...) or a window "
            "with one length for each "
            "of the last axes. Reshape x."
        )
    window = per_axis(operation, "window", window, d, 1)
    stride = window if stride is None else per_axis(operation, "stride", stride, d, 1)
    padding, dilation = per_axis(operation, "padding", padding, d, 0), per_axis(operation, "dilation", dilation, d, 1)
    if any(2 * p > e * (k - 1) + 1 for p, k, e in zip(padding, window, dilation, strict=True)):
        raise ParameterError(
            f"{operation}: padding={padding} with window={window}; accepted is at most half of the window with its "
            "gaps. Lower it."
        )
    size = x.shape[x.ndim - d :]
    check_fit(operation, tuple(n + 2 * p for n, p in zip(size, padding, strict=True)), window, dilation)
    pairs = []
    for n, k, s, p, e in zip(size, window, stride, padding, dilation, strict=True):
        left = n + 2 * p - e * (k - 1) - 1
        more = -left % s if ceil_mode and (left + s - 1) // s * s < n + p else 0
        pairs.append((p, p + more))
    return window, stride, tuple(pairs), dilation


def max_pool(
    x: Any, window: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    """The greatest entry of each window; padding never wins.

    x: (…, n₁, …, n_d) -> (…, out₁, …) with out = ⌊(n + 2 padding - dilation (k - 1) - 1) / stride⌋ + 1 (⌈·⌉ with
    ceil_mode, unless the last window would start behind x). window: one length an axis; a number stands for all axes
    but the first two. stride: default the window. NaN wins. At ties: the even share. ShapeError where no window fits.
    """
    x = shaped(x)
    window, stride, padding, dilation = _geometry("max_pool", x, window, stride, padding, dilation, ceil_mode)
    return bind("max_pool", x, window=window, stride=stride, padding=padding, dilation=dilation)


def avg_pool(
    x: Any,
    window: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The sum of each window divided by the number of its entries, or by `divisor_override`.

    Shapes as for max_pool. Padding counts as zeros unless count_include_pad is false; what ceil_mode adds behind never
    counts. Raises ParameterError for divisor_override = 0.
    """
    x = shaped(x)
    if divisor_override is not None and int(divisor_override) < 1:
        raise ParameterError(
            f"avg_pool: divisor_override={divisor_override}; accepted are integers >= 1 or None. Use None for the "
            "count."
        )
    window, stride, pairs, _ = _geometry("avg_pool", x, window, stride, padding, 1, ceil_mode)
    inside = tuple((a, a) if count_include_pad else (0, 0) for a, _ in pairs)
    return bind(
        "avg_pool", x, window=window, stride=stride, padding=pairs, inside=inside, divisor=int(divisor_override or 0)
    )
