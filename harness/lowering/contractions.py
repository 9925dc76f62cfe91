"""Lowerings of products that sum over shared axes, beyond the plain matrix products in `core`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference_engine import ops
from .core import addmm
from .table import CallSite, NotCovered, lowers


@lowers("aten::addbmm")
def addbmm(call: CallSite, c: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """β c + α Σ_k a_k b_k: the batch is one long shared axis.  a: (s, n, k), b: (s, k, m), c broadcast to (n, m)."""
    s, n, k = a.shape
    wide = ops.reshape(ops.transpose(a, (1, 0, 2)), (n, s * k))
    return addmm(call, c, wide, ops.reshape(b, (s * k, b.shape[2])), beta=beta, alpha=alpha)


@lowers("aten::addr")
def addr(call: CallSite, c: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """β c + α a bᵀ; c is not read where β = 0."""
    y = ops.reshape(a, (-1, 1)) * ops.reshape(b, (1, -1))
    if alpha != 1:
        y = y * float(alpha)
    return y if beta == 0 else (c if beta == 1 else c * float(beta)) + y


@lowers("aten::vdot")
def vdot(call: CallSite, a: Any, b: Any) -> Any:
    """Σ a b of real vectors."""
    return ops.matmul(a, b)


@lowers("aten::outer")
def outer(call: CallSite, a: Any, b: Any) -> Any:
    """a bᵀ."""
    return ops.reshape(a, (-1, 1)) * ops.reshape(b, (1, -1))


@lowers("aten::trace")
def trace(call: CallSite, x: Any) -> Any:
    """Σ_i x_ii."""
    return ops.sum(ops.diagonal(x))


@lowers("aten::linear")
def linear(call: CallSite, x: Any, weight: Any, bias: Any = None) -> Any:
    """x Wᵀ + b."""
    y = ops.matmul(x, ops.transpose(weight))
    return y if bias is None else y + bias


@lowers("aten::linalg_cross")
def cross(call: CallSite, a: Any, b: Any, *, dim: int = -1) -> Any:
    """a × b along `dim` (length 3): y_i = a_{i+1} b_{i+2} - a_{i+2} b_{i+1}."""

    def turned(x: Any, by: int) -> Any:
        return ops.take(x, [(i + by) % 3 for i in range(3)], axis=dim)

    return turned(a, 1) * turned(b, 2) - turned(a, 2) * turned(b, 1)


@lowers("aten::_trilinear")
def trilinear(
    call: CallSite, a: Any, b: Any, c: Any, expand1: Any, expand2: Any, expand3: Any, sumdim: Any, unroll_dim: int = 1
) -> Any:
    """Σ a b c along `sumdim`, after each operand got axes of length 1 at its `expand` places."""

    def expanded(x: Any, places: Any) -> Any:
        for place in sorted(places):
            x = ops.expand_dims(x, place)
        return x

    a, b, c = expanded(a, expand1), expanded(b, expand2), expanded(c, expand3)
    y = a * b * c
    return ops.sum(y, axis=tuple(sumdim)) if len(sumdim) else y


@lowers("aten::_grouped_mm")
def grouped_matmul(call: CallSite, a: Any, b: Any, offs: Any = None, bias: Any = None, out_dtype: Any = None) -> Any:
    """One matrix product a group: a batch where both have three axes; an operand of two axes is cut at `offs`.

    offs: the end of each group, ascending. a: (n, k) cut along n with b: (groups, k, m) -> (n, m); a: (groups, n, k)
    with b: (k, m) cut along m -> (n, m); a: (n, k) and b: (k, m) both cut along k -> (groups, n, m).
    """
    if bias is not None:
        raise NotCovered("a bias; covered are products alone. Add the bias afterwards")
    if a.ndim == b.ndim == 3:
        return ops.matmul(a, b)
    ends = [int(i) for i in np.asarray(offs)]
    cut = a.shape[0] if b.ndim == 3 else b.shape[1] if a.ndim == 3 else a.shape[1]
    if a.ndim != b.ndim and ends[-1] != cut:
        raise NotCovered(f"offs ends at {ends[-1]} of {cut}; what lies behind it is not written. Let it end at {cut}")
    parts = []
    for i, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        left = a[i] if a.ndim == 3 else a[start:end] if b.ndim == 3 else a[:, start:end]
        right = b[i] if b.ndim == 3 else b[:, start:end] if a.ndim == 3 else b[start:end]
        parts.append(ops.matmul(left, right))
    if a.ndim == b.ndim:
        return ops.stack(parts, axis=0)
    return ops.concat(parts, axis=0 if a.ndim == 2 else 1)
