"""Comparisons, logic, selection, minimum, maximum, clip: where derivatives are switched on and off."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..registry import CONSTANT
from ..tracing import bind
from .arithmetic import to_float
from .choice import choice
from .declare import elementwise

ORDER = "IEEE 754-2019, sec. 5.11"
CLARKE = "Clarke, Optimization and Nonsmooth Analysis, prop. 2.3.12"

less = elementwise("less", np.less, CONSTANT, CONSTANT, boolean=True, torch="({0} < {1})", source=ORDER, ulps=0.0)
less_equal = elementwise("less_equal", np.less_equal, CONSTANT, CONSTANT, boolean=True, torch="({0} <= {1})", source=ORDER, ulps=0.0)
greater = elementwise("greater", np.greater, CONSTANT, CONSTANT, boolean=True, torch="({0} > {1})", source=ORDER, ulps=0.0)
greater_equal = elementwise("greater_equal", np.greater_equal, CONSTANT, CONSTANT, boolean=True, torch="({0} >= {1})", source=ORDER, ulps=0.0)
equal = elementwise("equal", np.equal, CONSTANT, CONSTANT, boolean=True, torch="({0} == {1})", source=ORDER, ulps=0.0)
not_equal = elementwise("not_equal", np.not_equal, CONSTANT, CONSTANT, boolean=True, torch="({0} != {1})", source=ORDER, ulps=0.0)
isnan = elementwise("isnan", np.isnan, CONSTANT, boolean=True, torch="isnan", source=ORDER, ulps=0.0)
isfinite = elementwise("isfinite", np.isfinite, CONSTANT, boolean=True, torch="isfinite", source=ORDER, ulps=0.0)
logical_and = elementwise("logical_and", np.logical_and, CONSTANT, CONSTANT, boolean=True, torch="torch.logical_and({0}, {1})", source="Boole 1854", ulps=0.0)
logical_or = elementwise("logical_or", np.logical_or, CONSTANT, CONSTANT, boolean=True, torch="torch.logical_or({0}, {1})", source="Boole 1854", ulps=0.0)
logical_not = elementwise("logical_not", np.logical_not, CONSTANT, boolean=True, torch="logical_not", source="Boole 1854", ulps=0.0)
stop_gradient = elementwise("stop_gradient", lambda x: x, CONSTANT, torch="({0}.detach())", source="a constant has derivative 0", ulps=0.0, view=True)

# Selection: what is not selected has a strong zero, whatever it multiplies further down.
where = elementwise(
    "where",
    np.where,
    CONSTANT,
    lambda y, c, a, b: to_float(c),
    lambda y, c, a, b: to_float(logical_not(c)),
    selects=(None, lambda y, c, a, b: c, lambda y, c, a, b: logical_not(c)),
    torch="torch.where({0}, {1}, {2})",
    source="DLMF 1.4, piecewise definition",
    ulps=0.0,
)


def _wins(a: Any, b: Any, mine: bool) -> Any:
    """1 where a > b, θ at a tie, 0 elsewhere (1 - θ for the other argument); legitimate at a tie: every θ in [0, 1], ours is 1/2."""
    tie = equal(a, b)
    theta = choice(tie, 0.5)
    return where(tie, theta if mine else 1.0 - theta, to_float(greater(a, b)))


# NaN in either operand is passed on by NumPy and has no derivative here.
maximum = elementwise(
    "maximum",
    np.maximum,
    lambda y, a, b: _wins(a, b, True),
    lambda y, a, b: where(equal(a, b), _wins(a, b, False), to_float(greater(b, a))),
    selects=(lambda y, a, b: greater_equal(a, b), lambda y, a, b: greater_equal(b, a)),
    torch="torch.maximum({0}, {1})",
    source=CLARKE,
    ulps=0.0,
)
minimum = elementwise(
    "minimum",
    np.minimum,
    lambda y, a, b: _wins(b, a, True),
    lambda y, a, b: where(equal(a, b), _wins(b, a, False), to_float(greater(a, b))),
    selects=(lambda y, a, b: less_equal(a, b), lambda y, a, b: less_equal(b, a)),
    torch="torch.minimum({0}, {1})",
    source=CLARKE,
    ulps=0.0,
)

# max(x, 0) at 0: every slope in [0, 1] is legitimate; ours is 0, the one of least norm.
relu = elementwise(
    "relu",
    lambda x: np.maximum(x, 0.0),
    lambda y, x: where(equal(x, 0.0), choice(equal(x, 0.0), 0.0), to_float(greater(x, 0.0))),
    selects=(lambda y, x: greater_equal(x, 0.0),),
    torch="relu",
    source=CLARKE,
    ulps=0.0,
)


def _clip_slope(x: Any, low: Any, high: Any) -> Any:
    """1 inside, 0 outside, θ on a bound; legitimate on a bound: every θ in [0, 1], ours is 0. If low ≥ high nothing moves with x."""
    edge = logical_and(less(low, high), logical_or(equal(x, low), equal(x, high)))
    inside = logical_and(greater(x, low), less(x, high))
    return where(edge, choice(edge, 0.0), to_float(inside))


def clip(x: Any, low: Any, high: Any) -> Any:
    """min(max(x, low), high), entry by entry; all three are differentiated. Where low > high the value is high, as in NumPy."""
    return minimum(maximum(x, low), high)


clamp = elementwise(
    "clip",
    lambda x, *, low, high: np.minimum(np.maximum(x, low), high),
    lambda y, x, *, low, high: _clip_slope(x, low, high),
    selects=(lambda y, x, *, low, high: logical_and(greater_equal(x, low), less_equal(x, high)),),
    torch="torch.clamp({0}, {low}, {high})",
    source=CLARKE,
    ulps=0.0,
)


def any_along(mask: Any, axes: tuple[int, ...]) -> Any:
    """Whether any entry of a Boolean array is true along `axes`."""
    return greater(bind("sum", to_float(mask), axes=axes), 0.0)
