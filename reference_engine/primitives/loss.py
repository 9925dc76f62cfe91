"""Losses between a prediction and a target: squared difference, and cross entropies without cancellation."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from ..registry import Accumulation
from .arithmetic import reciprocal, square, where
from .comparison import greater_equal, less_equal, logical_and
from .declare import elementwise
from .exponential import log, log1p, sigmoid, softplus

# A second derivative 2 (ȧ - ḃ) may be formed as 2 ȧ - 2 ḃ, which loses digits where the two directions are close.
squared_difference = elementwise(
    "squared_difference",
    lambda a, b: np.square(a - b),
    lambda y, a, b: 2.0 * (a - b),
    lambda y, a, b: -2.0 * (a - b),
    lossy=(lambda y, a, b: 2.0 * a - 2.0 * b, lambda y, a, b: 2.0 * b - 2.0 * a),
    torch="(({0} - {1}) ** 2)",
    source="Spivak, Calculus, ch. 10; (u²)' = 2u u'",
    ulps=3.0,
)

LOWEST = -100.0  # logarithms in the cross entropy are cut off here, so that the loss stays finite at 0 and 1
NEAREST = float(np.exp(LOWEST))  # the probability at which they are


def _cut_log(x: Any) -> Any:
    return np.maximum(np.log(x), LOWEST)


def _cut_log1p(x: Any) -> Any:
    return np.maximum(np.log1p(x), LOWEST)


def _cross_entropy(x: Any, t: Any) -> Any:
    with np.errstate(divide="ignore"):
        return -(t * _cut_log(x) + (1.0 - t) * _cut_log1p(-x))


# (x - t)/(x (1 - x)) is accurate where t is near x, its derivative t/x² + (1 - t)/(1 - x)² has only positive terms.
balance = elementwise(
    "cross_entropy_slope",
    lambda x, t: (x - t) / (x * (1.0 - x)),
    lambda y, x, t: t / square(x) + (1.0 - t) / square(1.0 - x),
    lambda y, x, t: -reciprocal(x * (1.0 - x)),
    torch="(({0} - {1}) / ({0} * (1 - {0})))",
    source="Bishop, Pattern Recognition and Machine Learning, eq. 4.91; -(t/x) + (1 - t)/(1 - x)",
    draw=False,
    ulps=3.0,
)


def _cross_entropy_slope(y: Any, x: Any, t: Any) -> Any:
    """(x - t)/(x (1 - x)); on [0, e⁻¹⁰⁰) the cut logarithm of x stands still, and at 1 that of 1 - x."""
    inside = logical_and(greater_equal(x, NEAREST), less_equal(x, 1.0 - 2.0**-53))
    p = where(inside, x, 0.5)
    low = greater_equal(0.5, x)
    at_end = where(low, (1.0 - t) / (1.0 - x), -t / where(low, 1.0, x))
    return where(inside, balance(p, t), at_end)


def _cross_entropy_target_slope(y: Any, x: Any, t: Any) -> Any:
    """max(log(1 - x), -100) - max(log x, -100)."""
    kept, spared = greater_equal(x, NEAREST), less_equal(x, 1.0 - 2.0**-53)
    first = where(kept, log(where(kept, x, 1.0)), LOWEST)
    second = where(spared, log1p(-where(spared, x, 0.0)), LOWEST)
    return second - first


binary_cross_entropy = elementwise(
    "binary_cross_entropy",
    _cross_entropy,
    _cross_entropy_slope,
    _cross_entropy_target_slope,
    torch="torch.nn.functional.binary_cross_entropy({0}, {1}, reduction='none')",
    source="Bishop, Pattern Recognition and Machine Learning, eq. 4.90, with logarithms cut off at -100",
    draw=False,
    ulps=3.0,
    accumulates=Accumulation(
        lambda x, t: 2, lambda x, t: np.square(t * _cut_log(x)) + np.square((1.0 - t) * _cut_log1p(-x))
    ),
)


def _logit_terms(x: Any, t: Any, w: Any) -> Any:
    """Squares of the terms of (1 - t) x - (1 + (w - 1) t) log σ(x), a form that cancels for x far below 0."""
    return np.square((1.0 - t) * x) + np.square((1.0 + (w - 1.0) * t) * special.log_expit(x))


# Both terms of (1 - t) softplus(x) + w t softplus(-x) are positive, and so nothing cancels.
cross_entropy_with_logits = elementwise(
    "cross_entropy_with_logits",
    lambda x, t, w: (1.0 - t) * np.logaddexp(x, 0.0) + w * t * np.logaddexp(-x, 0.0),
    lambda y, x, t, w: (1.0 - t) * sigmoid(x) - w * t * sigmoid(-x),
    lambda y, x, t, w: (w - 1.0) * softplus(-x) - x,
    lambda y, x, t, w: t * softplus(-x),
    lossy=(
        lambda y, x, t, w: (1.0 + (w - 1.0) * t) * sigmoid(x) - w * t,
        lambda y, x, t, w: w * softplus(-x) - softplus(x),
        lambda y, x, t, w: t * softplus(-x),
    ),
    torch="torch.nn.functional.binary_cross_entropy_with_logits({0}, {1}, pos_weight={2}, reduction='none')",
    source="Bishop, Pattern Recognition and Machine Learning, eq. 4.90, with the logistic sigmoid put in",
    draw=False,
    ulps=3.0,
    accumulates=Accumulation(lambda x, t, w: 2, _logit_terms),
)
