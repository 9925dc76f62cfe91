"""Error functions, the normal distribution, gamma functions and modified Bessel functions.

Where the obvious derivative subtracts nearly equal numbers, a closed family of functions takes its place: each member's
derivative is another member, so every order is as accurate as the first.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from ..errors import ParameterError
from ..registry import NOT_WRITTEN
from ..tracing import bind
from .arithmetic import kinked_sign, negative, reciprocal, sign, square, where
from .comparison import equal, less
from .declare import Operation, elementwise, inner_rounding
from .exponential import exp

ROOT_PI, ROOT_TWO, ROOT_TWO_PI = math.sqrt(math.pi), math.sqrt(2.0), math.sqrt(2.0 * math.pi)

erf = elementwise(
    "erf", special.erf, lambda y, x: (2.0 / ROOT_PI) * exp(-square(x)), torch="erf", source="DLMF 7.10.1", ulps=3.0
)


def _erfc(x: Any) -> Any:
    """erfc; in the tail e^(-x²) erfcx(x) with x² = h² + (x - h)(x + h), h = x to 20 binary places, whose square is
    exact.

    SciPy's erfc rounds x² and so loses x² roundings there, 500 at x = 26.
    """
    y = special.erfc(x)
    if np.iscomplexobj(x):
        return y
    tail = np.clip(x, 1.0, 28.0)  # beyond, even the smallest float64 is too large
    h = np.round(tail * 2.0**20) / 2.0**20
    split = special.erfcx(tail) * np.exp(-h * h) * np.exp(-(tail - h) * (tail + h))
    return np.where(x > 1.0, split, y)


erfc = elementwise(
    "erfc", _erfc, lambda y, x: (-2.0 / ROOT_PI) * exp(-square(x)), torch="erfc", source="DLMF 7.10.1", ulps=4.0
)


def _erfinv_condition(x: Any) -> Any:
    """x erfinv'(x): Newton's method on erf(y) = x stops where erf(y) - x is one rounding of x."""
    return 0.5 * ROOT_PI * x * np.exp(np.square(special.erfinv(x)))


erfinv = elementwise(
    "erfinv",
    special.erfinv,
    lambda y, x: (0.5 * ROOT_PI) * exp(square(y)),
    torch="erfinv",
    source="DLMF 7.17; inverse function theorem",
    domain=("unit",),
    ulps=4.0,
    accumulates=inner_rounding(_erfinv_condition),
)

FRACTION_ABOVE = 1.0  # x from which the continued fraction has converged to 1e-17 in FRACTION_TERMS steps
FRACTION_TERMS = 200  # its error falls as exp(-2 x √(2 terms)), Gautschi, SIAM J. Numer. Anal. 7, 1970


def _erfc_integral(x: Any, *, n: int) -> Any:
    """E_n(x) = exp(x²) iⁿerfc(x), the scaled n-fold integral of erfc.

    Upwards from E₋₁ = 2/√π and E₀ = erfcx by 2 (n+1) E_(n+1) = E_(n-1) - 2x E_n, whose terms add up for x < 0; for
    larger x they cancel, and the ratios E_k/E_(k-1) = 1/(2x + 2(k+1) ratio_(k+1)) come from above.
    """
    x = np.asarray(x)
    before, y = np.full(x.shape, 2.0 / ROOT_PI), np.asarray(special.erfcx(x))
    if n == 0:
        return y
    far = x >= FRACTION_ABOVE
    near_x = np.where(far, 0.0, x)
    lower, upper = before, np.where(far, 1.0, y)
    for k in range(n):
        lower, upper = upper, (lower - 2.0 * near_x * upper) / (2.0 * (k + 1))
    if np.any(far):
        far_x = np.where(far, x, FRACTION_ABOVE)
        ratio = 1.0 / (2.0 * far_x)
        product = y
        for k in range(FRACTION_TERMS + n, 0, -1):
            ratio = 1.0 / (2.0 * far_x + 2.0 * (k + 1) * ratio)
            if k <= n:
                product = product * ratio
        upper = np.where(far, product, upper)
    return np.where(np.isnan(x), np.nan, upper)


erfc_integral: Operation = elementwise(
    "erfc_integral",
    _erfc_integral,
    lambda y, x, *, n: (-2.0 * (n + 1)) * erfc_integral(x, n=n + 1),
    source="DLMF 7.18.9-7.18.14",
    draw=False,
    ulps=8.0,
)
# 2x erfcx(x) - 2/√π cancels for large x: at 1e8 no digit is left of the true 1/(√π x²).
erfcx = elementwise(
    "erfcx",
    special.erfcx,
    lambda y, x: -2.0 * erfc_integral(x, n=1),
    lossy=(lambda y, x: 2.0 * x * y - 2.0 / ROOT_PI,),
    torch="torch.special.erfcx({0})",
    source="DLMF 7.18.9: erfcx' = -2 exp(x²) i¹erfc(x)",
    ulps=4.0,
)


def _normal_density(x: Any) -> Any:
    return exp(-0.5 * square(x)) / ROOT_TWO_PI


def _ndtr_condition(x: Any) -> Any:
    """x φ(x): the functions are computed from x/√2, which is rounded."""
    return np.where(np.isinf(x), 0.0, x * np.exp(-0.5 * np.square(x)) / ROOT_TWO_PI)


ndtr = elementwise(
    "ndtr",
    special.ndtr,
    lambda y, x: _normal_density(x),
    torch="torch.special.ndtr({0})",
    source="Φ' = φ, DLMF 7.1",
    ulps=4.0,
    accumulates=inner_rounding(_ndtr_condition),
)


def _log_ndtr_condition(x: Any) -> Any:
    """x φ(x)/Φ(x), for the rounding of x/√2."""
    return np.where(np.isinf(x), 0.0, x * math.sqrt(2.0 / math.pi) / special.erfcx(-x / ROOT_TWO))


def _hazard(x: Any) -> Any:
    return math.sqrt(2.0 / math.pi) / special.erfcx(-x / ROOT_TWO)


def _hazard_condition(x: Any) -> Any:
    """x h'(x): the function is computed from x/√2, which is rounded."""
    h = _hazard(x)
    return np.where(np.isinf(x), 0.0, x * h * (x + h))


