"""Exponentials, logarithms and the squashing functions made of them, accurate in their tails."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from ..registry import CONSTANT, Accumulation
from ..tracing import bind
from .arithmetic import reciprocal, square, where
from .choice import choice
from .comparison import equal, isfinite, logical_and, logical_not
from .declare import Operation, elementwise, inner_rounding

LN2, LN10 = math.log(2.0), math.log(10.0)

exp = elementwise("exp", np.exp, lambda y, x: y, torch="exp", source="DLMF 4.2.7", ulps=2.0)
# 2ˣ ln 2 is a number up to x = 1024.5, where 2ˣ itself has left the range of float64 at 1024.
exp2: Operation = elementwise(
    "exp2",
    np.exp2,
    lambda y, x: where(isfinite(y), LN2 * y, 2.0 * LN2 * exp2(x - 1.0)),
    lossy=(lambda y, x: LN2 * y,),
    torch="exp2",
    source="DLMF 4.2.7, 2ˣ = exp(x ln 2)",
    ulps=2.0,
)
# y + 1, from the saved output, loses the left tail: at -45 it is 0 and the slope is 3e-20.
expm1 = elementwise(
    "expm1",
    np.expm1,
    lambda y, x: exp(x),
    lossy=(lambda y, x: y + 1.0,),
    torch="expm1",
    source="DLMF 4.2.7",
    ulps=2.0,
)
log = elementwise("log", np.log, lambda y, x: reciprocal(x), torch="log", source="DLMF 4.2.2", domain=("positive",))
log2 = elementwise(
    "log2", np.log2, lambda y, x: 1.0 / (x * LN2), torch="log2", source="DLMF 4.2.2", domain=("positive",), ulps=2.0
)
log10 = elementwise(
    "log10", np.log10, lambda y, x: 1.0 / (x * LN10), torch="log10", source="DLMF 4.2.2", domain=("positive",), ulps=2.0
)
log1p = elementwise(
    "log1p",
    np.log1p,
    lambda y, x: reciprocal(1.0 + x),
    torch="log1p",
    source="DLMF 4.2.2",
    domain=("unit",),
    ulps=2.0,
)


def _sigmoid(x: Any) -> Any:
    """1/(1 + e⁻ˣ); eˣ where e⁻ˣ would overflow."""
    y = special.expit(x)
    tiny = y < np.finfo(np.float64).tiny
    return np.where(tiny, np.exp(x), y) if np.any(tiny) else y


# σ' = σ(x) σ(-x) keeps the right tail, which y (1 - y), from the saved output, rounds to 0 beyond 37.
sigmoid: Operation = elementwise(
    "sigmoid",
    _sigmoid,
    lambda y, x: sigmoid(x) * sigmoid(-x),
    lossy=(lambda y, x: y * (1.0 - y),),
    torch="sigmoid",
    source="σ = 1/(1 + e⁻ˣ), σ' = σ(x) σ(-x)",
    ulps=3.0,
)
log_sigmoid = elementwise(
    "log_sigmoid",
    special.log_expit,
    lambda y, x: sigmoid(-x),
    lossy=(lambda y, x: 1.0 - sigmoid(x),),
    torch="torch.nn.functional.logsigmoid({0})",
    source="(log σ)' = 1 - σ(x) = σ(-x)",
    ulps=3.0,
)


def _softplus(x: Any) -> Any:
    return np.logaddexp(x, 0.0)


# The threshold is where PyTorch returns x itself: at 50 what it drops, e⁻⁵⁰, is below half a rounding of x.
softplus = elementwise(
    "softplus",
    _softplus,
    lambda y, x: sigmoid(x),
    torch="torch.nn.functional.softplus({0}, threshold=50.0)",
    source="log(1 + eˣ)' = σ(x)",
    ulps=4.0,
)


def _share(y: Any, a: Any, b: Any, rate: float) -> Any:
    """The share of the first of two exponentials, σ(rate (a - b)); equal infinities count as equal.

    Where both are -inf the value is -inf under every finite change. Shares θ and 1 - θ are the limits along all finite
    differences, so every θ in [0, 1] is legitimate; ours is 0, as for a row of -inf in logsumexp.
    """
    same = logical_and(equal(a, b), logical_not(isfinite(a)))
    share = sigmoid(rate * where(same, 0.0, a - b))
    lost = equal(y, -math.inf)
    return where(lost, choice(lost, 0.0), share)


def _greater_square(a: Any, b: Any) -> Any:
    """max(a, b)²: max + log1p(e^-|a - b|) cancels where the maximum is negative, by what rounds in each part."""
    return np.square(np.maximum(a, b))


LOG_OF_SUM = Accumulation(lambda a, b: 2, _greater_square)
logaddexp = elementwise(
    "logaddexp",
    np.logaddexp,
    lambda y, a, b: _share(y, a, b, 1.0),
    lambda y, a, b: _share(y, b, a, 1.0),
    lossy=(lambda y, a, b: reciprocal(1.0 + exp(b - a)), lambda y, a, b: reciprocal(1.0 + exp(a - b))),
    torch="logaddexp",
    source="∂ log(eᵃ + eᵇ)/∂a = eᵃ/(eᵃ + eᵇ)",
    ulps=2.0,
    accumulates=LOG_OF_SUM,
)
logaddexp2 = elementwise(
    "logaddexp2",
    np.logaddexp2,
    lambda y, a, b: _share(y, a, b, LN2),
    lambda y, a, b: _share(y, b, a, LN2),
    torch="logaddexp2",
    source="∂ log₂(2ᵃ + 2ᵇ)/∂a = 2ᵃ/(2ᵃ + 2ᵇ)",
    ulps=2.0,
    accumulates=LOG_OF_SUM,
)

# x log y at (0, 0) is 0 for every y; x/y keeps its own derivative 1/y at x = 0 elsewhere.
xlogy = elementwise(
    "xlogy",
    special.xlogy,
    lambda y, x, a: log(a),
    lambda y, x, a: where(logical_and(equal(x, 0.0), equal(a, 0.0)), 0.0, x / a),
    torch="torch.special.xlogy({0}, {1})",
    source="product rule; 0 log 0 = 0 by its limit",
    domain=("real", "positive"),
    ulps=2.0,
)
xlog1py = elementwise(
    "xlog1py",
    special.xlog1py,
    lambda y, x, a: log1p(a),
    lambda y, x, a: where(logical_and(equal(x, 0.0), equal(a, -1.0)), 0.0, x / (1.0 + a)),
    torch="torch.special.xlog1py({0}, {1})",
    source="product rule; 0 log 0 = 0 by its limit",
    domain=("real", "unit"),
    ulps=2.0,
)
entr = elementwise(
    "entr",
    special.entr,
    lambda y, x: -log(x) - 1.0,
    torch="torch.special.entr({0})",
    source="(-x log x)' = -log x - 1",
    domain=("nonnegative",),
    ulps=2.0,
)


def finite_part(x: Any) -> Any:
    """x where it is finite, 0 elsewhere: lets a product that tends to 0 have its limit at ±inf."""
    return where(isfinite(x), x, 0.0)


def _silu(x: Any) -> Any:
    return np.where(np.isneginf(x), 0.0, x * special.expit(x))


# σ(x) (1 + x σ(-x)) keeps the left tail; 1 - σ(x) in its place would round to 1 there, which is harmless, and to 0 on
# the right, where the slope is 1 all the same.
silu = elementwise(
    "silu",
    _silu,
    lambda y, x: sigmoid(x) * (1.0 + finite_part(x) * sigmoid(-x)),
    lossy=(lambda y, x: sigmoid(x) * (1.0 + finite_part(x) * (1.0 - sigmoid(x))),),
    torch="torch.nn.functional.silu({0})",
    source="(x σ)' = σ(x) + x σ(x) σ(-x)",
    ulps=4.0,
)


# x/(1 - x) is rounded near 1 for x near 1/2, where its logarithm is 0: an absolute error of one rounding of 1.
logit: Operation = elementwise(
    "logit",
    special.logit,
    lambda y, x: reciprocal(x * (1.0 - x)),
    torch="logit",
    source="log(x/(1 - x))' = 1/(x (1 - x))",
    draw=lambda pool: logit(0.5 * (1.0 + pool.array(domain="unit"))),
    domain=("unit",),
    ulps=2.0,
    accumulates=inner_rounding(lambda x: 1.0),
)

# 1 - y² loses digits where |y| is near 1. 0.19 is 1 - 0.9²: below it, one rounding of y moves 1 - y² by more than 8.
SLOPE_TO_REPAIR = 0.19


def _tanh_slope(y: Any, x: Any, out: Any = None) -> Any:
    """1 - tanh² x = 4 e / (1 + e)², e = exp(-2|x|), where it is small; 1 - y² where that is as good and cheaper."""
    s = np.asarray(np.multiply(y, y, out=out))
    np.subtract(1.0, s, out=s)
    small = np.flatnonzero(s < SLOPE_TO_REPAIR)
    if small.size:
        e = np.abs(np.broadcast_to(x, s.shape).ravel()[small])
        e *= -2.0
        np.exp(e, out=e)
        s.reshape(-1)[small] = 4.0 * e / np.square(1.0 + e)
    return s


# y is tanh x itself, so all of the slope's own derivative is written on x.
tanh_slope = elementwise(
    "tanh_slope",
    _tanh_slope,
    CONSTANT,
    lambda s, y, x: -2.0 * y * s,
    torch="(1.0 / torch.cosh({1}) ** 2)",
    source="DLMF 4.34.8; (1 - tanh² x)' = -2 tanh x (1 - tanh² x)",
    draw=False,
    ulps=2.0,
    takes_out=True,
)
tanh = elementwise(
    "tanh",
    np.tanh,
    lambda y, x: tanh_slope(y, x),
    lossy=(lambda y, x: 1.0 - square(y),),
    torch="tanh",
    source="DLMF 4.34.8",
    ulps=2.0,
)


def rsqrt(x: Any) -> Any:
    return bind("rsqrt", x)


sinh = elementwise("sinh", np.sinh, lambda y, x: cosh(x), torch="sinh", source="DLMF 4.34.7", ulps=3.0)
cosh: Operation = elementwise("cosh", np.cosh, lambda y, x: sinh(x), torch="cosh", source="DLMF 4.34.8", ulps=3.0)
# hypot(1, x) does not overflow at 1e200, where x² + 1 does.
asinh = elementwise(
    "asinh",
    np.arcsinh,
    lambda y, x: reciprocal(bind("hypot", x, 1.0)),
    lossy=(lambda y, x: rsqrt(square(x) + 1.0),),
    torch="asinh",
    source="DLMF 4.38.9",
    ulps=3.0,
)
acosh = elementwise(
    "acosh",
    np.arccosh,
    lambda y, x: rsqrt(x - 1.0) * rsqrt(x + 1.0),
    lossy=(lambda y, x: rsqrt(square(x) - 1.0),),
    torch="acosh",
    source="DLMF 4.38.10",
    domain=("above_one",),
    ulps=3.0,
)
atanh = elementwise(
    "atanh",
    np.arctanh,
    lambda y, x: reciprocal((1.0 - x) * (1.0 + x)),
    lossy=(lambda y, x: reciprocal(1.0 - square(x)),),
    torch="atanh",
    source="DLMF 4.38.11",
    domain=("unit",),
    ulps=3.0,
)
