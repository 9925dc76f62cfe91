"""Comparisons, logic, selection, minimum, maximum, clip: where derivatives are switched on and off."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..registry import CONSTANT
from ..tracing import bind
from .arithmetic import to_float
from .choice import choice, is_everywhere
from .declare import elementwise

ORDER = "IEEE 754-2019, sec. 5.11"
LOGIC = "Boole, The Laws of Thought, ch. 3"
CLARKE = "Clarke, Optimization and Nonsmooth Analysis, prop. 2.3.12"


def _relation(name: str, forward: Any, arguments: int, torch: str, source: str) -> Any:
    """A Boolean function of one or two arguments: constant in each of them, nothing rounds."""
    return elementwise(name, forward, *[CONSTANT] * arguments, boolean=True, torch=torch, source=source, ulps=0.0)


less = _relation("less", np.less, 2, "({0} < {1})", ORDER)
less_equal = _relation("less_equal", np.less_equal, 2, "({0} <= {1})", ORDER)
greater = _relation("greater", np.greater, 2, "({0} > {1})", ORDER)
greater_equal = _relation("greater_equal", np.greater_equal, 2, "({0} >= {1})", ORDER)
equal = _relation("equal", np.equal, 2, "({0} == {1})", ORDER)
not_equal = _relation("not_equal", np.not_equal, 2, "({0} != {1})", ORDER)
isnan = _relation("isnan", np.isnan, 1, "isnan", ORDER)
isfinite = _relation("isfinite", np.isfinite, 1, "isfinite", ORDER)
logical_and = _relation("logical_and", np.logical_and, 2, "torch.logical_and({0}, {1})", LOGIC)
logical_or = _relation("logical_or", np.logical_or, 2, "torch.logical_or({0}, {1})", LOGIC)
logical_not = _relation("logical_not", np.logical_not, 1, "logical_not", LOGIC)
stop_gradient = elementwise(
    "stop_gradient",
    lambda x: x,
    CONSTANT,
    torch="({0}.detach())",
    source="a constant has derivative 0",
    ulps=0.0,
    view=True,
)

# From this many entries on, bit masks are several times faster than np.where, which branches at every entry.
MANY = 1024


def _where(condition: Any, a: Any, b: Any, out: Any = None) -> Any:
    """np.where; two forms that backward passes are full of, (mask, g, 0.0) and (mask, 1.0, 0.0), without branches."""
    c = np.asarray(condition)
    if np.ndim(b) == 0 and b == 0.0 and c.size >= MANY and c.dtype == bool:
        if np.ndim(a) == 0 and a == 1.0:
            return np.add(c, 0.0, out=out)
        if np.shape(a) == c.shape and a.dtype == np.float64:
            bits = None if out is None else out.view(np.int64)
            bits = np.negative(c.view(np.int8), dtype=np.int64, out=bits)  # all ones, or all zeros
            bits &= a.view(np.int64)
            return bits.view(np.float64)
    if out is None:
        return np.where(c, a, b)
    np.copyto(out, b)
    np.copyto(out, a, where=c)
    return out


# Selection: what is not selected has a strong zero, whatever it multiplies further down.
where = elementwise(
    "where",
    _where,
    CONSTANT,
    1.0,
    1.0,
    selects=(None, lambda y, c, a, b: c, lambda y, c, a, b: logical_not(c)),
    torch="torch.where({0}, {1}, {2})",
    source="DLMF 1.4, piecewise definition",
    draw=lambda pool: _draw_where(pool),
    ulps=0.0,
    takes_out=True,
)


def _draw_where(pool: Any) -> Any:
    """A mask that is data, or the outcome of a comparison."""
    a = pool.array()
    mask = pool.mask(a.shape) if pool.choice((True, False)) else greater(a, pool.broadcastable(a.shape))
    return where(mask, a, pool.broadcastable(a.shape))


def _share(first: Any, second: Any, weight: Any, *, mine: bool) -> Any:
    share = np.asarray(np.greater(first, second).astype(np.float64))
    tie = np.equal(first, second)
    if np.any(tie):
        share[tie] = weight[tie] if mine else 1.0 - weight[tie]
    return share


share_of_larger = elementwise(
    "share_of_larger",
    _share,
    CONSTANT,
    CONSTANT,
    CONSTANT,
    source=CLARKE,
    draw=False,
    ulps=0.0,
)


def _wins(first: Any, second: Any, mine: bool) -> Any:
    """1 where the first is the greater, 0 where it is not; at a tie θ for one argument and 1 - θ for the other.

    Legitimate at a tie: every θ in [0, 1]; ours is 1/2.
    """
    return share_of_larger(first, second, choice(equal(first, second), 0.5), mine=mine)


def _rest(first: Any) -> Any:
    """1 - first, as it is rounded in ḃ + first (ȧ - ḃ): to the size of ḃ also where nothing of ḃ is left."""
    return (2.0 - first) - 1.0


# NaN in either operand is passed on by NumPy and has no derivative here.
maximum = elementwise(
    "maximum",
    np.maximum,
    lambda y, a, b: _wins(a, b, True),
    lambda y, a, b: _wins(b, a, False),
    selects=(lambda y, a, b: greater_equal(a, b), lambda y, a, b: greater_equal(b, a)),
    lossy_tangent=(lambda y, a, b: _wins(a, b, True), lambda y, a, b: _rest(_wins(a, b, True))),
    torch="torch.maximum({0}, {1})",
    source=CLARKE,
    ulps=0.0,
)
minimum = elementwise(
    "minimum",
    np.minimum,
    lambda y, a, b: _wins(b, a, True),
    lambda y, a, b: _wins(a, b, False),
    selects=(lambda y, a, b: less_equal(a, b), lambda y, a, b: less_equal(b, a)),
    lossy_tangent=(lambda y, a, b: _wins(b, a, True), lambda y, a, b: _rest(_wins(b, a, True))),
    torch="torch.minimum({0}, {1})",
    source=CLARKE,
    ulps=0.0,
)


def _or_missing(wins: Any, other: Any) -> Any:
    """`wins` extended to the entries where the other operand is NaN and so ignored: there all of it is this one's."""
    return where(isnan(other), 1.0, wins)