def _hazard_slope(y: Any, x: Any) -> Any:
    """-h (x + h), whose sum cancels for x < 0; there -2/√π i¹erfc(u)/erfc(u)², u = -x/√2, both scaled by exp(u²)."""
    left = less(x, 0.0)
    u = (-1.0 / ROOT_TWO) * where(left, x, -1.0)
    return where(left, (-2.0 / ROOT_PI) * erfc_integral(u, n=1) / square(erfcx(u)), -y * (x + y))


# φ/Φ is 0/0 in the left tail; erfcx is the same quotient without the common factor exp(-x²/2).
hazard = elementwise(
    "hazard",
    _hazard,
    _hazard_slope,
    source="DLMF 7.8.1: h = φ/Φ = √(2/π)/erfcx(-x/√2); (φ/Φ)' = -x φ/Φ - (φ/Φ)²",
    draw=False,
    ulps=4.0,
    accumulates=inner_rounding(_hazard_condition),
)
log_ndtr = elementwise(
    "log_ndtr",
    special.log_ndtr,
    lambda y, x: hazard(x),
    lossy=(lambda y, x: exp(-0.5 * square(x) - y) / ROOT_TWO_PI,),
    torch="torch.special.log_ndtr({0})",
    source="(log Φ)' = φ/Φ = √(2/π)/erfcx(-x/√2)",
    ulps=4.0,
    accumulates=inner_rounding(_log_ndtr_condition),
)
ndtri: Operation = elementwise(
    "ndtri",
    special.ndtri,
    lambda y, x: ROOT_TWO_PI * exp(0.5 * square(y)),
    torch="torch.special.ndtri({0})",
    source="inverse function theorem on Φ' = φ",
    draw=lambda pool: ndtri(0.5 * (1.0 + pool.array(domain="unit"))),
    domain=("unit",),
    ulps=8.0,
)

# Near their zeros both come from numbers of size 1, and round as those do.
lgamma = elementwise(
    "lgamma",
    special.gammaln,
    lambda y, x: digamma(x),
    torch="lgamma",
    source="DLMF 5.2.2",
    domain=("positive",),
    ulps=4.0,
    accumulates=inner_rounding(lambda x: 1.0),
)
digamma: Operation = elementwise(
    "digamma",
    special.psi,
    lambda y, x: polygamma(x, 1),
    torch="digamma",
    source="DLMF 5.15.1",
    domain=("positive",),
    ulps=4.0,
    accumulates=inner_rounding(lambda x: 1.0),
)


def _polygamma(x: Any, *, order: int) -> Any:
    return special.polygamma(order, x)


polygamma_of_order = elementwise(
    "polygamma",
    _polygamma,
    lambda y, x, *, order: polygamma(x, order + 1),
    torch="torch.polygamma({order}, {0})",
    source="DLMF 5.15.1",
    draw=lambda pool: polygamma(pool.array(domain="positive"), pool.integer(1, 3)),
    domain=("positive",),
    ulps=8.0,
)


def polygamma(x: Any, order: int) -> Any:
    """ψ⁽ⁿ⁾(x), the n-th derivative of digamma, entry by entry; order 0 is digamma itself.

    Raises ParameterError for a negative order.
    """
    if order < 0 or order != int(order):
        raise ParameterError(f"polygamma: order={order}; accepted are whole numbers from 0. Check the order.")
    return bind("polygamma", x, order=int(order)) if order else bind("digamma", x)


def _gamma_density(a: Any, x: Any) -> Any:
    """x^(a-1) e⁻ˣ/Γ(a)."""
    return exp(bind("xlogy", a - 1.0, x) - x - lgamma(a))


