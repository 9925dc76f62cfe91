"""Lowerings of embedding tables and bags of their rows.

Two parameters change PyTorch's gradient on purpose, not the value. padding_idx: its row gets no gradient, where the
value has one: in reverse mode 0 and nothing else, where tangents flow too either is legitimate. scale_grad_by_freq: the
gradient of a row is divided by how often the row is used in this call; that is the parameter's whole meaning, so it is
followed here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference_engine import ops
from .documented import optional, optional_change
from .scatter import over_groups
from .table import CallSite, lowers

SUM, MEAN, MAX = 0, 1, 2


def rows_of(call: CallSite, weight: Any, indices: Any, scale_grad_by_freq: bool) -> Any:
    """weight[indices]; with scale_grad_by_freq the derivative of each row is divided by how often it occurs. Where
    tangents flow, which PyTorch does not divide, anything between that and the value's own derivative is legitimate.
    """
    values = ops.embedding(weight, indices)
    if not scale_grad_by_freq or indices.size == 0:
        return values
    call.follows("gradient-by-frequency")
    share = 1.0 / np.bincount(indices.ravel())[indices]
    still = ops.stop_gradient(values)
    scaled = ops.add(still, ops.multiply(ops.subtract(values, still), share[..., None]))
    if call.only_adjoints:
        return scaled
    return ops.add(scaled, ops.multiply(optional_change(values, 0.0), 1.0 - share[..., None]))


@lowers("aten::embedding")
def embedding(
    call: CallSite,
    weight: Any,
    indices: Any,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """weight[indices]. The row padding_idx gets no gradient, as documented. Where tangents flow, which are documented
    nowhere, θ in [0, 1] times the derivative is legitimate; ours is the value's, 1.
    """
    indices = np.asarray(indices)
    values = rows_of(call, weight, indices, scale_grad_by_freq)
    padding = np.broadcast_to((indices == padding_idx)[..., None], values.shape)
    if padding_idx < 0 or not padding.any():
        return values
    call.follows("padding-idx")
    padded = ops.stop_gradient(values) if call.only_adjoints else optional(values, 1.0)
    return ops.where(padding, padded, values)


@lowers("aten::_embedding_bag", "aten::_embedding_bag_forward_only")
def embedding_bag(
    call: CallSite,
    weight: Any,
    indices: Any,
    offsets: Any,
    scale_grad_by_freq: bool = False,
    mode: int = SUM,
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> Any:
    """Rows of the table, summed, averaged or their maximum over bags; entries equal to padding_idx do not take part;
    an empty bag is 0.
    """
    indices, offsets = np.asarray(indices), np.asarray(offsets)
    bags = call.shape[0]
    ends = offsets[1:] if include_last_offset else np.append(offsets[1:], indices.size)
    bag = np.repeat(np.arange(bags), ends - offsets[:bags])
    used = np.flatnonzero(indices[: bag.size] != padding_idx)
    bag, rows = bag[used], indices[used]
    counts = np.bincount(bag, minlength=bags)
    if mode == MAX:
        return (_greatest(call, weight, rows, bag, counts), None, None, None)
    values = rows_of(call, weight, rows, scale_grad_by_freq)
    if per_sample_weights is not None:
        values = ops.multiply(values, ops.reshape(ops.take(per_sample_weights, used, axis=0), (-1, 1)))
    total = ops.index_add(np.zeros(call.shape), bag, values, axis=0)
    if mode == MEAN:
        total = ops.divide(total, np.maximum(counts, 1).astype(np.float64)[:, None])
    return (total, None, None, None)


def _greatest(call: CallSite, weight: Any, rows: Any, bag: Any, counts: Any) -> Any:
    """The greatest entry of each column over the rows of each bag: the recorded ones, where they are that; otherwise
    our own maximum.
    """
    bags, width = call.shape
    filled = np.broadcast_to((counts > 0)[:, None], call.shape)
    recorded = call.outputs[3] if len(call.outputs) > 3 else None
    chosen = (rows[:, None] * width + np.arange(width)).ravel()
    target = (bag[:, None] * width + np.arange(width)).ravel()
    numbers = call.number_of(weight)
    best = np.full(bags * width, -np.inf)
    np.maximum.at(best, target, numbers.ravel()[chosen])
    flat = ops.reshape(weight, (weight.size,))
    if recorded is not None and np.shape(recorded) == call.shape:
        index = np.where(filled, recorded, 0)
        inside = np.isin(np.arange(bags)[:, None] * weight.shape[0] + index, bag * weight.shape[0] + rows)
        right = np.take_along_axis(numbers, index, axis=0) == best.reshape(call.shape)
        if ((inside & right) | ~filled).all():
            return ops.where(filled, ops.take_flat(flat, index * width + np.arange(width)), 0.0)
    greatest = over_groups(flat, chosen, target, bags * width, "amax")
    return ops.where(filled, ops.reshape(greatest, call.shape), 0.0)
