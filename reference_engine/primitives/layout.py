"""Layout: concatenate, stack, split, slice, pad. Data movement: nothing rounds here.

`slice` and `pad` (which may also put gaps between entries) are each other's transposes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ParameterError, ShapeError
from ..tracing import bind
from .declare import structural
from .shape import LINEAR, axis_of, shaped

Shape = tuple[int, ...]

# concat and stack: the cotangent of each part is its slice.


def _concat_aval(*xs: Any, axis: int) -> Any:
    first = xs[0].shape
    for i, x in enumerate(xs):
        if (*x.shape[:axis], *x.shape[axis + 1 :]) != (*first[:axis], *first[axis + 1 :]) or x.ndim != len(first):
            raise ShapeError(
                f"concat: part 0 has shape {first} but part {i} has shape {x.shape}; accepted are parts that differ "
                "along "
                f"axis {axis} only. Reshape it, or choose another axis."
            )
    length = sum(x.shape[axis] for x in xs)
    return (*first[:axis], length, *first[axis + 1 :]), np.result_type(*[x.dtype for x in xs])


def _concat_transpose(i: int, g: Any, y: Any, *xs: Any, axis: int) -> Any:
    """x̄ᵢ = g between the end of part i - 1 and the end of part i."""
    start = sum(x.shape[axis] for x in xs[:i])
    return slice_along(g, axis, start, start + xs[i].shape[axis])


def _draw_concat(pool: Any) -> Any:
    a = pool.array(min_ndim=1)
    axis = pool.axis(a.ndim)
    parts = [pool.shaped((*a.shape[:axis], pool.length(), *a.shape[axis + 1 :])) for _ in range(pool.integer(0, 2))]
    return concat([a, *parts], axis=axis)


concatenate = structural(
    "concat",
    lambda *xs, axis: np.concatenate(xs, axis=axis),
    _concat_aval,
    _concat_transpose,
    variadic=True,
    torch="torch.cat([{args}], dim={axis})",
    draw=_draw_concat,
    source=LINEAR,
)


def _stack_aval(*xs: Any, axis: int) -> Any:
    for i, x in enumerate(xs):
        if x.shape != xs[0].shape:
            raise ShapeError(
                f"stack: part 0 has shape {xs[0].shape} but part {i} has shape {x.shape}; accepted are equal shapes. "
                "Broadcast or reshape it, or use concat."
            )
    return (*xs[0].shape[:axis], len(xs), *xs[0].shape[axis:]), np.result_type(*[x.dtype for x in xs])


def _stack_transpose(i: int, g: Any, y: Any, *xs: Any, axis: int) -> Any:
    """x̄ᵢ = g at index i of the new axis."""
    return bind("reshape", slice_along(g, axis, i, i + 1), shape=xs[i].shape)


def _draw_stack(pool: Any) -> Any:
    a = pool.array(max_ndim=3)
    return stack([a, *[pool.shaped(a.shape) for _ in range(pool.integer(0, 2))]], axis=pool.axis(a.ndim + 1))


stacked = structural(
    "stack",
    lambda *xs, axis: np.stack(xs, axis=axis),
    _stack_aval,
    _stack_transpose,
    variadic=True,
    torch="torch.stack([{args}], dim={axis})",
    draw=_draw_stack,
    source=LINEAR,
)


# slice and pad: x[start:stop:step] along every axis; pad puts x back and fills the rest.


def slice_length(start: int, stop: int, step: int) -> int:
    """How many indices start, start + step, ... lie below stop."""
    return max(0, -((start - stop) // step))


def _slice_aval(x: Any, *, start: Shape, stop: Shape, step: Shape) -> Any:
    return tuple(slice_length(*ends) for ends in zip(start, stop, step, strict=True)), x.dtype


def _slice_transpose(g: Any, y: Any, x: Any, *, start: Shape, stop: Shape, step: Shape) -> Any:
    """x̄ = g with step - 1 zeros between its entries and zeros before and after."""
    ends = [b + s * (n - 1) + 1 if n else b for b, s, n in zip(start, step, y.shape, strict=True)]
    high = tuple(n - e for n, e in zip(x.shape, ends, strict=True))
    return bind("pad", g, low=start, high=high, gaps=tuple(s - 1 for s in step), value=0.0)


def _slice_torch(names: Sequence[str], params: dict[str, Any]) -> str:
    parts = zip(params["start"], params["stop"], params["step"], strict=True)
    return f"{names[0]}[{', '.join(f'{a}:{b}' if s == 1 else f'{a}:{b}:{s}' for a, b, s in parts)}]"


def _draw_slice(pool: Any) -> Any:
    x = pool.array(min_ndim=1)
    start = [pool.integer(0, max(0, n - 1)) for n in x.shape]
    stop = [pool.integer(a, n) for a, n in zip(start, x.shape, strict=True)]
    return slices(x, start, stop, [pool.integer(1, 3) for _ in x.shape])


sliced = structural(
    "slice",
    lambda x, *, start, stop, step: x[tuple([slice(*ends) for ends in zip(start, stop, step, strict=True)])],
    _slice_aval,
    _slice_transpose,
    torch=_slice_torch,
    draw=_draw_slice,
    source=LINEAR,
    drops=True,
    view=True,
)


def _padded_shape(shape: Shape, low: Shape, high: Shape, gaps: Shape) -> Shape:
    return tuple(a + n + max(0, n - 1) * k + b for n, a, b, k in zip(shape, low, high, gaps, strict=True))


def _pad_forward(x: Any, *, low: Shape, high: Shape, gaps: Shape, value: float) -> Any:
    shape = _padded_shape(x.shape, low, high, gaps)
    y = np.zeros(shape, x.dtype) if value == 0.0 else np.full(shape, value, x.dtype)
    if x.size:
        y[tuple([slice(a, m - b, k + 1) for a, b, k, m in zip(low, high, gaps, shape, strict=True)])] = x
    return y


def _pad_transpose(g: Any, y: Any, x: Any, *, low: Shape, high: Shape, gaps: Shape, value: float) -> Any:
    """x̄ = g where x was put; the filling is constant."""
    stop = tuple(a + max(0, n - 1) * (k + 1) + min(n, 1) for a, n, k in zip(low, x.shape, gaps, strict=True))
    return bind("slice", g, start=low, stop=stop, step=tuple(k + 1 for k in gaps))


def _pad_torch(names: Sequence[str], params: dict[str, Any]) -> str:
    """torch's pad, last axis first; gaps by writing into every (gap + 1)-th entry, one axis after the other."""
    x = names[0]
    for axis, gap in enumerate(params["gaps"]):
        if gap:
            grown = f"(*x.shape[:{axis}], max(0, x.shape[{axis}] * {gap + 1} - {gap}), *x.shape[{axis + 1}:])"
            filled = f"x.new_full({grown}, {params['value']!r})".replace("inf", "float('inf')")
            x = f"(lambda x: torch.slice_scatter({filled}, x, dim={axis}, step={gap + 1}))({x})"
    widths = [n for ends in zip(reversed(params["low"]), reversed(params["high"]), strict=True) for n in ends]
    value = f"float('{params['value']}')" if np.isinf(params["value"]) else repr(params["value"])
    return f"torch.nn.functional.pad({x}, {tuple(widths)}, value={value})" if any(widths) or x == names[0] else x