# The derivative by the first argument exists (DLMF 8.8); nothing here needs it yet. Against 40 digits the kernels are
# good to some 16 roundings below, and 250 above, where power series and continued fraction meet.
gammainc: Operation = elementwise(
    "gammainc",
    special.gammainc,
    NOT_WRITTEN,
    lambda y, a, x: _gamma_density(a, x),
    torch="torch.special.gammainc({0}, {1})",
    source="DLMF 8.8.13",
    draw=lambda pool: gammainc(0.5 * pool.integer(1, 8), pool.array(domain="positive")),
    domain=("positive", "positive"),
    ulps=16.0,
)
gammaincc: Operation = elementwise(
    "gammaincc",
    special.gammaincc,
    NOT_WRITTEN,
    lambda y, a, x: negative(_gamma_density(a, x)),
    torch="torch.special.gammaincc({0}, {1})",
    source="DLMF 8.8.14",
    draw=lambda pool: gammaincc(0.5 * pool.integer(1, 8), pool.array(domain="positive")),
    domain=("positive", "positive"),
    ulps=128.0,
)


def _bessel_i(x: Any, *, n: int) -> Any:
    return special.iv(n, x)


def modified_bessel(x: Any, n: int) -> Any:
    """I_n(x) for a whole n ≥ 0, entry by entry."""
    return i0(x) if n == 0 else i1(x) if n == 1 else bind("modified_bessel", x, n=n)


elementwise(
    "modified_bessel",
    _bessel_i,
    lambda y, x, *, n: 0.5 * (modified_bessel(x, n - 1) + modified_bessel(x, n + 1)),
    source="DLMF 10.29.1",
    draw=False,
    ulps=8.0,
)
i0 = elementwise("i0", special.i0, lambda y, x: i1(x), torch="torch.special.i0({0})", source="DLMF 10.29.3", ulps=4.0)
# I₀ - I₁/x is 0/0 at 0; (I₀ + I₂)/2 is not.
i1: Operation = elementwise(
    "i1",
    special.i1,
    lambda y, x: 0.5 * (i0(x) + modified_bessel(x, 2)),
    lossy=(lambda y, x: where(equal(x, 0.0), 0.5, i0(x) - y * reciprocal(where(equal(x, 0.0), 1.0, x))),),
    torch="torch.special.i1({0})",
    source="DLMF 10.29.1",
    ulps=4.0,
)


def _bessel_moment(x: Any, *, n: int) -> Any:
    """D_n(x) = (1/π) ∫₀^π (1 - cos θ)ⁿ exp(-x (1 - cos θ)) dθ for x ≥ 0, by Kummer's function."""
    scale = 2.0**n / math.pi * special.beta(n + 0.5, 0.5)
    return np.where(np.isposinf(x), 0.0, scale * special.hyp1f1(n + 0.5, n + 1.0, -2.0 * np.asarray(x)))


bessel_moment: Operation = elementwise(
    "bessel_moment",
    _bessel_moment,
    lambda y, x, *, n: negative(bessel_moment(x, n=n + 1)),
    source="DLMF 10.32.1 differentiated under the integral; 13.4.1",
    draw=False,
    ulps=16.0,
)


# e^-|x| I₀(x) has a kink at 0. I₁ - I₀ cancels for large x; -D₁ is that difference.
i0e = elementwise(
    "i0e",
    special.i0e,
    lambda y, x: negative(kinked_sign(x) * bessel_moment(bind("abs", x), n=1)),
    lossy=(lambda y, x: i1e(x) - kinked_sign(x) * y,),
    torch="torch.special.i0e({0})",
    source="DLMF 10.32.1: e⁻ˣ I₀(x) = D₀(x), D_n' = -D_(n+1)",
    ulps=4.0,
)
i1e: Operation = elementwise(
    "i1e",
    special.i1e,
    lambda y, x: bessel_moment(bind("abs", x), n=2) - bessel_moment(bind("abs", x), n=1),
    lossy=(lambda y, x: where(equal(x, 0.0), 0.5, i0e(x) - y * (sign(x) + reciprocal(where(equal(x, 0.0), 1.0, x)))),),
    torch="torch.special.i1e({0})",
    source="DLMF 10.32.3: e⁻ˣ I₁(x) = D₀(x) - D₁(x)",
    ulps=4.0,
)


def multigammaln(x: Any, p: int) -> Any:
    """log Γ_p(x) = p(p-1)/4 log π + Σ_(j<p) log Γ(x - j/2), entry by entry, for x > (p-1)/2.

    Raises ParameterError for p < 1. Source: DLMF 35.3.4.
    """
    if p < 1:
        raise ParameterError(f"multigammaln: p={p}; accepted are whole numbers from 1. Check p.")
    y: Any = p * (p - 1) / 4.0 * math.log(math.pi)
    for j in range(p):
        y = y + lgamma(x - 0.5 * j)
    return y
