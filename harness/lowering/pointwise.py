"""Lowerings of functions of one and two numbers, entry by entry: arithmetic, powers, exponentials, angles, rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...reference_engine import ops
from ...reference_engine.primitives.choice import choice
from .table import CallSite, NotCovered, lower_many, lowers

lower_many(
    {
        "abs": ops.abs,
        "absolute": ops.abs,
        "acos": ops.acos,
        "acosh": ops.acosh,
        "arccos": ops.acos,
        "arctan2": ops.atan2,
        "asin": ops.asin,
        "asinh": ops.asinh,
        "atan": ops.atan,
        "atan2": ops.atan2,
        "atanh": ops.atanh,
        "copysign": ops.copysign,
        "cos": ops.cos,
        "cosh": ops.cosh,
        "deg2rad": ops.deg2rad,
        "exp": ops.exp,
        "exp2": ops.exp2,
        "expm1": ops.expm1,
        "fmod": ops.fmod,
        "hypot": ops.hypot,
        "log": ops.log,
        "log10": ops.log10,
        "log1p": ops.log1p,
        "log2": ops.log2,
        "logaddexp": ops.logaddexp,
        "logaddexp2": ops.logaddexp2,
        "rad2deg": ops.rad2deg,
        "reciprocal": ops.reciprocal,
        "remainder": ops.remainder,
        "rsqrt": ops.rsqrt,
        "sigmoid": ops.sigmoid,
        "sin": ops.sin,
        "sinc": ops.sinc,
        "sinh": ops.sinh,
        "special_expit": ops.sigmoid,
        "sqrt": ops.sqrt,
        "square": ops.square,
        "tan": ops.tan,
        "tanh": ops.tanh,
        "xlogy": ops.xlogy,
    }
)


def held(call: CallSite, *near: Any) -> Any:
    """The recorded result, constant in the traced values `near`: a decision or a draw that PyTorch's run has made.

    It stays a traced value, so that a derivative other than 0 that PyTorch sends back is seen.
    """
    everywhere = np.ones(call.shape, dtype=bool)
    for x in near:
        if hasattr(x, "builder"):
            return ops.where(everywhere, call.outputs[0], x)
    return None


def real_only(call: CallSite, *xs: Any) -> None:
    """Raises NotCovered for complex arguments, where the functions of this file are not what PyTorch computes."""
    if any(getattr(x, "dtype", None) == np.complex128 for x in xs):
        raise NotCovered("the argument is complex; real ones are covered")


@lowers("aten::pow")
def power(call: CallSite, a: Any, b: Any) -> Any:
    """aᵇ."""
    return ops.pow(a, float(b) if isinstance(b, (int, float)) else b)


@lowers("aten::float_power")
def float_power(call: CallSite, a: Any, b: Any) -> Any:
    """aᵇ in double precision."""
    return power(call, a, b)


@lowers("aten::ldexp")
def ldexp(call: CallSite, x: Any, exponent: Any) -> Any:
    """x 2^exponent, in two factors that do not overflow: a constant half of the exponent, and the rest."""
    half = np.nan_to_num(np.floor(np.asarray(call.number_of(exponent)) / 2.0), posinf=0.0, neginf=0.0)
    rest = ops.multiply(x, ops.exp2(ops.subtract(exponent, half)))
    return ops.multiply(rest, np.exp2(half)) if np.any(half) else rest


@lowers("aten::frexp")
def frexp(call: CallSite, x: Any) -> Any:
    """(mantissa, exponent): x 2^-exponent with the recorded exponent, in two factors that do not overflow."""
    exponent = -np.asarray(call.outputs[1])
    half = exponent // 2
    return ops.multiply(ops.multiply(x, np.ldexp(1.0, half)), np.ldexp(1.0, exponent - half)), None


@lowers("aten::frac")
def frac(call: CallSite, x: Any) -> Any:
    """x - trunc(x)."""
    return ops.subtract(x, ops.trunc(x))


@lowers("aten::floor")
def floor(call: CallSite, x: Any) -> Any:
    """The greatest whole number that is not above x."""
    return ops.floor(x)


@lowers("aten::ceil")
def ceil(call: CallSite, x: Any) -> Any:
    """The smallest whole number that is not below x."""
    return ops.ceil(x)


@lowers("aten::trunc", "aten::fix")
def trunc(call: CallSite, x: Any) -> Any:
    """x without its fraction."""
    return ops.trunc(x)


@lowers("aten::round.default")
def round_to_even(call: CallSite, x: Any) -> Any:
    """The nearest whole number, halves to the even one."""
    return ops.round(x)


@lowers("aten::round.decimals")
def round_decimals(call: CallSite, x: Any, *, decimals: int) -> Any:
    """round(x 10ᵈ) / 10ᵈ, constant between its jumps: the whole number is the recorded one, its quotient is rounded."""
    scale, recorded = 10.0**decimals, held(call, x)
    whole = np.rint(call.outputs[0] * scale)
    if recorded is None or not (np.isfinite(whole).all() and scale > 0.0):
        return recorded
    return ops.divide(ops.where(np.ones(call.shape, dtype=bool), whole, recorded), scale)


@lowers("aten::floor_divide", "aten::__floordiv__")
def rounded(call: CallSite, x: Any, y: Any = None) -> Any:
    """Constant between its jumps; the recorded value."""
    return held(call, x, y)


@lowers("aten::div.Tensor_mode", "aten::div.Scalar_mode")
def div_mode(call: CallSite, a: Any, b: Any, *, rounding_mode: str | None = None) -> Any:
    """a / b, rounded to a whole number by "floor" or "trunc" (then constant between its jumps)."""
    return ops.divide(a, b) if rounding_mode is None else held(call, a, b)


@lowers("aten::sign", "aten::sgn")
def sign(call: CallSite, x: Any) -> Any:
    """-1, 0 or 1; constant but for its jump at 0."""
    real_only(call, x)
    return ops.sign(x)


@lowers("aten::heaviside")
def heaviside(call: CallSite, x: Any, values: Any) -> Any:
    """0 below 0, `values` at 0, 1 above."""
    return ops.heaviside(x, values)


@lowers("aten::angle")
def angle(call: CallSite, x: Any) -> Any:
    """0 for x ≥ 0, π for x < 0: constant but for its jump at 0."""
    real_only(call, x)
    return held(call, x)


LAWS = ("aten::normal", "aten::bernoulli")  # PyTorch has no gradient along the path of their draws


@lowers(*LAWS)
def drawn(call: CallSite, x: Any, p: Any = None, *, generator: Any = None) -> Any:
    """A draw whose law depends on the arguments: the recorded numbers, which carry no derivative."""
    return held(call, x, p)


@lowers("aten::fill")
def fill(call: CallSite, x: Any, value: Any) -> Any:
    """`value` everywhere; nothing of x is left."""
    return ops.broadcast_to(value, call.shape) if hasattr(value, "builder") else held(call, x)


@lowers("aten::lerp")
def lerp(call: CallSite, a: Any, b: Any, weight: Any) -> Any:
    """a + weight (b - a)."""
    return ops.lerp(a, b, weight)


@lowers("aten::addcmul")
def addcmul(call: CallSite, x: Any, a: Any, b: Any, *, value: Any = 1) -> Any:
    """x + value a b."""
    product = ops.multiply(a, b)
    return ops.add(x, product if value == 1 else ops.multiply(float(value), product))


@lowers("aten::addcdiv")
def addcdiv(call: CallSite, x: Any, a: Any, b: Any, *, value: Any = 1) -> Any:
    """x + value a / b."""
    return ops.add(x, ops.divide(a if value == 1 else ops.multiply(float(value), a), b))


@lowers("aten::nan_to_num")
def nan_to_num(call: CallSite, x: Any, nan: Any = None, posinf: Any = None, neginf: Any = None) -> Any:
    """x, with NaN as `nan` (0) and infinities as the given numbers (the largest of the dtype)."""
    largest = float(torch.finfo(getattr(torch, call.dtype)).max)
    high, low = largest if posinf is None else float(posinf), -largest if neginf is None else float(neginf)
    return ops.nan_to_num(x, 0.0 if nan is None else float(nan), high, low)


@lowers("aten::logit", "aten::special_logit")
def logit(call: CallSite, x: Any, eps: float | None = None) -> Any:
    """log(x/(1 - x)), x first clamped to [eps, 1 - eps] if eps is given."""
    if eps is None:
        return ops.logit(x)
    if eps > 0.5:
        raise NotCovered(f"eps={eps} puts the lower bound above the upper; eps up to 0.5 is covered")
    return ops.logit(ops.clip(x, float(eps), 1.0 - float(eps)))


@lowers("aten::nextafter")
def nextafter(call: CallSite, a: Any, b: Any) -> Any:
    """The float next to a on the way to b: a and a step whose size is constant between powers of 2, so slope 1 in a.

    Where a = b the value is b, and jumps by two steps as a passes: every slope in [0, 1] is legitimate, ours is 0.
    """
    x, y = call.number_of(a), call.number_of(b)
    if not np.isfinite(x).all():
        raise NotCovered("nextafter: a number that is not finite; it has no step")
    moved = ops.broadcast_to(ops.subtract(a, np.asarray(x)), call.shape)
    tied = np.broadcast_to(np.equal(x, y), call.shape)
    return ops.add(ops.where(tied, ops.multiply(choice(tied, 0.0), moved), moved), call.outputs[0])
