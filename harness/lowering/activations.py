"""Lowerings of activation functions and dropout. Where two pieces meet, every mixture of their slopes is legitimate."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference_engine import ops
from .table import CallSite, lower_many, lowers

# Klambauer, Unterthiner, Mayr and Hochreiter, Self-Normalizing Neural Networks, 2017, eq. 14.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946

lower_many({"mish": ops.mish, "relu": ops.relu, "silu": ops.silu})


def _least(upper: float, lower: float) -> float:
    """The share of the slope `upper` in the mixture of two slopes that has least absolute value."""
    if upper * lower < 0:
        return -lower / (upper - lower)
    return 1.0 if abs(upper) < abs(lower) else 0.0


def _ramp(x: Any, slope: Any) -> Any:
    """x above 0, slope x below; the slope is a number or an array."""
    at_zero = _least(1.0, float(slope)) if isinstance(slope, (int, float)) else 0.0
    return ops.pieces(x, x, ops.multiply(x, slope), at_zero)


@lowers("aten::leaky_relu")
def leaky_relu(call: CallSite, x: Any, negative_slope: Any = 0.01) -> Any:
    """x above 0, negative_slope x below."""
    return _ramp(x, float(negative_slope))


@lowers("aten::_prelu_kernel")
def prelu(call: CallSite, x: Any, weight: Any) -> Any:
    """x above 0, weight x below."""
    return _ramp(x, weight)


@lowers("aten::rrelu_with_noise", "aten::rrelu_with_noise_functional")
def rrelu(
    call: CallSite,
    x: Any,
    noise: Any,
    lower: Any = 0.125,
    upper: Any = 1 / 3,
    training: bool = False,
    generator: Any = None,
) -> Any:
    """x above 0, r x below: in training r is the recorded draw, else the middle of [lower, upper]."""
    return _ramp(x, call.outputs[1] if training else 0.5 * (float(lower) + float(upper))), None


def _exponential_unit(x: Any, alpha: float, scale: float, input_scale: float) -> Any:
    """scale x above 0, scale alpha (exp(input_scale x) - 1) below."""
    upper = x if scale == 1.0 else ops.multiply(scale, x)
    inner = x if input_scale == 1.0 else ops.multiply(input_scale, x)
    lower = ops.multiply(alpha * scale, ops.expm1(inner))
    return ops.pieces(x, upper, lower, _least(scale, scale * alpha * input_scale))


@lowers("aten::elu")
def elu(call: CallSite, x: Any, alpha: Any = 1, scale: Any = 1, input_scale: Any = 1) -> Any:
    """scale x above 0, scale alpha (exp(input_scale x) - 1) below."""
    return _exponential_unit(x, float(alpha), float(scale), float(input_scale))


@lowers("aten::celu")
def celu(call: CallSite, x: Any, alpha: Any = 1.0) -> Any:
    """x above 0, alpha (exp(x/alpha) - 1) below."""
    return _exponential_unit(x, float(alpha), 1.0, 1.0 / float(alpha))


@lowers("aten::selu")
def selu(call: CallSite, x: Any) -> Any:
    """The exponential unit with the constants that keep mean 0 and variance 1."""
    return _exponential_unit(x, SELU_ALPHA, SELU_SCALE, 1.0)


@lowers("aten::gelu")
def gelu(call: CallSite, x: Any, *, approximate: str = "none") -> Any:
    """x Φ(x), or its approximation ½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))."""
    return ops.gelu(x) if approximate == "none" else ops.gelu_tanh(x)


@lowers("aten::softplus")
def softplus(call: CallSite, x: Any, beta: Any = 1, threshold: Any = 20) -> Any:
    """log(1 + exp(beta x))/beta, and x itself where beta x > threshold, as documented."""
    inner = x if beta == 1 else ops.multiply(float(beta), x)
    smooth = ops.softplus(inner)
    return ops.where(ops.greater(inner, float(threshold)), x, smooth if beta == 1 else ops.divide(smooth, float(beta)))


@lowers("aten::hardsigmoid")
def hardsigmoid(call: CallSite, x: Any) -> Any:
    """(min(max(x, -3), 3) + 3)/6."""
    return ops.divide(ops.add(ops.clip(x, -3.0, 3.0), 3.0), 6.0)


@lowers("aten::hardswish")
def hardswish(call: CallSite, x: Any) -> Any:
    """x hardsigmoid(x)."""
    return ops.multiply(x, hardsigmoid(call, x))


@lowers("aten::hardshrink")
def hardshrink(call: CallSite, x: Any, lambd: Any = 0.5) -> Any:
    """x where |x| > lambd, else 0. With lambd ≤ 0 that is x everywhere."""
    if lambd <= 0:
        return x + 0.0
    return ops.where(ops.greater(ops.abs(x), float(lambd)), x, 0.0)


@lowers("aten::softshrink")
def softshrink(call: CallSite, x: Any, lambd: Any = 0.5) -> Any:
    """x moved towards 0 by lambd, and no further. With lambd = 0 that is x everywhere."""
    if lambd == 0:
        return x + 0.0
    return ops.subtract(ops.relu(ops.subtract(x, float(lambd))), ops.relu(ops.subtract(-float(lambd), x)))


@lowers("aten::threshold")
def threshold(call: CallSite, x: Any, threshold: Any, value: Any) -> Any:
    """x above the threshold, else the value; a kink where the two are equal, a jump where not."""
    if threshold == value:
        return ops.maximum(x, float(threshold))
    return ops.where(ops.less_equal(x, float(threshold)), float(value), x)


@lowers("aten::log_sigmoid_forward")
def log_sigmoid(call: CallSite, x: Any) -> Any:
    """log σ(x), beside a buffer of PyTorch's own."""
    return ops.log_sigmoid(x), None


@lowers("aten::glu")
def glu(call: CallSite, x: Any, dim: int = -1) -> Any:
    """a σ(b) of the two halves of x along `dim`."""
    a, b = ops.split(x, x.shape[dim] // 2, axis=dim)
    return ops.multiply(a, ops.sigmoid(b))


@lowers("aten::native_dropout")
def native_dropout(call: CallSite, x: Any, p: float, train: bool | None) -> Any:
    """x/(1 - p) where the recorded mask keeps it, else 0; x itself outside training."""
    if train is False:
        return x + 0.0, None
    kept = np.asarray(call.outputs[1], dtype=bool)
    scale = 0.0 if p == 1 else 1.0 / (1.0 - p)
    return ops.multiply(x, kept * scale), None


@lowers("aten::native_dropout_backward")
def native_dropout_backward(call: CallSite, grad_output: Any, mask: Any, scale: float) -> Any:
    """grad_output scale where the mask keeps it, else 0."""
    return ops.multiply(ops.multiply(grad_output, np.asarray(mask, dtype=np.float64)), float(scale))


@lowers("aten::threshold_backward")
def threshold_backward(call: CallSite, grad_output: Any, x: Any, threshold: Any) -> Any:
    """grad_output where x is above the threshold, else 0."""
    return ops.where(ops.less_equal(x, float(threshold)), 0.0, grad_output)
