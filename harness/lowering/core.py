"""Lowerings of the everyday operations: arithmetic, sums, matrix products, views, random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference_engine import ops
from .table import CallSite, constant, lowers

constant(
    """empty empty_like zeros zeros_like ones ones_like full full_like new_zeros new_ones new_empty new_full rand
    rand_like randn randn_like bernoulli_ normal_ uniform_ exponential_ geometric_ log_normal_ cauchy_
    random_ zero_ native_dropout_mask scalar_tensor eye arange linspace empty_strided new_empty_strided detach
    rand_like _new_zeros_with_same_feature_meta""".split()
)


@lowers("aten::add")
def add(call: CallSite, a: Any, b: Any, *, alpha: Any = 1) -> Any:
    """a + α b."""
    return ops.add(a, b if alpha == 1 else ops.multiply(b, float(alpha)))


@lowers("aten::sub")
def sub(call: CallSite, a: Any, b: Any, *, alpha: Any = 1) -> Any:
    """a - α b."""
    return ops.subtract(a, b if alpha == 1 else ops.multiply(b, float(alpha)))


@lowers("aten::rsub")
def rsub(call: CallSite, a: Any, b: Any, alpha: Any = 1) -> Any:
    """b - α a."""
    return ops.subtract(b, a if alpha == 1 else ops.multiply(a, float(alpha)))


@lowers("aten::mul")
def mul(call: CallSite, a: Any, b: Any) -> Any:
    """a b."""
    return ops.multiply(a, b)


@lowers("aten::div.Tensor", "aten::div.Scalar", "aten::true_divide")
def div(call: CallSite, a: Any, b: Any) -> Any:
    """a / b."""
    return ops.divide(a, b)


@lowers("aten::neg")
def neg(call: CallSite, a: Any) -> Any:
    """-a."""
    return ops.negative(a)


@lowers("aten::sum.default")
def sum_all(call: CallSite, x: Any, *, dtype: Any = None) -> Any:
    """Σ x over all axes."""
    return ops.sum(x)


@lowers("aten::sum.dim_IntList")
def sum_dim(call: CallSite, x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Σ x along `dim` (None or empty: all axes)."""
    return ops.sum(x, axis=axes(dim, x), keepdims=keepdim)


@lowers("aten::mean.default")
def mean_all(call: CallSite, x: Any, *, dtype: Any = None) -> Any:
    """Mean over all axes."""
    return ops.mean(x)


@lowers("aten::mean.dim")
def mean_dim(call: CallSite, x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Mean along `dim` (None or empty: all axes)."""
    return ops.mean(x, axis=axes(dim, x), keepdims=keepdim)


def axes(dim: Any, x: Any) -> Any:
    """PyTorch's `dim` (None, empty list, number, list) as our axis argument; a 0-d tensor has none, though PyTorch
    takes 0 and -1.
    """
    if x.ndim == 0 or dim is None or (isinstance(dim, (list, tuple)) and len(dim) == 0):
        return None
    return tuple(dim) if isinstance(dim, (list, tuple)) else dim


@lowers("aten::mm", "aten::bmm", "aten::matmul", "aten::mv", "aten::dot")
def mm(call: CallSite, a: Any, b: Any) -> Any:
    """Matrix product."""
    return ops.matmul(a, b)


@lowers("aten::addmm", "aten::addmv", "aten::baddbmm")
def addmm(call: CallSite, c: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """β c + α a b; c is not read where β = 0."""
    y = ops.matmul(a, b)
    if alpha != 1:
        y = ops.multiply(y, float(alpha))
    if beta == 0:
        return y
    return ops.add(c if beta == 1 else ops.multiply(c, float(beta)), y)


@lowers("aten::t")
def t(call: CallSite, x: Any) -> Any:
    """Transpose of a matrix; a vector stays."""
    return ops.transpose(x)


@lowers("aten::transpose.int", "aten::transpose.default")
def transpose(call: CallSite, x: Any, dim0: int, dim1: int) -> Any:
    """x with two axes exchanged."""
    order = list(range(x.ndim))
    if x.ndim:
        order[dim0], order[dim1] = order[dim1], order[dim0]
    return ops.transpose(x, order)


@lowers("aten::permute")
def permute(call: CallSite, x: Any, dims: Any) -> Any:
    """x with its axes reordered."""
    return ops.transpose(x, tuple(dims))


@lowers(
    "aten::view.default",
    "aten::reshape",
    "aten::_unsafe_view",
    "aten::_reshape_alias",
    "aten::unsqueeze",
    "aten::squeeze",
    "aten::flatten",
    "aten::view_as",
)
def to_shape(call: CallSite, x: Any, *_: Any, **__: Any) -> Any:
    """The same entries in the recorded shape."""
    return ops.reshape(x, call.shape)


@lowers("aten::expand")
def expand(call: CallSite, x: Any, *_: Any, **__: Any) -> Any:
    """x repeated along new and length-1 axes, to the recorded shape."""
    return ops.broadcast_to(x, call.shape)


@lowers(
    "aten::clone", "aten::alias", "aten::contiguous", "aten::lift_fresh", "aten::lift", "aten::detach",
    "aten::detach_copy",
    "aten::positive", "aten::_conj", "aten::conj_physical", "aten::resolve_conj", "aten::resolve_neg", "aten::real",
)  # fmt: skip
def same(call: CallSite, x: Any, *_: Any, **__: Any) -> Any:
    """The same numbers."""
    return x


@lowers("aten::_to_copy", "aten::to")
def to_copy(call: CallSite, x: Any, *_: Any, **__: Any) -> Any:
    """The same numbers, rounded if the new dtype is shorter."""
    return ops.cast(x)


@lowers("aten::copy")
def copy(call: CallSite, x: Any, source: Any, *_: Any) -> Any:
    """`source`, broadcast to the shape it is copied into."""
    source = source if hasattr(source, "builder") else np.asarray(source, dtype=np.float64)
    return ops.broadcast_to(source, call.shape) if tuple(source.shape) != call.shape else source
