"""Normalisation to mean 0 and unit variance over some axes: layer, batch, instance, group and RMS norms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ParameterError, ShapeError
from ..registry import same_dtype
from ..tracing import bind
from .declare import general
from .moments import STATISTICS, _centre, _mean, centre
from .reduction import count_along, filled, reduced, running_sum, spread_back, spread_of
from .scan import same
from .shape import axes_of, axis_of, reshape, shaped

BATCH = "Ioffe and Szegedy, Batch normalization, 2015, sec. 3; the rule by differentiating (x - m)(v + ε)^(-1/2)"


def _parts(x: Any, axes: tuple[int, ...], eps: float, centred: bool) -> tuple[Any, Any]:
    """(c, r): the data minus their mean (or as they are), and 1/√(mean c² + ε), with the axes kept."""
    c = _centre(x, axes) if centred else x
    with np.errstate(divide="ignore", invalid="ignore"):
        return c, 1.0 / np.sqrt(_mean(c * c, axes) + eps)


def _offset(x: Any, axes: tuple[int, ...], centred: bool) -> Any:
    """Variance of c beside its last rounding, in units of (0.4 u)²: that of the rounded mean, a sum in one chain."""
    if not centred:
        return np.zeros((1,) * x.ndim)
    n = count_along(x, axes)
    squares = np.add.reduce(np.abs(x) ** 2, axis=axes, keepdims=True)
    return running_sum(np.abs(_mean(x, axes) * n) ** 2, squares, n, lanes=1) / n**2


def _inverse_spread(x: Any, *, axes: tuple[int, ...], eps: float, centred: bool) -> Any:
    """r (relative): half that of v + ε, whose sum Σ c²/n runs in one chain and, in one-pass algorithms, is moved by
    2 c u |mean|."""
    c, r = _parts(x, axes, eps, centred)
    c2, n = np.abs(c) ** 2, count_along(x, axes)
    fourth, total = (np.add.reduce(t, axis=axes, keepdims=True) for t in (c2**2, c2))
    moved = 4.0 * total * _offset(x, axes, centred)
    relative = (running_sum(total**2, fourth, n, lanes=1) + 3.0 * fourth + moved) / n**2 * np.abs(r) ** 4
    return np.abs(r) ** 2 * (relative / 4.0 + 2.0)


def _inverse_vjp(g: Any, y: Any, x: Any, *, axes: tuple[int, ...], eps: float, centred: bool) -> Any:
    """x̄ = -g r³ c / n, multiplied in the order (g r) r (c r), which stays inside the range."""
    z = bind("standardize", x, axes=axes, eps=eps, centred=centred)
    return spread_back(bind("divide", -(g * y) * y, float(count_along(x, axes))), x, axes) * z


inverse_deviation = general(
    "inverse_deviation",
    lambda x, *, axes, eps, centred: _parts(x, axes, eps, centred)[1].reshape(reduced(x, axes)),
    lambda x, *, axes, eps, centred: (reduced(x, axes), same_dtype(x)),
    _inverse_vjp,
    torch=lambda names, params: _torch(names, params, "r.squeeze({axes})"),
    source=STATISTICS,
    accumulates=spread_of(
        lambda x, *, axes, eps, centred: _inverse_spread(x, axes=axes, eps=eps, centred=centred).reshape(
            reduced(x, axes)
        ),
        lambda x, *, axes, eps, centred: 2,
    ),
    draw=lambda pool: _draw_inverse(pool),
)


def _draw_inverse(pool: Any) -> Any:
    x = filled(pool)
    axes = pool.choice(((pool.axis(x.ndim),), tuple(range(x.ndim))))
    return inverse_deviation(x, axes=axes, eps=pool.choice((1e-5, 0.1)), centred=pool.choice((False, True)))


def _torch(names: Sequence[str], params: dict[str, Any], result: str) -> str:
    axes = params["axes"]
    c = f"x - x.mean({axes}, keepdim=True)" if params["centred"] else "x"
    scale = f"((c * c).mean({axes}, keepdim=True) + {params['eps']}).rsqrt()"
    body = f"(lambda c: (lambda r: {result.format(axes=axes)})({scale}))"
    return f"(lambda x: {body}({c}))({names[0]})"


def _layer_norm(names: Sequence[str], params: dict[str, Any]) -> str:
    """PyTorch's layer_norm (rms_norm without centring) over any axes: they are moved to the end and back."""
    axes = tuple(params["axes"])
    last = tuple(range(-len(axes), 0))
    call = f"torch.nn.functional.{'layer' if params['centred'] else 'rms'}_norm"
    moved = f"{call}(x.movedim({axes}, {last}), [x.shape[i] for i in {axes}], eps={params['eps']})"
    return f"(lambda x: {moved}.movedim({last}, {axes}))({names[0]})"


