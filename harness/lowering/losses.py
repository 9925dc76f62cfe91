"""Lowerings of loss functions that reach PyTorch's dispatcher whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference_engine import ops
from .table import CallSite, NotCovered, lowers

NONE, MEAN, SUM = 0, 1, 2  # PyTorch's codes of `reduction`


def reduced(losses: Any, reduction: int) -> Any:
    """The losses as they are, their mean, or their sum."""
    return losses if reduction == NONE else ops.mean(losses) if reduction == MEAN else ops.sum(losses)


def _classes(x: Any) -> int:
    """The number of classes: the last axis; a scalar is one class."""
    return int(x.shape[-1]) if x.ndim else 1


@lowers("aten::mse_loss")
def mse_loss(call: CallSite, x: Any, target: Any, reduction: int = MEAN) -> Any:
    """(x - target)²."""
    return reduced(ops.squared_difference(x, target), reduction)


@lowers("aten::l1_loss")
def l1_loss(call: CallSite, x: Any, target: Any, reduction: int = MEAN) -> Any:
    """|x - target|."""
    return reduced(ops.abs(ops.subtract(x, target)), reduction)


def _rounded_off(x: Any, target: Any, width: float, height: float) -> Any:
    """height d²/2 where d = |x - target| is below width, then on along its tangent."""
    difference = ops.subtract(x, target)
    distance = ops.abs(difference)
    bowl = ops.multiply(0.5 * height, ops.square(difference))
    line = ops.multiply(height * width, ops.subtract(distance, 0.5 * width))
    return ops.pieces(ops.subtract(distance, width), line, bowl)


@lowers("aten::smooth_l1_loss")
def smooth_l1_loss(call: CallSite, x: Any, target: Any, reduction: int = MEAN, beta: float = 1.0) -> Any:
    """d²/(2 beta) for d = |x - target| below beta, d - beta/2 beyond."""
    if beta == 0:
        return l1_loss(call, x, target, reduction)
    return reduced(_rounded_off(x, target, float(beta), 1.0 / beta), reduction)


@lowers("aten::huber_loss")
def huber_loss(call: CallSite, x: Any, target: Any, reduction: int = MEAN, delta: float = 1.0) -> Any:
    """d²/2 for d = |x - target| up to delta, delta (d - delta/2) beyond."""
    return reduced(_rounded_off(x, target, float(delta), 1.0), reduction)


@lowers("aten::binary_cross_entropy")
def binary_cross_entropy(call: CallSite, x: Any, target: Any, weight: Any = None, reduction: int = MEAN) -> Any:
    """-weight (target log x + (1 - target) log(1 - x)), logarithms cut off at -100 as documented."""
    losses = ops.binary_cross_entropy(x, target)
    return reduced(losses if weight is None else ops.multiply(losses, weight), reduction)


@lowers("aten::binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(
    call: CallSite, x: Any, target: Any, weight: Any = None, pos_weight: Any = None, reduction: int = MEAN
) -> Any:
    """-weight (pos_weight target log σ(x) + (1 - target) log σ(-x))."""
    losses = ops.cross_entropy_with_logits(x, target, 1.0 if pos_weight is None else pos_weight)
    return reduced(losses if weight is None else ops.multiply(losses, weight), reduction)


@lowers("aten::nll_loss_forward", "aten::nll_loss2d_forward")
def nll_loss(call: CallSite, x: Any, target: Any, weight: Any, reduction: int, ignore_index: int) -> Any:
    """-weight[class] x[class], 0 for the ignored class; the mean is over the weights that were not ignored.

    x: (N, C, …) or (C,); target: (N, …) or (); the second output, the sum of the weights, is as recorded.
    """
    axis = 1 if x.ndim > 1 else 0
    kept = np.asarray(target) != ignore_index
    classes = np.where(kept, target, 0)
    picked = ops.reshape(ops.take_along_axis(x, np.expand_dims(classes, axis), axis=axis), classes.shape)
    scale = kept.astype(np.float64) if weight is None else ops.where(kept, ops.take(weight, classes, axis=0), 0.0)
    losses = ops.where(kept, ops.negative(ops.multiply(picked, scale)), 0.0)
    if reduction != MEAN:
        return reduced(losses, reduction), None
    return ops.divide(ops.sum(losses), ops.sum(scale)), None


@lowers("aten::soft_margin_loss")
def soft_margin_loss(call: CallSite, x: Any, target: Any, reduction: int = MEAN) -> Any:
    """log(1 + exp(-target x)) = -log σ(target x), whose slope compilers form as target (σ - 1), which loses digits."""
    return reduced(ops.negative(ops.log_sigmoid(ops.multiply(target, x))), reduction)


@lowers("aten::multi_margin_loss")
def multi_margin_loss(
    call: CallSite, x: Any, target: Any, p: Any = 1, margin: Any = 1, weight: Any = None, reduction: int = MEAN
) -> Any:
    """Σ over the other classes of weight[class] max(0, margin - x[class] + x[other])ᵖ / C, p = 1 or 2.

    x: (N, C) or (C,); target: (N,) or ().
    """
    count = _classes(x)
    batch = ops.reshape(x, (-1, count))
    classes = np.asarray(target).reshape(-1)
    own = ops.take_along_axis(batch, classes[:, None], axis=1)
    short = ops.relu(ops.add(ops.subtract(batch, own), float(margin)))
    if p == 2:
        short = ops.square(short)
    if weight is not None:
        short = ops.multiply(short, ops.reshape(ops.take(weight, classes, axis=0), (-1, 1)))
    others = np.arange(count) != classes[:, None]
    losses = ops.divide(ops.sum(ops.where(others, short, 0.0), axis=1), float(count))
    return reduced(ops.reshape(losses, call.shape) if reduction == NONE else losses, reduction)


@lowers("aten::multilabel_margin_loss_forward")
def multilabel_margin_loss(call: CallSite, x: Any, target: Any, reduction: int) -> Any:
    """Σ over labels j (up to the first -1) and classes i that are no labels of max(0, 1 - x[j] + x[i]) / C.

    x, target: (N, C) or (C,); the second output, which classes are labels, is as recorded.
    """
    count = _classes(x)
    batch = ops.reshape(x, (-1, count))
    labels = np.asarray(target).reshape(batch.shape)
    valid = np.cumprod(labels >= 0, axis=1).astype(bool)
    labels = np.where(valid, labels, 0)
    is_label = np.zeros(batch.shape, dtype=bool)
    rows, places = np.nonzero(valid)
    is_label[rows, labels[rows, places]] = True
    own = ops.reshape(ops.take_along_axis(batch, labels, axis=1), (*batch.shape, 1))
    short = ops.relu(ops.add(ops.subtract(ops.reshape(batch, (-1, 1, count)), own), 1.0))
    pairs = valid[:, :, None] & ~is_label[:, None, :]
    losses = ops.divide(ops.sum(ops.where(pairs, short, 0.0), axis=(1, 2)), float(count))
    return reduced(ops.reshape(losses, call.shape) if reduction == NONE else losses, reduction), None


def _of_rows(x: Any, matrix: Any, target: Any, bias: Any, weight: Any, ignored: int) -> tuple[Any, Any]:
    """-weight[class] log softmax(x Wᵀ + b)[class] and weight[class] of each row, 0 where the class is ignored."""
    scores = ops.matmul(x, ops.swap_last(matrix))
    scores = scores if bias is None else ops.add(scores, bias)
    kept = np.asarray(target) != ignored
    classes = np.where(kept, target, 0)
    picked = ops.reshape(ops.take_along_axis(ops.log_softmax(scores, axis=-1), classes[:, None], axis=1), classes.shape)
    scale = kept.astype(np.float64) if weight is None else ops.where(kept, ops.take(weight, classes, axis=0), 0.0)
    return ops.where(kept, ops.negative(ops.multiply(picked, scale)), 0.0), scale


@lowers("torch_nn::_linear_cross_entropy_batch_chunked")
def linear_cross_entropy(
    call: CallSite,
    x: Any,
    matrix: Any,
    target: Any,
    bias: Any,
    weight: Any,
    reduction: str,
    ignored: int,
    smoothing: float,
    *how: Any,
) -> Any:
    """The cross entropy of x Wᵀ + b, summed or averaged over the weights that were not ignored.

    x: (N, F), W: (C, F), target: (N,). The other three outputs are gradients that its backward reads, not part of it.
    how: sizes of chunks and dtypes of sums.
    """
    if smoothing:
        raise NotCovered(f"linear_cross_entropy in chunks with label_smoothing={smoothing}")
    losses, scale = _of_rows(x, matrix, target, bias, weight, ignored)
    loss = ops.sum(losses)
    return ops.divide(loss, ops.sum(scale)) if reduction == "mean" else loss, None, None, None


@lowers("torch_nn::_linear_cross_entropy_batch_chunked_no_reduction")
def linear_cross_entropy_of_rows(
    call: CallSite, x: Any, matrix: Any, target: Any, bias: Any, weight: Any, ignored: int, *how: Any
) -> Any:
    """The cross entropy of each row of x Wᵀ + b."""
    return _of_rows(x, matrix, target, bias, weight, ignored)[0]
