"""Lowerings of functions of one complex number, by the real functions of its parts. Source: DLMF 4.2, 4.21, 4.35."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...reference_engine import ops
from .complex_numbers import Pair, as_pair, lowers_complex, quotient, scaled, times
from .table import CallSite, NotCovered, functional_name


@lowers_complex("abs", "absolute")
def modulus(call: CallSite, z: Pair) -> Any:
    """|z|; at 0 the derivative of least norm is 0."""
    return ops.hypot(z.x, z.y)


@lowers_complex("angle")
def angle(call: CallSite, z: Pair) -> Any:
    """atan2(y, x)."""
    return ops.atan2(z.y, z.x)


@lowers_complex("sgn", "sign")
def sgn(call: CallSite, z: Pair) -> Pair:
    """z / |z|, and 0 at 0, where it has no derivative."""
    size = ops.hypot(z.x, z.y)
    zero = np.asarray(call.number_of(z.x) == 0) & np.asarray(call.number_of(z.y) == 0)
    if zero.any():
        raise NotCovered("an entry is 0, where z/|z| has no derivative; numbers other than 0 are covered")
    return Pair(ops.divide(z.x, size), ops.divide(z.y, size))


@lowers_complex("exp")
def exp(call: CallSite, z: Pair) -> Pair:
    """eˣ (cos y + i sin y)."""
    size = ops.exp(z.x)
    return Pair(ops.multiply(size, ops.cos(z.y)), ops.multiply(size, ops.sin(z.y)))


def logarithm(z: Any) -> Pair:
    """log |z| + i arg z."""
    z = as_pair(z)
    return Pair(ops.log(ops.hypot(z.x, z.y)), ops.atan2(z.y, z.x))


@lowers_complex("log", "log2", "log10")
def log(call: CallSite, z: Pair) -> Pair:
    """log z, over log 2 or log 10."""
    base = {"aten::log2": math.log(2.0), "aten::log10": math.log(10.0)}.get(functional_name(call.name.split(".")[0]))
    y = logarithm(z)
    return y if base is None else Pair(ops.divide(y.x, base), ops.divide(y.y, base))


@lowers_complex("log1p")
def log1p(call: CallSite, z: Pair) -> Pair:
    """log(1 + z): its real part is log1p(2x + x² + y²)/2, which keeps the digits of small z."""
    square = ops.add(ops.multiply(z.x, ops.add(z.x, 2.0)), ops.multiply(z.y, z.y))
    return Pair(ops.multiply(ops.log1p(square), 0.5), ops.atan2(z.y, ops.add(z.x, 1.0)))


def root(call: CallSite, z: Any) -> Pair:
    """√z with t = √((|z| + |x|)/2): t + i y/(2t) for x ≥ 0, else |y|/(2t) ± i t."""
    x, y = call.number_of(z.x), call.number_of(z.y)
    t = ops.sqrt(ops.multiply(ops.add(ops.hypot(z.x, z.y), ops.abs(z.x)), 0.5))
    small = ops.divide(z.y, ops.multiply(t, 2.0))
    right, sign = np.asarray(x >= 0), np.where(np.signbit(y), -1.0, 1.0)
    return Pair(ops.where(right, t, ops.multiply(small, sign)), ops.where(right, small, ops.multiply(t, sign)))


@lowers_complex("sqrt")
def sqrt(call: CallSite, z: Pair) -> Pair:
    """The square root with real part ≥ 0."""
    return root(call, z)


@lowers_complex("rsqrt")
def rsqrt(call: CallSite, z: Pair) -> Pair:
    """1/√z."""
    y = root(call, z)
    below = ops.hypot(z.x, z.y)
    return Pair(ops.divide(y.x, below), ops.negative(ops.divide(y.y, below)))


@lowers_complex("square")
def square(call: CallSite, z: Pair) -> Pair:
    """z²."""
    return times(z, z)


@lowers_complex("pow")
def power(call: CallSite, a: Any, b: Any) -> Pair:
    """aᵇ: products for b = 1, 2, 3, a root for 1/2, otherwise exp(b log a)."""
    if b in (1, 2, 3) and not isinstance(b, Pair) and not hasattr(b, "builder"):
        y = as_pair(a)
        for _ in range(int(b) - 1):
            y = times(y, a)
        return y
    if not isinstance(b, Pair) and not hasattr(b, "builder") and b == 0.5:
        return root(call, as_pair(a))
    if not isinstance(b, Pair) and not hasattr(b, "builder") and b == -1:
        return quotient(call, 1.0, a)
    return exp(call, times(b, logarithm(a)))


@lowers_complex("sinh", "cosh", "sin", "cos")
def hyperbolic(call: CallSite, z: Pair) -> Pair:
    """sinh x cos y + i cosh x sin y; cosh x cos y + i sinh x sin y; sin z = -i sinh iz; cos z = cosh iz."""
    name = functional_name(call.name.split(".")[0]).removeprefix("aten::")
    if name in ("sinh", "cosh"):
        one, other = (ops.sinh, ops.cosh) if name == "sinh" else (ops.cosh, ops.sinh)
        return Pair(ops.multiply(one(z.x), ops.cos(z.y)), ops.multiply(other(z.x), ops.sin(z.y)))
    if name == "sin":
        return Pair(ops.multiply(ops.sin(z.x), ops.cosh(z.y)), ops.multiply(ops.cos(z.x), ops.sinh(z.y)))
    return Pair(ops.multiply(ops.cos(z.x), ops.cosh(z.y)), ops.negative(ops.multiply(ops.sin(z.x), ops.sinh(z.y))))


def hyperbolic_tangent(z: Pair) -> Pair:
    """tanh of each part, whose slope PyTorch forms as 1 - tanh²."""
    return Pair(ops.real_of_tanh(z.x, z.y), ops.imaginary_of_tanh(z.x, z.y))


@lowers_complex("tanh", "tan")
def tangent(call: CallSite, z: Pair) -> Pair:
    """tanh z; tan z = -i tanh iz."""
    if functional_name(call.name.split(".")[0]) == "aten::tanh":
        return hyperbolic_tangent(z)
    turned = hyperbolic_tangent(Pair(ops.negative(z.y), z.x))
    return Pair(turned.y, ops.negative(turned.x))


@lowers_complex("sigmoid")
def sigmoid(call: CallSite, z: Pair) -> Pair:
    """1/(1 + e⁻ᶻ) = (1 + tanh(z/2))/2."""
    half = hyperbolic_tangent(scaled(z, 0.5))
    return Pair(ops.multiply(ops.add(half.x, 1.0), 0.5), ops.multiply(half.y, 0.5))
