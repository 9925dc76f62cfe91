"""The size of one rounding error, entry by entry: of a last rounding, and of the running sums of what sums.

Sources: Higham, Accuracy and Stability of Numerical Algorithms, sec. 4.2; Parker, Monte Carlo Arithmetic, 1997.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from .registry import Accumulation, Array, Primitive

UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}
SMALLEST = {"float64": 2.0**-1074, "float32": 2.0**-149, "bfloat16": 2.0**-133, "float16": 2.0**-24}
# Noise of one float64 roundoff would itself be rounded away when it is added to a float64 result. It is made this much
# larger, and the spread, linear in it, divided by as much; in lower precisions nothing is lost.
MAGNIFIED = {"float64": 64.0}
SQUARES_FROM, SQUARES_TO = 2.0**-960, 2.0**960  # sums of squares that are normal numbers, with a margin for products
NOISE = 0.4  # standard deviation of one rounding in units of u; a uniform error on [-u/2, u/2]·(1..2) has 0.29 to 0.58


@dataclass(frozen=True)
class Rounding:
    """How one variable is rounded: `computed` names the precision that its equation works in, `stored` the shorter one
    that its result is then rounded to (None: kept as computed). in_stages: a sum that is kept in `computed` between the
    stages of a kernel alone, as its Accumulation tells. jumps: a whole number is made of it at once, so that
    what matters is not how large its error is, but which number it is rounded to."""

    computed: str
    stored: str | None = None
    jumps: bool = False
    in_stages: bool = False


def nearest(x: Any, dtype: str) -> Any:
    """The number with the digits of `dtype` that is nearest to x, the even one of two. Source: IEEE 754-2019, 4.3.1."""
    digits = -int(np.log2(UNIT_ROUNDOFF[dtype]))
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.rint(np.ldexp(mantissa, digits)), exponent - digits)


def drift(primitive: Primitive, arguments: Sequence[Any], params: dict[str, Any], result: Any, u: float) -> Any:
    """Standard deviation of the rounding error of one result, entry by entry; 0.0 where nothing rounds.

    One rounding: 0.4 u |y|. A sum of k terms added in n = k/c chains of c has the variance
    0.16 u² [y²(1 + c/(3n)) + Σx²(1 + c/2)], a single chain of given terms 0.16 u² [y²(1 + k/3) + Σx²(k/2 - 1)]. What is
    not linear in u is added as declared.
    """
    if primitive.ulps == 0.0 or result.dtype.kind not in "fc":
        return 0.0
    size = np.abs(result)
    if primitive.accumulates is None:
        return NOISE * u * primitive.ulps * size
    a = primitive.accumulates
    k = a.terms(*arguments, **params)
    if k <= 1:
        return NOISE * u * primitive.ulps * size
    c = min(k, a.chain)
    n = k / c
    own = 1.0 + c / (3.0 * n)
    by = c / 2.0 - 1.0 if a.given and n == 1.0 else 1.0 + c / 2.0
    scale = _length(a, arguments, params, size, own, by)
    if not np.isfinite(scale).all():  # squares of numbers above 1e154: as for terms of one sign, whose squares are ≤ y²
        scale = np.where(np.isfinite(scale), scale, size * np.sqrt(own + by))
    linear = NOISE * u * primitive.ulps * scale
    return linear if a.beyond is None else linear + a.beyond(NOISE * u, *arguments, **params)


def drift_in_stages(
    primitive: Primitive, arguments: Sequence[Any], params: dict[str, Any], result: Any, u: float
) -> Any:
    """As `drift` of a sum that is kept in the precision of u between its stages: 0.16 u² Σs² over what is rounded."""
    assert primitive.accumulates is not None and primitive.accumulates.stages is not None
    squares = np.zeros(result.shape)
    for s in primitive.accumulates.stages(result, *arguments, **params):
        squares += np.square(s)
    return NOISE * u * np.sqrt(squares)


def _length(
    a: Accumulation, arguments: Sequence[Any], params: dict[str, Any], size: Array, own: float, by: float
) -> Any:
    """√(own y² + by Σx²), also where the squares leave the range of float64 (numbers below 1e-154, above 1e154).

    There the sum of squares is formed in long double, whose exponent is wider on x86; elsewhere it stays as it is, and
    where it takes a factorisation, which NumPy has in float64 alone.
    """
    if a.length is not None:
        return np.hypot(size * np.sqrt(own), a.length(*arguments, **params) * np.sqrt(by))
    squares = a.squares(*arguments, **params)
    if squares.size == 0 or (squares.min() > SQUARES_FROM and squares.max() < SQUARES_TO):
        return np.sqrt(size * size * own + squares * by)
    floats = [np.abs(x[(x != 0.0) & np.isfinite(x)]) for x in arguments if x.dtype.kind == "f"]
    lowest = [float(np.log2(np.min(x, initial=1.0))) for x in floats]
    most = [float(np.log2(np.max(x, initial=1.0))) for x in floats]
    if 2.0 * sum(lowest) < np.log2(SQUARES_FROM) or 2.0 * sum(most) > np.log2(SQUARES_TO):
        wide = [x.astype(np.longdouble) if x.dtype.kind == "f" else x for x in arguments]
        with suppress(TypeError):  # what numpy.linalg raises
            squares = a.squares(*wide, **params)
        size = size.astype(np.longdouble)
    long = np.sqrt(size * size * own + squares * by)
    return np.maximum(long, size * np.sqrt(own)).astype(np.float64)
