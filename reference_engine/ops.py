"""NumPy-like functions with the Python array API standard's names; they take arrays or traced values."""

from __future__ import annotations

from .primitives.arithmetic import (
    abs,
    add,
    divide,
    multiply,
    negative,
    pow,
    reciprocal,
    rsqrt,
    sign,
    sqrt,
    square,
    subtract,
    to_float,
)
from .primitives.cast import cast
from .primitives.comparison import (
    any_along,
    clip,
    equal,
    greater,
    greater_equal,
    isfinite,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
    not_equal,
    relu,
    stop_gradient,
    where,
)
from .primitives.contraction import matmul
from .primitives.diagonal import diag_embed, diagonal, tril, triu
from .primitives.exponential import exp, log, tanh
from .primitives.indexing import embedding, index_add, scatter_add, take, take_along_axis, take_flat
from .primitives.layout import concat, pad, slices, split, stack, unstack
from .primitives.ordering import argsort, scatter, sort, topk
from .primitives.reduction import mean, sum
from .primitives.shape import (
    broadcast_arrays,
    broadcast_to,
    expand_dims,
    flatten,
    flip,
    moveaxis,
    repeat,
    reshape,
    roll,
    squeeze,
    swap_last,
    swapaxes,
    tile,
    transpose,
)
from .primitives.subscript import getitem, masked_select, put