def _draw_pad(pool: Any) -> Any:
    x = pool.array(min_ndim=1)
    widths = [(pool.integer(-1 if n > 2 else 0, 2), pool.integer(-1 if n > 2 else 0, 2)) for n in x.shape]
    return pad(x, widths, value=pool.choice((0.0, 0.0, 0.5)))


padded = structural(
    "pad",
    _pad_forward,
    lambda x, *, low, high, gaps, value: (_padded_shape(x.shape, low, high, gaps), x.dtype),
    _pad_transpose,
    torch=_pad_torch,
    draw=_draw_pad,
    source=LINEAR,
)


def concat(xs: Sequence[Any], axis: int | None = 0) -> Any:
    """The parts one after the other along `axis` (None: flattened first).

    xs: arrays that differ along `axis` only -> that axis has the sum of their lengths. Raises ShapeError otherwise.
    """
    parts = [shaped(x) for x in xs]
    if not parts or (axis is not None and not parts[0].shape):
        raise ShapeError(
            f"concat: found parts of shapes {[x.shape for x in parts]}; accepted is at least one part with at least "
            "one "
            "axis. Use stack for scalars."
        )
    if axis is None:
        return bind("concat", *[bind("reshape", x, shape=(x.size,)) for x in parts], axis=0)
    return bind("concat", *parts, axis=axis_of("concat", axis, parts[0].ndim))


