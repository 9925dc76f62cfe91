"""`choice`: the one place where a rule leaves open which of several legitimate derivatives it returns.

At a kink the generalised derivative is a set. A rule writes `choice(mask, default)`, a weight θ in [0, 1] at the
entries of `mask`; `default` is the documented choice of this engine (the element of least norm), and `generalized`
evaluates the same program with other weights to see the whole set.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..registry import CONSTANT, FLOAT, GENERAL, PRIMITIVES, Array, Primitive
from ..tracing import Tracer, bind


def _infer(mask: Any, **params: Any) -> Any:
    return mask.shape, FLOAT


def even_shares(mask: Any, axes: tuple[int, ...], out: Array | None = None) -> Array:
    """1 / (number of true entries along `axes`) where the mask is true, else 0; cheap where there are no ties."""
    few = math.prod([mask.shape[i] for i in axes]) < 256
    count = np.add.reduce(mask.view(np.uint8), axis=axes, dtype=np.uint8 if few else np.int64, keepdims=True)
    shares: Array = np.add(mask, 0.0, out=out)
    return shares if count.max(initial=0) <= 1 else np.divide(shares, np.maximum(count, 1), out=shares)


PRIMITIVES.declare(
    Primitive(
        name="choice",
        # One number seen through strides of 0: as cheap as nothing where no other choice is asked for. `view` keeps its
        # memory from being written to.
        forward=lambda mask, *, default, site: np.broadcast_to(np.float64(default), np.shape(mask)),
        view=True,
        infer=_infer,
        rules=(CONSTANT,),
        kind=GENERAL,
        source="Clarke, Optimization and Nonsmooth Analysis, sec. 2.1",
        ulps=0.0,
        sites=True,
    )
)
PRIMITIVES.declare(
    Primitive(
        name="tie_weights",
        forward=lambda mask, *, axes, site, out=None: even_shares(mask, axes, out),
        ufunc=True,
        infer=_infer,
        rules=(CONSTANT,),
        kind=GENERAL,
        source="Clarke, Optimization and Nonsmooth Analysis, prop. 2.3.12",
        ulps=1.0,
        sites=True,
    )
)


def _site(mask: Any) -> int:
    """The number of the forward equation whose rule is being written; rules of one equation share their choice."""
    return mask.builder.site if type(mask) is Tracer else 0


def choice(mask: Any, default: float) -> Any:
    """θ in [0, 1] at the entries of the Boolean `mask`, a constant under differentiation; `default` unless another
    choice is asked for.

    mask: any shape -> the same shape. Dimensionless.
    """
    return bind("choice", mask, default=float(default), site=_site(mask))


def tie_weights(mask: Any, axes: tuple[int, ...]) -> Any:
    """Weights ≥ 0 that are 0 off the Boolean `mask` and sum to 1 along `axes`; all tied entries equal by default.

    mask: any shape -> the same shape. Dimensionless.
    """
    return bind("tie_weights", mask, axes=axes, site=_site(mask))


def is_everywhere(weight: Any, number: float) -> bool:
    """Whether a weight is the plain default `number` seen through strides of 0, or empty."""
    return not weight.size or (not any(weight.strides) and weight.flat[0] == number)
