"""Lowering of connectionist temporal classification: minus the log of the sum over all alignments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...reference_engine import ops
from ...reference_engine.registry import PRIMITIVES, STRUCTURAL
from ...reference_engine.rounding import UNIT_ROUNDOFF
from .table import CallSite, lowers

Array = np.ndarray[Any, Any]

# A sum of probabilities is 1 to within the roundings of its terms; each was the exponential of a rounded logarithm,
# which is off by that of its size.
SUMMED = 64.0


def _extended(targets: Array, lengths: Array, blank: int) -> Array:
    """Labels with blanks before, between and after, one row a sequence, padded with blanks: (N, 2 L + 1)."""
    longest = int(lengths.max(initial=0))
    labels = np.full((lengths.size, 2 * longest + 1), blank, dtype=np.int64)
    start = 0
    for n, length in enumerate(lengths):
        row = targets[n, :length] if targets.ndim == 2 else targets[start : start + length]
        start += length
        labels[n, 1 : 2 * length : 2] = row
    return labels


def _is_normalised(call: CallSite, log_probs: Any) -> bool:
    """Whether log-probabilities are the result of a log_softmax (or of log after softmax) along their last axis, moved
    about at most.
    """
    size = log_probs.shape[-1]
    sums = np.exp(np.asarray(call.number_of(log_probs))).sum(-1)
    with np.errstate(invalid="ignore"):
        if not (np.abs(sums - 1.0) <= SUMMED * size * UNIT_ROUNDOFF[call.dtype]).all():
            return False
    made = {e.outputs[0]: e for e in log_probs.builder.equations}
    at, last = log_probs.variable, ""
    while at in made:
        e = made[at]
        if e.primitive == "log_softmax" or (e.primitive == "softmax" and last == "log"):
            return True
        if e.primitive != "log" and PRIMITIVES[e.primitive].kind != STRUCTURAL:
            return False
        at, last = e.inputs[0], e.primitive
    return False


@lowers("aten::_ctc_loss")
def ctc_loss(
    call: CallSite,
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    zero_infinity: bool = False,
) -> Any:
    """-log Σ over alignments of the product of the probabilities along them; infinite ones 0 with `zero_infinity`.

    PyTorch documents its input as log-probabilities, and gives the gradient that is right behind a log_softmax: the
    same as for ctc(log_softmax(log_probs)), whose value is the same. Behind one it is read so.

    log_probs: (T, N, C) or (T, C) -> (N,) or (). The second output, PyTorch's table of the recursion, is as recorded.
    """
    single = log_probs.ndim == 2
    lengths, times = np.asarray(target_lengths).reshape(-1), np.asarray(input_lengths).reshape(-1)
    probs = ops.reshape(log_probs, (log_probs.shape[0], lengths.size, log_probs.shape[-1]))
    if _is_normalised(call, log_probs):
        call.follows("normalised-log-probabilities")
        probs = ops.log_softmax(probs, axis=-1)
    table = np.asarray(targets)
    labels = _extended(table.reshape(1, -1) if single else table, lengths, blank)
    losses = ops.ctc(probs, labels, times, lengths)
    if zero_infinity:
        losses = ops.where(ops.equal(losses, math.inf), 0.0, losses)
    return ops.reshape(losses, call.shape), None