def stack(xs: Sequence[Any], axis: int = 0) -> Any:
    """The parts along a new axis.  xs: n arrays of one shape -> that shape with n put in at `axis`."""
    parts = [shaped(x) for x in xs]
    if not parts:
        raise ShapeError("stack: found no parts; accepted is at least one. Check the list.")
    return bind("stack", *parts, axis=axis_of("stack", axis, parts[0].ndim + 1))


def slices(x: Any, start: Sequence[int], stop: Sequence[int], step: Sequence[int] | None = None) -> Any:
    """x[start:stop:step] along every axis.

    x: (n₀, …) -> (⌈(stop - start)/step⌉, …); 0 ≤ start ≤ stop ≤ n and step ≥ 1, or ParameterError.
    """
    x = shaped(x)
    steps = [1] * x.ndim if step is None else step
    if not len(start) == len(stop) == len(steps) == x.ndim or not all(
        0 <= a <= b <= n and s >= 1 for a, b, s, n in zip(start, stop, steps, x.shape, strict=True)
    ):
        raise ParameterError(
            f"slices: start={tuple(start)}, stop={tuple(stop)}, step={tuple(steps)} for x.shape={x.shape}; accepted "
            "are one "
            "of each an axis with 0 <= start <= stop <= length and step >= 1. Use x[...] for negative indices."
        )
    ends = [tuple(int(n) for n in part) for part in (start, stop, steps)]
    return bind("slice", x, start=ends[0], stop=ends[1], step=ends[2])


def slice_along(x: Any, axis: int, start: int, stop: int) -> Any:
    """x between `start` and `stop` along one axis, whole along the others.  0 ≤ axis, 0 ≤ start ≤ stop ≤ length."""
    low, high = [0] * len(x.shape), list(x.shape)
    low[axis], high[axis] = start, stop
    return bind("slice", x, start=tuple(low), stop=tuple(high), step=(1,) * len(low))


def split(x: Any, sizes: int | Sequence[int], axis: int = 0) -> list[Any]:
    """x cut along `axis` into parts of the given lengths (one number: parts of that length, the last may be shorter).

    x: (…, n, …) -> parts (…, sizes[i], …). Raises ParameterError unless the lengths sum to n. This is torch's meaning;
    NumPy's second argument counts parts or names the cuts.
    """
    x = shaped(x)
    axis = axis_of("split", axis, x.ndim)
    n = x.shape[axis]
    if isinstance(sizes, (int, np.integer)):
        sizes = [min(int(sizes), n - at) for at in range(0, n, int(sizes))] if sizes > 0 else [-1]
        sizes = sizes or [0]
    if any(size < 0 for size in sizes) or sum(sizes) != n:
        raise ParameterError(
            f"split: sizes={sizes} along axis {axis} of x.shape={x.shape}; accepted are lengths >= 0 that sum to {n}, "
            "or "
            "one positive length. Check the sizes."
        )
    ends = np.cumsum(sizes).tolist()
    return [slice_along(x, axis, end - size, end) for end, size in zip(ends, sizes, strict=True)]


