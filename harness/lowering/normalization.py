"""Lowerings of normalisations: batch, layer, group and RMS norm, with the statistics their kernels return."""

from __future__ import annotations

import math
from typing import Any

from ...reference_engine import ops
from ...reference_engine.tracing import bind
from .table import CallSite, lowers


def _per_channel(parameter: Any, x: Any) -> Any:
    """One number a channel (axis 1), shaped to broadcast against x."""
    return ops.reshape(parameter, (1, -1, *([1] * (x.ndim - 2))))


def _affine(y: Any, weight: Any, bias: Any) -> Any:
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _inverse_deviation(x: Any, axes: tuple[int, ...], eps: float) -> Any:
    return ops.rsqrt(ops.var(x, axis=axes) + eps)


def _held(call: CallSite, *statistics: Any) -> tuple[Any, ...]:
    """Statistics that PyTorch declares not differentiable: their values are compared, their derivative is that of
    constants. Inside forward mode it is their own: a tangent is made of them.
    """
    return statistics if call.tangents else tuple(ops.stop_gradient(s) for s in statistics)


@lowers("aten::native_layer_norm")
def layer_norm(call: CallSite, x: Any, normalized_shape: Any, weight: Any, bias: Any, eps: float) -> Any:
    """(x - mean) / √(var + ε) · weight + bias over the last axes, with mean and 1/√(var + ε) of every sample."""
    over = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    y = _affine(ops.standardize(x, over, eps), weight, bias)
    statistics = call.outputs[1].shape
    mean = ops.reshape(ops.mean(x, axis=over), statistics)
    return y, *_held(call, mean, ops.reshape(_inverse_deviation(x, over, eps), statistics))


@lowers("aten::_fused_rms_norm")
def rms_norm(call: CallSite, x: Any, normalized_shape: Any, weight: Any, eps: Any) -> Any:
    """x / √(mean x² + ε) · weight over the last axes; ε is the machine epsilon of the dtype unless given."""
    over = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    if eps is None:
        eps = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}[call.dtype]
    inverse = ops.rsqrt(ops.mean(ops.square(x), axis=over) + eps)
    return ops.rms_norm(x, over, weight, eps), ops.reshape(inverse, call.outputs[1].shape)


def _batch_norm(call: CallSite, x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: bool, eps: float) -> Any:
    """The three differentiable outputs: the result; mean and 1/√(var + ε) of the batch (empty when not training)."""

    def affine(y: Any) -> Any:
        y = y if weight is None else bind("scale_channels", y, weight)
        return y if bias is None else bind("add_bias", y, bias)

    if not training:
        inverse = ops.rsqrt(_per_channel(var, x) + eps)
        return affine((x - _per_channel(mean, x)) * inverse), None, None
    over = (0, *range(2, x.ndim))
    y = affine(ops.standardize(x, over, eps))
    return y, *_held(call, ops.mean(x, axis=over), _inverse_deviation(x, over, eps))


@lowers("aten::native_batch_norm")
def native_batch_norm(
    call: CallSite,
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    """(x - mean) / √(var + ε) · weight + bias for every channel: statistics of the batch, or the running ones, which
    are data.
    """
    return _batch_norm(call, x, weight, bias, running_mean, running_var, training, eps)


@lowers("aten::_native_batch_norm_legit.default")
def batch_norm_legit(
    call: CallSite,
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    """As native_batch_norm; the running statistics are written in place."""
    return (*_batch_norm(call, x, weight, bias, running_mean, running_var, training, eps), None, None)


@lowers("aten::_native_batch_norm_legit.no_stats")
def batch_norm_without_running(
    call: CallSite, x: Any, weight: Any, bias: Any, training: bool, momentum: float, eps: float
) -> Any:
    """As native_batch_norm, with the statistics of the batch always."""
    return _batch_norm(call, x, weight, bias, None, None, True, eps)


@lowers("aten::_native_batch_norm_legit_functional")
def batch_norm_functional(
    call: CallSite,
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    """As native_batch_norm; the new running statistics are outputs, constants here."""
    return _batch_norm(call, x, weight, bias, running_mean, running_var, training, eps)


@lowers("aten::_native_batch_norm_legit_no_training")
def batch_norm_no_training(
    call: CallSite, x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, momentum: float, eps: float
) -> Any:
    """As native_batch_norm with the running statistics."""
    return _batch_norm(call, x, weight, bias, running_mean, running_var, False, eps)


@lowers("aten::_batch_norm_with_update")
def batch_norm_with_update(
    call: CallSite, x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, momentum: float, eps: float
) -> Any:
    """As native_batch_norm in training."""
    return _batch_norm(call, x, weight, bias, running_mean, running_var, True, eps)


@lowers("aten::native_group_norm")
def group_norm(
    call: CallSite, x: Any, weight: Any, bias: Any, samples: int, channels: int, inner: int, groups: int, eps: float
) -> Any:
    """Layer norm of `groups` blocks of channels of every sample, with mean and 1/√(var + ε) of every block."""
    weight, bias = (None if p is None else _per_channel(p, x) for p in (weight, bias))
    blocks = ops.reshape(x, (samples, groups, math.prod(x.shape) // max(samples * groups, 1)))
    y = ops.reshape(ops.standardize(blocks, 2, eps), x.shape) if x.size else x
    if not x.size:
        return y, None, None
    return _affine(y, weight, bias), ops.mean(blocks, axis=2), _inverse_deviation(blocks, (2,), eps)


@lowers("aten::_weight_norm_interface")
def weight_norm(call: CallSite, v: Any, g: Any, dim: int = 0) -> Any:
    """g v / ‖v‖ with one norm for each place along `dim`; the norms, a second output, are PyTorch's own note.

    Source: Salimans and Kingma, Weight Normalization, 2016, eq. 2.
    """
    others = tuple(i for i in range(v.ndim) if i != dim % v.ndim)
    norms = ops.norm(v, axis=others, keepdims=True)
    return v * (g / norms), *_held(call, ops.reshape(norms, call.outputs[1].shape))
