"""Lowerings of softmax and its kin, and of attention kernels made of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...reference_engine import ops
from .core import axes
from .table import CallSite, lowers


@lowers("aten::logsumexp")
def logsumexp(call: CallSite, x: Any, dim: Any, keepdim: bool = False) -> Any:
    """log Σ exp x along `dim`."""
    return ops.logsumexp(x, axis=axes(dim, x), keepdims=keepdim) if x.ndim else x


@lowers("aten::_softmax", "aten::softmax.int")
def softmax(call: CallSite, x: Any, dim: int, *_: Any) -> Any:
    """exp x_i / Σ exp x_j along `dim`; of a single number: 1."""
    if x.ndim == 0:
        return ops.reshape(ops.softmax(ops.reshape(x, (1,)), axis=0), ())
    return ops.softmax(x, axis=dim)


@lowers("aten::_log_softmax", "aten::log_softmax.int")
def log_softmax(call: CallSite, x: Any, dim: int, *_: Any) -> Any:
    """x_i - log Σ exp x_j along `dim`; of a single number: 0."""
    if x.ndim == 0:
        return ops.reshape(ops.log_softmax(ops.reshape(x, (1,)), axis=0), ())
    return ops.log_softmax(x, axis=dim)


def _safe(x: Any, dim: int) -> Any:
    """softmax with 0 in a row of -inf alone."""
    blocked = ops.equal(ops.max(x, axis=dim, keepdims=True), -np.inf)
    return ops.where(blocked, 0.0, ops.softmax(ops.where(blocked, 0.0, x), axis=dim))


@lowers("aten::_safe_softmax")
def safe_softmax(call: CallSite, x: Any, dim: int, dtype: Any = None) -> Any:
    """softmax along `dim`, and 0 in a row of -inf alone."""
    if x.ndim == 0:
        return ops.reshape(_safe(ops.reshape(x, (1,)), 0), ())
    return _safe(x, dim)


@lowers("aten::_masked_softmax")
def masked_softmax(call: CallSite, x: Any, mask: Any, dim: Any = None, mask_type: Any = None) -> Any:
    """softmax along `dim` over the entries where `mask` is False; 0 elsewhere, NaN in a row that is masked as a
    whole.
    """
    mask = np.asarray(mask, dtype=bool)
    if mask.ndim == 2 and x.ndim == 4:
        mask = mask[None, None, :, :] if mask_type == 0 else mask[:, None, None, :]
    return ops.softmax(ops.where(np.broadcast_to(mask, x.shape), -np.inf, x), axis=-1 if dim is None else dim)


@lowers("aten::_softmax_backward_data")
def softmax_backward(call: CallSite, g: Any, y: Any, dim: int, input_dtype: Any = None) -> Any:
    """y (g - Σ y g) along `dim`, as a function of g and y."""
    if y.ndim == 0:
        return y * (g - y * g)
    return y * (g - ops.sum(y * g, axis=dim, keepdims=True))


@lowers("aten::_log_softmax_backward_data")
def log_softmax_backward(call: CallSite, g: Any, y: Any, dim: int, input_dtype: Any = None) -> Any:
    """g - exp(y) Σ g along `dim`, as a function of g and y."""
    if y.ndim == 0:
        return g - ops.exp(y) * g
    return g - ops.exp(y) * ops.sum(g, axis=dim, keepdims=True)


@lowers("aten::_scaled_dot_product_flash_attention_for_cpu")
def flash_attention(
    call: CallSite,
    q: Any,
    k: Any,
    v: Any,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Any = None,
    scale: Any = None,
) -> Any:
    """softmax(s q kᵀ + mask) v; s = 1/√(last axis of q) unless given. The second output is PyTorch's own note for its
    backward, as recorded.

    q: (…, n, e), k: (…, m, e), v: (…, m, f) -> (…, n, f). Causal: row i sees columns j ≤ i. Heads of k and v may be
    shared by several of q. A row that is masked altogether is 0. Σ_j e_j v_j and Σ_j e_j are carried apart and divided
    at the end, as a fused kernel must; its gradient e_j (g·v_j - g·y) / Σ e leaves a rounding where it cancels. Source:
    Dao, Fu, Ermon, Rudra and Ré, FlashAttention, 2022, section 3.1 and appendix B.
    """
    heads = q.shape[1]
    if k.shape[1] != heads:
        k, v = (ops.repeat(x, heads // x.shape[1], axis=1) for x in (k, v))
    scores = ops.matmul(q, ops.swap_last(k)) * (1.0 / math.sqrt(q.shape[-1]) if scale is None else float(scale))
    if is_causal:
        scores = ops.where(np.tril(np.ones(scores.shape[-2:], dtype=bool)), scores, -np.inf)
    if attn_mask is not None:
        if attn_mask.dtype == bool:
            scores = ops.where(np.broadcast_to(attn_mask, scores.shape), scores, -np.inf)
        else:
            scores = scores + attn_mask
    top = ops.stop_gradient(ops.max(scores, axis=-1, keepdims=True))  # the quotient does not depend on it
    blocked = ops.equal(top, -np.inf)
    e = ops.exp(ops.where(blocked, -np.inf, scores - ops.where(blocked, 0.0, top)))
    total = ops.where(blocked, 1.0, ops.sum(e, axis=-1, keepdims=True))
    return ops.matmul(e, v) / total, None