fmax = elementwise(
    "fmax",
    np.fmax,
    lambda y, a, b: _or_missing(_wins(a, b, True), b),
    lambda y, a, b: _or_missing(_wins(b, a, False), a),
    selects=(
        lambda y, a, b: logical_or(greater_equal(a, b), isnan(b)),
        lambda y, a, b: logical_or(greater_equal(b, a), isnan(a)),
    ),
    lossy_tangent=(
        lambda y, a, b: _or_missing(_wins(a, b, True), b),
        lambda y, a, b: _rest(_or_missing(_wins(a, b, True), b)),
    ),
    torch="torch.fmax({0}, {1})",
    source=CLARKE + "; NaN counts as missing, ISO C 7.12.12",
    ulps=0.0,
)
fmin = elementwise(
    "fmin",
    np.fmin,
    lambda y, a, b: _or_missing(_wins(b, a, True), b),
    lambda y, a, b: _or_missing(_wins(a, b, False), a),
    selects=(
        lambda y, a, b: logical_or(less_equal(a, b), isnan(b)),
        lambda y, a, b: logical_or(less_equal(b, a), isnan(a)),
    ),
    lossy_tangent=(
        lambda y, a, b: _or_missing(_wins(b, a, True), b),
        lambda y, a, b: _rest(_or_missing(_wins(b, a, True), b)),
    ),
    torch="torch.fmin({0}, {1})",
    source=CLARKE + "; NaN counts as missing, ISO C 7.12.12",
    ulps=0.0,
)

# 0 below 0, `at_zero` at 0, 1 above; it jumps at 0 and is constant elsewhere.
heaviside = elementwise(
    "heaviside",
    np.heaviside,
    CONSTANT,
    1.0,
    selects=(None, lambda y, x, at_zero: equal(x, 0.0)),
    torch="torch.heaviside({0}, {1})",
    source="DLMF 1.16.13",
    draw=False,
    ulps=0.0,
)


def _step(x: Any, weight: Any, out: Any = None) -> Any:
    """1 above 0, `weight` at 0, 0 below; three times as fast as np.heaviside where the weight is 0 everywhere."""
    step = np.asarray(np.add(np.greater(x, 0.0), 0.0, out=out))
    if not is_everywhere(weight, 0.0):
        zero = np.equal(x, 0.0)
        step[zero] = weight[zero]
    return step


step = elementwise("step", _step, CONSTANT, CONSTANT, source="DLMF 1.16.13", draw=False, ulps=0.0, takes_out=True)

# max(x, 0) at 0: every slope in [0, 1] is legitimate; ours is 0, the one of least norm.
relu = elementwise(
    "relu",
    lambda x, out=None: np.maximum(x, 0.0, out=out),
    lambda y, x: step(x, choice(equal(x, 0.0), 0.0)),
    selects=(lambda y, x: greater_equal(x, 0.0),),
    torch="relu",
    source=CLARKE,
    ulps=0.0,
    takes_out=True,
)


def _clip_slope(x: Any, low: float, high: float) -> Any:
    """1 inside, 0 outside, θ on a bound; legitimate on a bound: every θ in [0, 1], ours is 0. If low ≥ high nothing
    moves with x."""
    if not low < high:
        return 0.0
    edge = logical_or(equal(x, low), equal(x, high))
    inside = logical_and(greater(x, low), less(x, high))
    return where(edge, choice(edge, 0.0), to_float(inside))


def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    """min(max(x, low), high), entry by entry; None leaves a side open, and arrays `low` and `high` are differentiated.

    Where low > high the value is high, as in NumPy. Two plain numbers make one primitive, with slope 0 on a bound.
    """
    if isinstance(low, (int, float)) and isinstance(high, (int, float)):
        return clamp(x, low=float(low), high=float(high))
    if low is not None:
        x = maximum(x, low)
    return x if high is None else minimum(x, high)


clamp = elementwise(
    "clip",
    lambda x, *, low, high: np.minimum(np.maximum(x, low), high),
    lambda y, x, *, low, high: _clip_slope(x, low, high),
    selects=(lambda y, x, *, low, high: logical_and(greater_equal(x, low), less_equal(x, high)),),
    torch="torch.clamp({0}, {low}, {high})",
    source=CLARKE,
    draw=lambda pool: clip(pool.array(), *pool.choice(((-1.0, 1.0), (0.0, 2.0), (-0.5, 0.5), (1.0, -1.0), (0.0, 0.0)))),
    ulps=0.0,
)


def any_along(mask: Any, axes: tuple[int, ...]) -> Any:
    """Whether any entry of a Boolean array is true along `axes`."""
    return greater(bind("sum", to_float(mask), axes=axes), 0.0)
