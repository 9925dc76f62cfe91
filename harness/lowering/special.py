"""Lowerings of special functions: error functions, gamma functions, Bessel functions, entropies."""

from __future__ import annotations

from typing import Any

from ...reference_engine import ops
from .table import CallSite, lower_many, lowers

lower_many(
    {
        "digamma": ops.digamma,
        "erf": ops.erf,
        "erfc": ops.erfc,
        "erfinv": ops.erfinv,
        "i0": ops.i0,
        "igamma": ops.gammainc,
        "igammac": ops.gammaincc,
        "lgamma": ops.lgamma,
        "special_digamma": ops.digamma,
        "special_entr": ops.entr,
        "special_erf": ops.erf,
        "special_erfc": ops.erfc,
        "special_erfcx": ops.erfcx,
        "special_erfinv": ops.erfinv,
        "special_exp2": ops.exp2,
        "special_expm1": ops.expm1,
        "special_gammainc": ops.gammainc,
        "special_gammaincc": ops.gammaincc,
        "special_gammaln": ops.lgamma,
        "special_i0": ops.i0,
        "special_i0e": ops.i0e,
        "special_i1": ops.i1,
        "special_i1e": ops.i1e,
        "special_log1p": ops.log1p,
        "special_log_ndtr": ops.log_ndtr,
        "special_ndtr": ops.ndtr,
        "special_ndtri": ops.ndtri,
        "special_psi": ops.digamma,
        "special_sinc": ops.sinc,
        "special_xlog1py": ops.xlog1py,
        "special_xlogy": ops.xlogy,
    }
)


@lowers("aten::polygamma", "aten::special_polygamma")
def polygamma(call: CallSite, n: Any, x: Any) -> Any:
    """ψ⁽ⁿ⁾(x); in place the array comes first."""
    return ops.polygamma(*((n, x) if isinstance(x, int) else (x, n)))


@lowers("aten::mvlgamma", "aten::special_multigammaln")
def mvlgamma(call: CallSite, x: Any, p: int) -> Any:
    """log Γ_p(x)."""
    return ops.multigammaln(x, p)