def unstack(x: Any, axis: int = 0) -> list[Any]:
    """The parts of x along `axis`, without that axis.  x: (…, n, …) -> n arrays."""
    x = shaped(x)
    axis = axis_of("unstack", axis, x.ndim)
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    return [bind("reshape", part, shape=shape) for part in split(x, 1, axis)] if x.shape[axis] else []


def widths_of(operation: str, widths: Any, ndim: int) -> list[tuple[int, int]]:
    """`widths` as one pair (before, after) an axis: a number stands for every side, one pair for every axis."""
    if isinstance(widths, (int, np.integer)):
        return [(int(widths), int(widths))] * ndim
    pairs = list(widths)
    if len(pairs) == 2 and all(isinstance(n, (int, np.integer)) for n in pairs):
        return [(int(pairs[0]), int(pairs[1]))] * ndim
    if len(pairs) != ndim or not all(isinstance(p, (tuple, list)) and len(p) == 2 for p in pairs):
        raise ParameterError(
            f"{operation}: widths={widths} for {ndim} axes; accepted are a number, one pair (before, after), or one "
            "pair an "
            "axis. Write (0, 0) for axes that stay."
        )
    return [(int(a), int(b)) for a, b in pairs]


def pad(x: Any, widths: Any, value: float = 0.0, mode: str = "constant") -> Any:
    """x with entries added (widths > 0) or cut off (widths < 0) before and after each axis.

    widths: a number, a pair, or one pair (before, after) an axis.  x: (n, …) -> (before + n + after, …).
    mode: "constant" fills with `value`; "reflect" mirrors without repeating the edge, "replicate" repeats the edge,
    "circular" goes round. Raises ParameterError where an axis is cut to less than nothing or too short to mirror.
    """
    x = shaped(x)
    pairs = widths_of("pad", widths, x.ndim)
    if mode not in PADDING_INDEX and mode != "constant":
        raise ParameterError(
            f"pad: mode={mode!r}; accepted are 'constant', {', '.join(map(repr, PADDING_INDEX))}. Choose one."
        )
    if any(n + min(a, 0) + min(b, 0) < 0 for n, (a, b) in zip(x.shape, pairs, strict=True)):
        raise ParameterError(
            f"pad: widths={widths} cut off more than x.shape={x.shape} has; accepted cuts leave >= 0. Cut less."
        )
    if mode == "constant":
        if any(n < 0 for pair in pairs for n in pair):
            start = tuple(max(0, -a) for a, _ in pairs)
            stop = tuple(n - max(0, -b) for n, (_, b) in zip(x.shape, pairs, strict=True))
            x = bind("slice", x, start=start, stop=stop, step=(1,) * x.ndim)
        low, high = tuple(max(0, a) for a, _ in pairs), tuple(max(0, b) for _, b in pairs)
        return bind("pad", x, low=low, high=high, gaps=(0,) * x.ndim, value=float(value))
    for axis, (n, (a, b)) in enumerate(zip(x.shape, pairs, strict=True)):
        if (a, b) != (0, 0):
            if n == 0 or (mode == "reflect" and n == 1 and max(a, b) > 0):
                raise ParameterError(
                    f"pad: mode={mode!r}, axis {axis} of x.shape={x.shape} is too short; accepted are longer axes. "
                    "Use 'constant'."
                )
            x = bind("take", x, PADDING_INDEX[mode](np.arange(-a, n + b), n), axis=axis)
    return x


# Where entry i of an axis of length n comes from when i runs past its ends.
PADDING_INDEX: dict[str, Any] = {
    "reflect": lambda i, n: np.abs((i + n - 1) % max(1, 2 * n - 2) - (n - 1)),
    "replicate": lambda i, n: np.clip(i, 0, n - 1),
    "circular": lambda i, n: i % n,
}
