"""Connectionist temporal classification: the sum over all alignments of labels with time, and its posterior."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..registry import CONSTANT, FLOAT, NOT_WRITTEN, Accumulation
from ..tracing import bind
from .declare import general

GRAVES = "Graves et al., Connectionist Temporal Classification, 2006, eq. 6-16"
Array = np.ndarray[Any, Any]


def _emitted(log_probs: Array, labels: Array) -> Array:
    return np.take_along_axis(log_probs, np.broadcast_to(labels, (log_probs.shape[0], *labels.shape)), axis=2)


def _skips(labels: Array) -> Array:
    """0 where state s may follow state s - 2 (a label, other than the one before), -∞ where not."""
    blank = labels[:, :1]
    open_ways = np.zeros(labels.shape, dtype=bool)
    open_ways[:, 2:] = (labels[:, 2:] != blank) & (labels[:, 2:] != labels[:, :-2])
    return np.where(open_ways, 0.0, -np.inf)


def _moved(x: Array, by: int) -> Array:
    """x[:, s - by], -∞ where there is none."""
    y = np.full(x.shape, -np.inf)
    if by > 0:
        y[:, by:] = x[:, :-by]
    else:
        y[:, :by] = x[:, -by:]
    return y


def _ends(shape: tuple[int, int], lengths: Array) -> Array:
    """0 at the last label and the blank after it, -∞ elsewhere."""
    places = np.arange(shape[1])[None, :]
    last = 2 * lengths[:, None]
    return np.where((places == last) | ((places == last - 1) & (last > 0)), 0.0, -np.inf)


def _forward(log_probs: Array, labels: Array, times: Array, lengths: Array) -> tuple[Array, Array]:
    """α: (T, N, S) and log Σ over alignments: (N,)."""
    emitted, skips = _emitted(log_probs, labels), _skips(labels)
    alpha = np.full(emitted.shape, -np.inf)
    alpha[0, :, :2] = emitted[0, :, :2]
    for t in range(1, emitted.shape[0]):
        before = alpha[t - 1]
        ways = np.logaddexp(before, _moved(before, 1))
        if labels.shape[1] > 2:
            ways = np.logaddexp(ways, _moved(before, 2) + skips)
        alpha[t] = emitted[t] + ways
    final = alpha[times - 1, np.arange(times.size)] + _ends(labels.shape, lengths)
    return alpha, np.logaddexp.reduce(final, axis=1)


def _backward(log_probs: Array, labels: Array, times: Array, lengths: Array) -> Array:
    """β: (T, N, S), the logarithm of the sum over what may follow state s after time t."""
    emitted, skips = _emitted(log_probs, labels), _skips(labels)
    ends = _ends(labels.shape, lengths)
    beta = np.full(emitted.shape, -np.inf)
    for t in range(emitted.shape[0] - 1, -1, -1):
        if t + 1 < emitted.shape[0]:
            after = beta[t + 1] + emitted[t + 1]
            ways = np.logaddexp(after, _moved(after, -1))
            if labels.shape[1] > 2:
                ways = np.logaddexp(ways, _moved(after + skips, -2))
            beta[t] = ways
        beta[t] = np.where((times == t + 1)[:, None], ends, beta[t])
    return beta


def _loss(log_probs: Array, labels: Array, times: Array, lengths: Array) -> Array:
    return np.asarray(-_forward(log_probs, labels, times, lengths)[1])


def _shares(log_probs: Array, labels: Array, times: Array, lengths: Array) -> tuple[Array, Array]:
    """Posterior of state s at time t: (T, N, S), 0 where no alignment exists, and the variance of its rounding.

    exp(α + β - log Z) is off by the rounding of the exponent, which has gone through up to T additions.
    """
    alpha, total = _forward(log_probs, labels, times, lengths)
    beta = _backward(log_probs, labels, times, lengths)
    with np.errstate(invalid="ignore"):
        share = np.exp(alpha + beta - total[None, :, None])
        size = np.square(alpha) + np.square(beta) + np.square(total)[None, :, None] + 1.0
    reached = np.isfinite(alpha) & np.isfinite(beta) & np.isfinite(total)[None, :, None]
    share = np.where(reached, share, 0.0)
    return share, np.square(share) * np.where(reached, size, 0.0) * log_probs.shape[0]


def _by_class(states: Array, labels: Array, classes: int) -> Array:
    """Sum over the states of one class: (T, N, S) -> (T, N, C)."""
    y = np.zeros((*states.shape[:2], classes))
    for s in range(labels.shape[1]):
        y[:, np.arange(labels.shape[0]), labels[:, s]] += states[:, :, s]
    return y


def _posterior(log_probs: Array, labels: Array, times: Array, lengths: Array) -> Array:
    return _by_class(_shares(log_probs, labels, times, lengths)[0], labels, log_probs.shape[2])


def _posterior_squares(log_probs: Array, labels: Array, times: Array, lengths: Array) -> Array:
    return _by_class(_shares(log_probs, labels, times, lengths)[1], labels, log_probs.shape[2])


# Its own derivative is the covariance of pairs of states along an alignment.
ctc_posterior = general(
    "ctc_posterior",
    _posterior,
    lambda log_probs, labels, times, lengths: (log_probs.shape, FLOAT),
    NOT_WRITTEN,
    CONSTANT,
    CONSTANT,
    CONSTANT,
    source=GRAVES,
    integers=frozenset({1, 2, 3}),
    ulps=2.0,
    accumulates=Accumulation(lambda *xs: 2, _posterior_squares),
)


def _ctc_vjp(g: Any, y: Any, log_probs: Any, labels: Any, times: Any, lengths: Any) -> Any:
    """-g posterior: each time step pays for the classes it is aligned with."""
    weights = bind("reshape", g, shape=(1, *g.shape, 1))
    return -(weights * ctc_posterior(log_probs, labels, times, lengths))


alignments = general(
    "ctc",
    _loss,
    lambda log_probs, labels, times, lengths: (times.shape, FLOAT),
    _ctc_vjp,
    CONSTANT,
    CONSTANT,
    CONSTANT,
    torch="torch.nn.functional.ctc_loss({0}, {1}[:, 1::2], {2}, {3}, blank=int({1}[0, 0]), reduction='none')",
    source=GRAVES,
    integers=frozenset({1, 2, 3}),
    ulps=2.0,
    accumulates=Accumulation(lambda *xs: 2, lambda x, *rest: x.shape[0] * np.square(_loss(x, *rest))),
)


def ctc(log_probs: Any, labels: Any, times: Any, lengths: Any) -> Any:
    """-log Σ over alignments of the product of probabilities along them, one number a sequence; ∞ where there is none.

    log_probs: (T, N, C); labels: (N, 2 L + 1) with a blank before, between and after the labels; times: (N,), how many
    time steps count; lengths: (N,), how many labels count  ->  (N,). Where there is no alignment the derivative is 0.
    """
    return bind("ctc", log_probs, labels, times, lengths)
