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
from .primitives.exponential import exp, log, tanh
from .primitives.reduction import mean, sum
from .primitives.shape import broadcast_to, reshape, swap_last, transpose
