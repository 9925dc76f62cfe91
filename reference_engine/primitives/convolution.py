"""Convolution in any number of axes, with stride, padding, dilation and groups, and transposed convolution.

All three primitives are parts of one form, linear in each of x, w, g:  T(x, w, g) = Σ g · conv(x, w). Then
conv = ∂T/∂g, conv_input = ∂T/∂x, conv_weight = ∂T/∂w, and every derivative of one is another: they are closed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import ParameterError, ShapeError
from ..registry import Accumulation, Array
from ..tracing import bind
from .declare import general
from .indexing import WHOLE
from .layout import pad
from .scratch import scratch
from .shape import Shape, reshape, shaped
from .staged import by_offset, by_sample
from .windows import check_fit, output_shape, per_axis, places_of, window_view

SOURCE = "Dumoulin and Visin, A guide to convolution arithmetic, 2016; T(x, w, g) is linear in each argument"
BLOCK = 2**20  # bytes of unfolded windows held at a time: they stay in the cache, however large the batch is


def _shape(x: Any, w: Any, stride: Shape, padding: Shape, dilation: Shape) -> Shape:
    size = tuple(n + 2 * p for n, p in zip(x.shape[2:], padding, strict=True))
    return (x.shape[0], w.shape[0], *output_shape(size, w.shape[2:], stride, dilation))


# The kernels below work with the batch as the last axis: all windows of all samples are then one matrix, and each of
# its rows consists of long runs of memory. A block is some samples and some of the first axis of the result.


def _batch_last(x: Array) -> Array:
    return np.moveaxis(x, 0, -1)


def _within(size: Shape, padding: Shape) -> tuple[Any, ...]:
    """Index of what lies between the padding."""
    return (slice(None), *[slice(p, p + n) for n, p in zip(size, padding, strict=True)])


def _padded(x: Array, padding: Shape) -> Array:
    """(samples, channels, …) -> (channels, … with padding, samples), contiguous, in working memory."""
    wide = [n + 2 * p for n, p in zip(x.shape[2:], padding, strict=True)]
    y = scratch("padded", (x.shape[1], *wide, x.shape[0]), x.dtype)
    if any(padding):
        y.fill(0.0)
    y[_within(x.shape[2:], padding)] = _batch_last(x)
    return y


def _blocks(batch: int, out: Shape, bytes_a_position: int) -> Iterator[tuple[slice, list[slice]]]:
    """Samples, and for them the parts of the first axis of the result that make up one block each."""
    whole = max(1, bytes_a_position * math.prod(out))
    samples = max(1, BLOCK // whole)
    rows = max(1, BLOCK * out[0] // whole) if samples == 1 else max(1, out[0])
    parts = [slice(r, min(r + rows, out[0])) for r in range(0, out[0], rows)]
    for start in range(0, batch, samples):
        yield slice(start, min(start + samples, batch)), parts


def _unfolded(x: Array, window: Shape, stride: Shape, padding: Shape, dilation: Shape) -> Array:
    """All windows of some samples, without copying: (channels, *window, *out, samples)."""
    moved = window_view(np.moveaxis(_padded(x, padding), -1, 0), window, stride, dilation, first=False)
    return np.moveaxis(moved, 0, -1)


def _copied(view: Array, shape: Shape, purpose: str) -> Array:
    """The entries of a view as a contiguous array of `shape`, in working memory."""
    y = scratch(purpose, view.shape, view.dtype)
    np.copyto(y, view)
    return y.reshape(shape)


def _conv(
    x: Array, w: Array, *, stride: Shape, padding: Shape, dilation: Shape, groups: int, out: Array | None = None
) -> Array:
    shape, window = _shape(x, w, stride, padding, dilation), w.shape[2:]
    y = np.empty(shape, np.result_type(x, w)) if out is None else out
    kernels = w.reshape(groups, shape[1] // groups, w.shape[1] * math.prod(window))
    for samples, parts in _blocks(shape[0], shape[2:], groups * kernels.shape[2] * y.itemsize):
        view = _unfolded(x[samples], window, stride, padding, dilation)
        for rows in parts:
            block = view[(slice(None), *[slice(None)] * len(window), rows)]
            positions = block.shape[1 + len(window) :]
            columns = _copied(block, (groups, kernels.shape[2], math.prod(positions)), "windows")
            product = scratch("product", (*kernels.shape[:2], columns.shape[2]), y.dtype)
            np.matmul(kernels, columns, out=product)
            y[samples, :, rows] = np.moveaxis(product.reshape(shape[1], *positions), -1, 0)
    return y


def _conv_input(
    g: Array,
    w: Array,
    *,
    size: Shape,
    stride: Shape,
    padding: Shape,
    dilation: Shape,
    groups: int,
    out: Array | None = None,
) -> Array:
    window, channels = w.shape[2:], groups * w.shape[1]
    y = np.empty((g.shape[0], channels, *size), np.result_type(g, w)) if out is None else out
    kernels = np.swapaxes(w.reshape(groups, w.shape[0] // groups, w.shape[1] * math.prod(window)), 1, 2)
    wide = tuple(m + 2 * p for m, p in zip(size, padding, strict=True))
    for samples, parts in _blocks(g.shape[0], g.shape[2:], groups * kernels.shape[1] * y.itemsize):
        total = scratch("padded", (channels, *wide, samples.stop - samples.start), y.dtype)
        total.fill(0.0)
        for rows in parts:
            block = _batch_last(g[samples, :, rows])
            cotangent = _copied(block, (groups, kernels.shape[2], math.prod(block.shape[1:])), "cotangent")
            product = scratch("windows", (*kernels.shape[:2], cotangent.shape[2]), y.dtype)
            columns = np.matmul(kernels, cotangent, out=product).reshape(channels, *window, *block.shape[1:])
            below = total[:, rows.start * stride[0] :]
            for offset in itertools.product(*map(range, window)):
                places = places_of(offset, block.shape[1:-1], stride, dilation)[1:]
                inside: tuple[Any, ...] = (slice(None), *offset)
                below[(slice(None), *places)] += columns[inside]
        y[samples] = np.moveaxis(total[_within(size, padding)], -1, 0)
    return y


def _conv_weight(
    x: Array,
    g: Array,
    *,
    size: Shape,
    stride: Shape,
    padding: Shape,
    dilation: Shape,
    groups: int,
) -> Array:
    outs, entries = g.shape[1] // groups, x.shape[1] // groups * math.prod(size)
    total = np.zeros((groups, outs, entries), np.result_type(x, g))
    for samples, parts in _blocks(g.shape[0], g.shape[2:], groups * entries * total.itemsize):
        view = _unfolded(x[samples], size, stride, padding, dilation)
        for rows in parts:
            block = view[(slice(None), *[slice(None)] * len(size), rows)]
            positions = math.prod(block.shape[1 + len(size) :])
            columns = _copied(block, (groups, entries, positions), "windows")
            cotangent = _copied(_batch_last(g[samples, :, rows]), (groups, outs, positions), "cotangent")
            total += np.matmul(cotangent, np.swapaxes(columns, 1, 2))
    return total.reshape(g.shape[1], x.shape[1] // groups, *size)


def _torch(call: str) -> Any:
    def spelled(names: Sequence[str], params: dict[str, Any]) -> str:
        shared = ", ".join(f"{name}={params[name]!r}" for name in ("stride", "padding", "dilation", "groups"))
        return call.format(*names, shared=shared, d=len(params["stride"]), **params)

    return spelled


def _conv_input_torch(names: Sequence[str], params: dict[str, Any]) -> str:
    """Transposed convolution; `output_padding` says which of the sizes that give the same output is meant."""
    stride, padding, dilation = params["stride"], params["padding"], params["dilation"]
    rests = [
        f"{n} - ((g.shape[{i + 2}] - 1) * {s} - {2 * p} + {e} * (w.shape[{i + 2}] - 1) + 1)"
        for i, (n, s, p, e) in enumerate(zip(params["size"], stride, padding, dilation, strict=True))
    ]
    return (
        f"(lambda g, w: torch.nn.functional.conv_transpose{len(stride)}d(g, w, stride={stride}, padding={padding}, "
        f"output_padding=({', '.join(rests)},), dilation={dilation}, groups={params['groups']}))({names[0]}, "
        f"{names[1]})"
    )


def _draw_parts(pool: Any) -> tuple[Any, Shape, dict[str, Any]]:
    """An input (batch, channels, …), the shape of fitting kernels, and the parameters."""
    d = pool.integer(1, 2)
    x = pool.array(min_ndim=d + 2, max_ndim=d + 2)
    if 0 in x.shape[1:]:
        x = pool.shaped((x.shape[0], *[max(1, n) for n in x.shape[1:]]))
    groups = pool.choice([k for k in (1, 1, 2, 3) if x.shape[1] % k == 0])
    padding = tuple(pool.integer(0, 1) for _ in range(d))
    window = tuple(pool.integer(1, min(3, n + 2 * p)) for n, p in zip(x.shape[2:], padding, strict=True))
    room = [(n + 2 * p - 1) // max(1, k - 1) for n, p, k in zip(x.shape[2:], padding, window, strict=True)]
    params = {
        "stride": tuple(pool.integer(1, 2) for _ in range(d)),
        "padding": padding,
        "dilation": tuple(pool.integer(1, min(2, max(1, r))) for r in room),
        "groups": groups,
    }
    return x, (groups * pool.integer(1, 2), x.shape[1] // groups, *window), params


def _draw_conv(pool: Any) -> Any:
    x, shape, params = _draw_parts(pool)
    return conv(x, pool.shaped(shape), **params)


def _draw_conv_input(pool: Any) -> Any:
    x, shape, params = _draw_parts(pool)
    g = pool.shaped(_shape(x, np.empty(shape), params["stride"], params["padding"], params["dilation"]))
    return bind("conv_input", g, pool.shaped(shape), size=x.shape[2:], **params)


def _draw_conv_weight(pool: Any) -> Any:
    x, shape, params = _draw_parts(pool)
    g = pool.shaped(_shape(x, np.empty(shape), params["stride"], params["padding"], params["dilation"]))
    return bind("conv_weight", x, g, size=shape[2:], **params)


def _squared(kernel: Any) -> Any:
    return lambda a, b, **params: kernel(np.abs(a) ** 2, np.abs(b) ** 2, **params)


convolution = general(
    "conv",
    _conv,
    lambda x, w, *, stride, padding, dilation, groups: (
        _shape(x, w, stride, padding, dilation),
        np.result_type(x.dtype, w.dtype),
    ),
    lambda g, y, x, w, **params: bind("conv_input", g, w, size=x.shape[2:], **params),
    lambda g, y, x, w, **params: bind("conv_weight", x, g, size=w.shape[2:], **params),
    torch=_torch("torch.nn.functional.conv{d}d({0}, {1}, {shared})"),
    draw=_draw_conv,
    ufunc=True,
    accumulates=Accumulation(
        lambda x, w, **params: math.prod(w.shape[1:]), _squared(_conv), stages=lambda y, x, w, **params: iter([y])
    ),
    source=SOURCE,
)
convolution_input = general(
    "conv_input",
    _conv_input,
    lambda g, w, *, size, stride, padding, dilation, groups: (
        (g.shape[0], groups * w.shape[1], *size),
        np.result_type(g.dtype, w.dtype),
    ),
    lambda h, y, g, w, *, size, **params: bind("conv", h, w, **params),
    lambda h, y, g, w, *, size, **params: bind("conv_weight", h, g, size=w.shape[2:], **params),
    torch=_conv_input_torch,
    draw=_draw_conv_input,
    ufunc=True,
    # Of the kernel's entries along an axis, one in `stride` meets a given entry of the result; with a dilation that
    # shares a factor with the stride, as many more.
    accumulates=Accumulation(
        lambda g, w, *, stride, dilation, groups, **params: (
            w.shape[0]
            // groups
            * math.prod(-(-k // (s // math.gcd(s, d))) for k, s, d in zip(w.shape[2:], stride, dilation, strict=True))
        ),
        _squared(_conv_input),
        stages=lambda y, g, w, **params: by_offset(_conv_input, g, w, **params),
    ),
    source=SOURCE,
)
convolution_weight = general(
    "conv_weight",
    _conv_weight,
    lambda x, g, *, size, stride, padding, dilation, groups: (
        (g.shape[1], x.shape[1] // groups, *size),
        np.result_type(x.dtype, g.dtype),
    ),
    lambda h, y, x, g, *, size, **params: bind("conv_input", g, h, size=x.shape[2:], **params),
    lambda h, y, x, g, *, size, **params: bind("conv", x, h, **params),
    torch=_torch(
        "torch.nn.grad.conv{d}d_weight({0}, ({1}.shape[1], {0}.shape[1] // {groups}, *{size}), {1}, {shared})"
    ),
    draw=_draw_conv_weight,
    accumulates=Accumulation(
        lambda x, g, **params: g.shape[0] * math.prod(g.shape[2:]),
        _squared(_conv_weight),
        WHOLE,
        stages=lambda y, x, g, **params: by_sample(_conv_weight, x, g, **params),
    ),
    source=SOURCE,
)


def _checked(operation: str, x: Any, w: Any, channels: int, groups: int) -> None:
    if w.ndim < 3 or x.ndim != w.ndim or groups < 1 or channels % groups or w.shape[0] % groups:
        raise ShapeError(
            f"{operation}: x.shape={x.shape}, w.shape={w.shape}, groups={groups}; accepted are (batch, channels, n₁, "
            "…) and "
            "(out, in, k₁, …) with as many axes (x may lack the batch), groups dividing both channel counts. Reshape "
            "one."
        )


def conv(x: Any, w: Any, b: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    """y[n, o, i] = b[o] + Σ_{c, j} w[o, c, j] x[n, c, i · stride + j · dilation - padding], zeros outside x.

    x: (batch, channels, n₁, …, n_d) or without the batch, w: (out, channels / groups, k₁, …, k_d), b: (out,) ->
    (batch, out, …) with ⌊(n + 2 padding - dilation (k - 1) - 1) / stride⌋ + 1 along each axis.
    padding: a number, one an axis, one pair (before, after) an axis, "valid" (0) or "same" (n stays, stride 1).
    Raises ShapeError where the shapes do not fit.
    """
    x, w = shaped(x), shaped(w)
    if x.ndim == w.ndim - 1:
        y = conv(reshape(x, (1, *x.shape)), w, b, stride, padding, dilation, groups)
        return reshape(y, y.shape[1:])
    _checked("conv", x, w, x.shape[1] if x.ndim > 1 else 0, groups)
    if x.shape[1] != groups * w.shape[1]:
        raise ShapeError(
            f"conv: x.shape={x.shape} has {x.shape[1]} channels but w.shape={w.shape} with groups={groups} takes "
            f"{groups * w.shape[1]}; "
            "they must be equal. Check groups and the order of axes."
        )
    d = w.ndim - 2
    strides, dilations = per_axis("conv", "stride", stride, d, 1), per_axis("conv", "dilation", dilation, d, 1)
    x, paddings = _uneven_padding(x, w, strides, padding, dilations)
    check_fit("conv", tuple(n + 2 * p for n, p in zip(x.shape[2:], paddings, strict=True)), w.shape[2:], dilations)
    y = bind("conv", x, w, stride=strides, padding=paddings, dilation=dilations, groups=int(groups))
    return y if b is None else y + reshape(b, (-1, *(1,) * d))


def _uneven_padding(x: Any, w: Any, stride: Shape, padding: Any, dilation: Shape) -> tuple[Any, Shape]:
    """x with whatever padding differs on the two sides already added, and the padding that is left, one an axis."""
    d = len(stride)
    if isinstance(padding, str):
        if padding not in ("same", "valid") or (padding == "same" and max(stride) > 1):
            raise ParameterError(
                f"conv: padding={padding!r}, stride={stride}; accepted are 'valid', 'same' with stride 1, or numbers. "
                "Choose one."
            )
        whole = [e * (k - 1) if padding == "same" else 0 for e, k in zip(dilation, w.shape[2:], strict=True)]
        padding = [(n // 2, n - n // 2) for n in whole]
    if isinstance(padding, (tuple, list)) and any(isinstance(p, (tuple, list)) for p in padding):
        pairs = [per_axis("conv", "padding", p, 2, 0) for p in padding]
        if len(pairs) != d:
            raise ParameterError(f"conv: padding={padding}; accepted is one pair an axis, here {d}. Add the others.")
        common = tuple(min(pair) for pair in pairs)
        rest = [(a - c, b - c) for (a, b), c in zip(pairs, common, strict=True)]
        return (pad(x, [(0, 0), (0, 0), *rest]) if any(map(any, rest)) else x), common
    return x, per_axis("conv", "padding", padding, d, 0)


def conv_transpose(
    x: Any,
    w: Any,
    b: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """The transpose of `conv` with the same w: y[n, c, i · stride + j · dilation - padding] += w[o, c, j] x[n, o, i].

    x: (batch, in, n₁, …) or without the batch, w: (in, out / groups, k₁, …), b: (out,) -> (batch, out, …) with
    (n - 1) stride - 2 padding + dilation (k - 1) + 1 + output_padding along each axis; output_padding must be less than
    stride or dilation. Raises ShapeError where the shapes do not fit, ParameterError for another output_padding.
    """
    x, w = shaped(x), shaped(w)
    if x.ndim == w.ndim - 1:
        y = conv_transpose(reshape(x, (1, *x.shape)), w, b, stride, padding, output_padding, dilation, groups)
        return reshape(y, y.shape[1:])
    _checked("conv_transpose", x, w, x.shape[1] if x.ndim > 1 else 0, groups)
    if x.shape[1] != w.shape[0]:
        raise ShapeError(
            f"conv_transpose: x.shape={x.shape} has {x.shape[1]} channels but w.shape={w.shape} takes {w.shape[0]}; "
            "they must be equal. "
            "A transposed kernel is (in, out / groups, ...)."
        )
    d = w.ndim - 2
    strides, paddings, dilations, more = (
        per_axis("conv_transpose", name, value, d, least)
        for name, value, least in (
            ("stride", stride, 1),
            ("padding", padding, 0),
            ("dilation", dilation, 1),
            ("output_padding", output_padding, 0),
        )
    )
    geometry = list(zip(x.shape[2:], w.shape[2:], strides, paddings, dilations, more, strict=True))
    size = tuple((n - 1) * s - 2 * p + e * (k - 1) + 1 + m for n, k, s, p, e, m in geometry)
    if min(size) < 1 or any(m >= max(s, e) for _, _, s, _, e, m in geometry):
        raise ParameterError(
            f"conv_transpose: output_padding={output_padding} gives size={size} for stride={strides}, "
            f"dilation={dilations}; accepted are "
            "output_padding below stride or dilation and sizes >= 1. Lower output_padding or padding."
        )
    if any(m >= s for m, s in zip(more, strides, strict=True)):
        # No convolution of this size gives x back. The whole result is one: padding cuts off, output_padding adds.
        whole = tuple((n - 1) * s + e * (k - 1) + 1 for n, k, s, _, e, _ in geometry)
        params = {"stride": strides, "padding": (0,) * d, "dilation": dilations, "groups": int(groups)}
        y = bind("conv_input", x, w, size=whole, **params)
        y = pad(y, [(0, 0), (0, 0), *[(-p, m - p) for p, m in zip(paddings, more, strict=True)]])
    else:
        params = {"stride": strides, "padding": paddings, "dilation": dilations, "groups": int(groups)}
        y = bind("conv_input", x, w, size=size, **params)
    return y if b is None else y + reshape(b, (-1, *(1,) * d))
