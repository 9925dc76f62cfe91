"""Lowering of connectionist temporal classification: minus the log of the sum over all alignments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...reference_engine import ops
from ...reference_engine.registry import PRIMITIVES, STRUCTURAL
from ...reference_engine.rounding import UNIT_ROUNDOFF
from .symmetry import HALF, STORED
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
    """Whether the probabilities of each row add up to 1, to within the rounding of the run that made them."""
    size, held = log_probs.shape[-1], call.made_in()
    u = UNIT_ROUNDOFF["float32" if held in HALF else held]
    # a logarithm of size l that is stored in a half precision moves its p by p l u, and Σ p l is at most log size
    stored = STORED * UNIT_ROUNDOFF[held] * (1.0 + math.log(size)) if held in HALF else 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.exp(np.asarray(call.number_of(log_probs))).sum(-1)
        return bool((np.abs(sums - 1.0) <= SUMMED * size * u + stored).all())


def _passed_a_softmax(log_probs: Any) -> bool:
    """Whether log-probabilities are the result of a log_softmax (or of log after softmax), moved about at most."""
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


def _with_probabilities(call: CallSite, losses: Any, log_probs: Any, numbers: Array, times: Array) -> Any:
    """The losses and the sums of the probabilities of the time steps that count, less what these are in numbers: the
    value is that of the losses, and so is the derivative in front of whatever holds each sum at 1.
    """
    finite = np.isfinite(np.asarray(call.outputs[0]).reshape(-1))
    counted = (np.arange(numbers.shape[0])[:, None] < times) & finite
    sums = ops.sum(ops.exp(log_probs) * counted[..., None].astype(float), axis=(0, 2))
    return losses + (sums - (np.exp(numbers) * counted[..., None]).sum((0, 2)))


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
    """-log Σ over alignments of the product of the probabilities along them: ∞, with derivative 0, if there is none.
    `zero_infinity` is seen to by a call that follows.

    PyTorch documents its input as log-probabilities, and adds the probabilities to the gradient: that of a number that
    is constant, 1, wherever they are normalised by what led to them. Where that is a log_softmax, the call is read so.
    Elsewhere, where they are normalised in numbers, it may be, and the gradients of the whole run decide.

    log_probs: (T, N, C) or (T, C) -> (N,) or (). The second output, PyTorch's table of the recursion, is as recorded.
    """
    single = log_probs.ndim == 2
    lengths, times = np.asarray(target_lengths).reshape(-1), np.asarray(input_lengths).reshape(-1)
    probs = ops.reshape(log_probs, (log_probs.shape[0], lengths.size, log_probs.shape[-1]))
    table = np.asarray(targets)
    labels = _extended(table.reshape(1, -1) if single else table, lengths, blank)
    losses = ops.ctc(probs, labels, times, lengths)
    if _is_normalised(call, log_probs) and (_passed_a_softmax(log_probs) or call.leaves_open()):
        call.follows("normalised-log-probabilities")
        numbers = np.asarray(call.number_of(log_probs)).reshape(probs.shape)
        losses = _with_probabilities(call, losses, probs, numbers, times)
    return ops.reshape(losses, call.shape), None
