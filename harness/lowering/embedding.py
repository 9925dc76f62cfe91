"""Lowerings of embedding tables and bags of their rows.

Two parameters change PyTorch's gradient on purpose, not the value: padding_idx (its row gets none) and
scale_grad_by_freq (a row's gradient is divided by
how often it is used). The meaning here is the derivative of the value; both are documented conventions of PyTorch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference_engine import ops
from .scatter import over_groups
from .table import CallSite, lowers

SUM, MEAN, MAX = 0, 1, 2


@lowers("aten::embedding")
def embedding(call: CallSite, weight: Any, indices: Any, *_: Any) -> Any:
    """weight[indices]."""
    return ops.embedding(weight, np.asarray(indices))


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
    values = ops.embedding(weight, rows)
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