def _standardize(x: Any, *, axes: tuple[int, ...], eps: float, centred: bool) -> Any:
    c, r = _parts(x, axes, eps, centred)
    return c * r


def _standardize_spread(x: Any, *, axes: tuple[int, ...], eps: float, centred: bool) -> Any:
    """The rounding of r times c, of c times r, and of x r and m r in the form x r + (-m r)."""
    c, r = _parts(x, axes, eps, centred)
    inverse = _inverse_spread(x, axes=axes, eps=eps, centred=centred)
    if not centred:
        return np.abs(c) ** 2 * (np.abs(r) ** 2 + inverse)
    parts = np.abs(x) ** 2 + np.abs(_mean(x, axes)) ** 2
    return np.abs(c) ** 2 * inverse + np.abs(r) ** 2 * (parts + _offset(x, axes, centred))


def _standardize_vjp(g: Any, y: Any, x: Any, *, axes: tuple[int, ...], eps: float, centred: bool) -> Any:
    """x̄ = r (g - mean g - y mean(g y)); without centring the mean of g stays."""
    r = spread_back(inverse_deviation(x, axes=axes, eps=eps, centred=centred), x, axes)
    along = y * spread_back(bind("mean", g * y, axes=axes), x, axes)
    return r * ((centre(g, axes=axes) if centred else g) - along)


def _standardize_lossy(g: Any, y: Any, x: Any, *, axes: tuple[int, ...], eps: float, centred: bool) -> Any:
    """The same as r g + b x + c on data that are not centred: b = (m Σ g - Σ g x) r³/n, c = -b m - r Σ g / n.

    The sums, each in one chain, cancel where the mean m is large beside the deviation.
    """
    n = float(count_along(x, axes))
    r = inverse_deviation(x, axes=axes, eps=eps, centred=centred)
    m = bind("mean", x, axes=axes) if centred else 0.0
    total, along = (bind("sum_in_one_chain", t, axes=axes) for t in (g, g * x))
    b = bind("divide", (m * total - along) * r * r * r, n)
    c = -(b * m) - bind("divide", total * r, n) if centred else 0.0 * b
    return spread_back(r, x, axes) * g + spread_back(b, x, axes) * x + spread_back(c, x, axes)


def _standardize_tangent(g: Any, y: Any, x: Any, *, axes: tuple[int, ...], eps: float, centred: bool) -> Any:
    """The transpose of r (ẋ - mean ẋ) + c ṙ, ṙ = -r³ mean(c (ẋ - mean ẋ)), where r³ can leave the range."""
    r = inverse_deviation(x, axes=axes, eps=eps, centred=centred)
    c = centre(x, axes=axes) if centred else x
    slope = bind("mean", g * c, axes=axes) * (r * r * r)
    sent = g * spread_back(r, x, axes) - c * spread_back(slope, x, axes)
    return centre(sent, axes=axes) if centred else sent


general(
    "standardize",
    _standardize,
    same,
    _standardize_vjp,
    lossy=(_standardize_lossy,),
    lossy_tangent=(_standardize_tangent,),
    torch=lambda names, params: _layer_norm(names, params),
    source=BATCH,
    accumulates=spread_of(_standardize_spread, lambda x, *, axes, eps, centred: 2),
    draw=lambda pool: _draw_over(pool, standardize),
)


def standardize(x: Any, axis: Any = -1, eps: float = 1e-5) -> Any:
    """(x - mean) / √(var + ε) along `axis` (a number, several, None: all), var without correction.

    x: any shape -> the same. Dimensionless. ε has the unit of x².
    """
    x = shaped(x)
    return bind("standardize", x, axes=axes_of("standardize", axis, x.ndim), eps=float(eps), centred=True)


def rms_norm(x: Any, axis: Any = -1, weight: Any = None, eps: float = 1e-5) -> Any:
    """x / √(mean x² + ε) along `axis`, times `weight`.  x: any shape -> the same; weight broadcasts to it.

    Source: Zhang and Sennrich, Root mean square layer normalization, 2019.
    """
    x = shaped(x)
    y = bind("standardize", x, axes=axes_of("rms_norm", axis, x.ndim), eps=float(eps), centred=False)
    return _affine(y, weight, None)


def _affine(y: Any, weight: Any, bias: Any) -> Any:
    y = y if weight is None else bind("multiply", y, weight)
    return y if bias is None else bind("add", y, bias)


def _per_channel(operation: str, parameter: Any, x: Any, channel: int) -> Any:
    """A weight or bias of one number a channel, shaped to broadcast against x."""
    if parameter is None:
        return None
    parameter = shaped(parameter)
    n = x.shape[channel]
    if parameter.size != n:
        raise ShapeError(
            f"{operation}: a weight or bias has shape {parameter.shape} and x.shape={x.shape} has {n} channels; "
            "accepted is one number a channel. Check which axis holds the channels."
        )
    return reshape(parameter, [n if i == channel else 1 for i in range(x.ndim)])


def layer_norm(x: Any, axis: Any = -1, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """(x - mean) / √(var + ε) · weight + bias, statistics along `axis` of every sample.

    x: any shape -> the same; weight and bias broadcast to it. Source: Ba, Kiros and Hinton, Layer normalization, 2016.
    """
    return _affine(standardize(x, axis, eps), weight, bias)


def batch_norm(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    axis: int = 1,
    moments: tuple[Any, Any] | None = None,
) -> Any:
    """(x - mean) / √(var + ε) · weight + bias for every channel, the channels along `axis`.

    x: (n, channels, …) -> the same; weight, bias: (channels,). Statistics of this batch, without correction, or the
    given `moments` = (mean, variance) of (channels,), which count as data like any other. Raises ShapeError.
    """
    x = shaped(x)
    channel = axis_of("batch_norm", int(axis), x.ndim)
    if moments is None:
        y = standardize(x, tuple(i for i in range(x.ndim) if i != channel), eps)
    else:
        running, variance = (_per_channel("batch_norm", m, x, channel) for m in moments)
        y = bind("multiply", bind("subtract", x, running), bind("rsqrt", bind("add", variance, float(eps))))
    return _affine(y, _per_channel("batch_norm", weight, x, channel), _per_channel("batch_norm", bias, x, channel))


def group_norm(x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Layer normalisation of `groups` blocks of channels of every sample.

    x: (n, channels, …) -> the same; weight, bias: (channels,). Raises ParameterError unless `groups` divides the
    channels. Source: Wu and He, Group normalization, 2018.
    """
    x = shaped(x)
    if x.ndim < 2 or groups < 1 or x.shape[1] % groups:
        raise ParameterError(
            f"group_norm: groups={groups} for x.shape={x.shape}; accepted is a divisor of the number of channels, "
            "the second axis. Choose another number of groups."
        )
    blocks = reshape(x, (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]))
    y = reshape(standardize(blocks, tuple(range(2, blocks.ndim)), eps), x.shape)
    return _affine(y, _per_channel("group_norm", weight, x, 1), _per_channel("group_norm", bias, x, 1))


def instance_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Statistics of every channel of every sample alone.  x: (n, channels, …) -> the same; weight, bias: (channels,).

    Raises ShapeError below three axes. Source: Ulyanov, Vedaldi and Lempitsky, Instance normalization, 2016.
    """
    x = shaped(x)
    if x.ndim < 3:
        raise ShapeError(
            f"instance_norm: x.shape={x.shape}; accepted is (n, channels, …) with at least three axes. Add an axis."
        )
    y = standardize(x, tuple(range(2, x.ndim)), eps)
    return _affine(y, _per_channel("instance_norm", weight, x, 1), _per_channel("instance_norm", bias, x, 1))


def _draw_over(pool: Any, operation: Callable[..., Any]) -> Any:
    x = filled(pool)
    axes = pool.choice((-1, pool.axis(x.ndim), tuple(range(min(1, x.ndim - 1), x.ndim))))
    return pool.choice((operation, rms_norm))(x, axis=axes, eps=pool.choice((1e-5, 0.1)))


__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm", "standardize"]
