"""The driver programs: small callables that meet one operation each, with inputs drawn so that its faults can show.

A program is `build(draw, elements) -> (fn, inputs)`: float64 inputs of about `elements` entries in all, and a function
of them alone. What it closes over follows the dtype of its inputs, so that one program serves every precision.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from typing import Any

import torch
import torch.nn.functional as F

Built = tuple[Callable[..., Any], tuple[torch.Tensor, ...]]
Build = Callable[["Draw", int], Built]
PROGRAMS: dict[str, Build] = {}


class Draw:
    """Random numbers from one seed, in float64."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.generator, dtype=torch.float64)

    def integers(self, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(high, shape, generator=self.generator)

    def with_some(self, x: torch.Tensor, *values: float) -> torch.Tensor:
        """`x` with one value after another at its first entries: zeros, ties, bounds."""
        flat = x.reshape(-1)
        flat[: len(values)] = torch.tensor(values, dtype=x.dtype)[: len(flat)]
        return flat.reshape(x.shape)


def program(name: str) -> Callable[[Build], Build]:
    """Enter a program under a name."""

    def enter(build: Build) -> Build:
        assert name not in PROGRAMS, name
        PROGRAMS[name] = build
        return build

    return enter


def square(n: int, least: int = 2) -> tuple[int, int]:
    """Two sides whose product is about n."""
    a = max(least, isqrt(n))
    return a, max(least, n // a)


def _unary(name: str, fn: Callable[[torch.Tensor], Any], low: float, high: float, *special: float) -> None:
    """An elementwise program on numbers between two bounds, with special values among them."""
    PROGRAMS[name] = lambda d, n: (fn, (d.with_some(d.uniform(low, high, n), *special),))


def _binary(name: str, fn: Callable[..., Any], a: tuple[float, float], b: tuple[float, float]) -> None:
    PROGRAMS[name] = lambda d, n: (fn, (d.uniform(*a, n), d.uniform(*b, n)))


for _name, _fn, _low, _high in (
    ("sin", torch.sin, -3.0, 3.0),
    ("cos", torch.cos, -3.0, 3.0),
    ("tan", torch.tan, -1.2, 1.2),
    ("asin", torch.asin, -0.9, 0.9),
    ("acos", torch.acos, -0.9, 0.9),
    ("atan", torch.atan, -3.0, 3.0),
    ("sinh", torch.sinh, -2.0, 2.0),
    ("cosh", torch.cosh, -2.0, 2.0),
    ("tanh", torch.tanh, -2.0, 2.0),
    ("asinh", torch.asinh, -3.0, 3.0),
    ("acosh", torch.acosh, 1.2, 4.0),
    ("atanh", torch.atanh, -0.9, 0.9),
    ("exp", torch.exp, -2.0, 2.0),
    ("exp2", torch.exp2, -2.0, 2.0),
    ("expm1", torch.expm1, -2.0, 2.0),
    ("log", torch.log, 0.2, 4.0),
    ("log2", torch.log2, 0.2, 4.0),
    ("log10", torch.log10, 0.2, 4.0),
    ("log1p", torch.log1p, -0.5, 4.0),
    ("sqrt", torch.sqrt, 0.2, 4.0),
    ("rsqrt", torch.rsqrt, 0.2, 4.0),
    ("reciprocal", torch.reciprocal, 0.2, 4.0),
    ("abs", torch.abs, -2.0, 2.0),
    ("cube", lambda x: x**3, 0.2, 2.0),
    ("erf", torch.erf, -2.0, 2.0),
    ("erfc", torch.erfc, -2.0, 2.0),
    ("erfinv", torch.erfinv, -0.9, 0.9),
    ("lgamma", torch.lgamma, 0.5, 4.0),
    ("logit", torch.logit, 0.1, 0.9),
    ("sigmoid", torch.sigmoid, -3.0, 3.0),
    ("logsigmoid", F.logsigmoid, -3.0, 3.0),
    ("softplus", F.softplus, -3.0, 3.0),
    ("gelu", F.gelu, -3.0, 3.0),
    ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"), -3.0, 3.0),
    ("silu", F.silu, -3.0, 3.0),
    ("mish", F.mish, -3.0, 3.0),
    ("elu", F.elu, -3.0, 3.0),
    ("celu", lambda x: F.celu(x, 1.5), -3.0, 3.0),
    ("selu", F.selu, -3.0, 3.0),
    ("leaky_relu", F.leaky_relu, -3.0, 3.0),
    ("hardtanh", lambda x: F.hardtanh(x, -1.0, 1.0), -3.0, 3.0),
    ("hardswish", F.hardswish, -5.0, 5.0),
    ("softshrink", F.softshrink, -3.0, 3.0),
    ("hardshrink", F.hardshrink, -3.0, 3.0),
    ("hard sigmoid of relu6", lambda x: F.relu6(x + 3.0) / 6.0, -5.0, 5.0),
    ("clamp", lambda x: torch.clamp(x, -1.0, 1.0), -3.0, 3.0),
    ("relu", torch.relu, -3.0, 3.0),
):
    _unary(_name, _fn, _low, _high)

# special values first, so that they are there at every size
_unary("relu at zero", torch.relu, -3.0, 3.0, 0.0, -0.0)
_unary("abs at zero", torch.abs, -3.0, 3.0, 0.0, 0.0)
_unary("hardtanh at its bounds", lambda x: F.hardtanh(x, -1.0, 1.0), -3.0, 3.0, -1.0, 1.0)
_unary("clamp at its bounds", lambda x: torch.clamp(x, -1.0, 1.0), -3.0, 3.0, -1.0, 1.0)
_unary("hardswish at its corners", F.hardswish, -5.0, 5.0, -3.0, 3.0)
_unary("sinc at zero", torch.sinc, -2.0, 2.0, 0.0)
_unary("elu at zero", F.elu, -3.0, 3.0, 0.0)
_unary("leaky_relu at zero", F.leaky_relu, -3.0, 3.0, 0.0)
_unary("square at zero", lambda x: x**2, -2.0, 2.0, 0.0)
_unary("power zero", lambda x: x**0.0 + x, 0.2, 2.0, 0.0)
_unary("tanh at zero", torch.tanh, -2.0, 2.0, 0.0)
_unary("log1p at zero", torch.log1p, -0.5, 2.0, 0.0)
_unary("expm1 at zero", torch.expm1, -2.0, 2.0, 0.0)
_unary("selected square root", lambda x: torch.where(x > 0, torch.sqrt(x.abs() + 0.5), 3 * x), -3.0, 3.0)
_unary("expm1 far left", torch.expm1, -14.0, 2.0, -17.0)
_unary("logsigmoid far right", F.logsigmoid, -3.0, 3.0, 40.0, 50.0)
_unary("softplus far right", F.softplus, -3.0, 3.0, 800.0, 19.0)
_unary("softplus far left", F.softplus, -3.0, 3.0, -800.0, -2.0)
_unary("sigmoid far right", torch.sigmoid, -3.0, 3.0, 20.0, 17.0)
_unary("silu far left", F.silu, -3.0, 3.0, -750.0, 750.0)
_unary("erfc far right", torch.erfc, -2.0, 2.0, 5.0)
_unary("atan far out", torch.atan, -3.0, 3.0, 1e160, -1e3)
_unary("tanh far out", torch.tanh, -3.0, 3.0, 12.0, -12.0)
_unary("log1p near zero", torch.log1p, -1e-9, 1e-9)
_unary("rsqrt of small numbers", torch.rsqrt, 1e-30, 1e-28)
_unary("sqrt of large numbers", torch.sqrt, 1e250, 1e300)
_unary("threshold", lambda x: F.threshold(x, 0.1, 20.0), -3.0, 3.0, 0.05)
_unary("softshrink at its bounds", F.softshrink, -3.0, 3.0, 0.5, -0.5)

for _name, _fn, _a, _b in (
    ("mul", torch.mul, (-2.0, 2.0), (-2.0, 2.0)),
    ("div", torch.div, (-2.0, 2.0), (0.5, 2.0)),
    ("sub", torch.sub, (-2.0, 2.0), (-2.0, 2.0)),
    ("pow", torch.pow, (0.2, 2.0), (-2.0, 2.0)),
    ("atan2", torch.atan2, (0.2, 2.0), (0.2, 2.0)),
    ("hypot", torch.hypot, (0.2, 2.0), (0.2, 2.0)),
    ("logaddexp", torch.logaddexp, (-2.0, 2.0), (-2.0, 2.0)),
    ("maximum", torch.maximum, (-2.0, 2.0), (-2.0, 2.0)),
    ("minimum", torch.minimum, (-2.0, 2.0), (-2.0, 2.0)),
    ("xlogy", torch.xlogy, (0.2, 2.0), (0.2, 2.0)),
    ("fmod", torch.fmod, (5.0, 9.0), (1.2, 1.3)),
    ("rsub", lambda a, b: torch.rsub(a, b, alpha=3), (-2.0, 2.0), (-2.0, 2.0)),
    ("mse_loss", F.mse_loss, (-2.0, 2.0), (-2.0, 2.0)),
    ("l1_loss", F.l1_loss, (-2.0, 2.0), (-2.0, 2.0)),
    ("smooth_l1_loss", lambda a, b: F.smooth_l1_loss(a, b, beta=0.7), (-2.0, 2.0), (-2.0, 2.0)),
    ("huber_loss", lambda a, b: F.huber_loss(a, b, delta=0.7), (-2.0, 2.0), (-2.0, 2.0)),
    ("binary_cross_entropy", F.binary_cross_entropy, (0.1, 0.9), (0.1, 0.9)),
    ("bce_with_logits", F.binary_cross_entropy_with_logits, (-2.0, 2.0), (0.1, 0.9)),
    ("kl_div", lambda a, b: F.kl_div(a, b, reduction="sum"), (-2.0, 0.0), (0.1, 0.9)),
    ("soft_margin_loss", lambda a, b: F.soft_margin_loss(a, torch.sign(b.detach())), (-2.0, 2.0), (-2.0, 2.0)),
    ("selection", lambda a, b: torch.where(a.detach() > 0, a, b), (-2.0, 2.0), (-2.0, 2.0)),
    ("dist", torch.dist, (-2.0, 2.0), (-2.0, 2.0)),
    (
        "complex product",
        lambda a, b: torch.mul(torch.complex(a, b), torch.complex(b, a)).imag,
        (-2.0, 2.0),
        (-2.0, 2.0),
    ),
    ("complex exponential", lambda a, b: torch.exp(torch.complex(a, b)).real, (-1.0, 1.0), (-1.0, 1.0)),
    ("complex angle", lambda a, b: torch.angle(torch.complex(a, b)), (0.2, 2.0), (0.2, 2.0)),
):
    _binary(_name, _fn, _a, _b)


def _at_first(name: str, fn: Callable[..., Any], first: tuple[float, ...], second: tuple[float, ...]) -> None:
    """A program of two arguments whose first entries are given."""
    PROGRAMS[name] = lambda d, n: (
        fn,
        (d.with_some(d.uniform(0.2, 2.0, n), *first), d.with_some(d.uniform(0.2, 2.0, n), *second)),
    )


_at_first("product with zeros", torch.mul, (0.0, 0.5), (0.7, 0.0))
_at_first("pow of base zero", torch.pow, (0.0, 0.0), (1.5, 2.5))
_at_first("xlogy at zero", torch.xlogy, (0.0,), (0.5,))
_at_first("maximum of ties", torch.maximum, (0.5, 0.7), (0.5, 0.7))
_at_first("huber_loss at equal arguments", lambda a, b: F.huber_loss(a, b, delta=0.7), (0.5,), (0.5,))
_at_first("logaddexp of large numbers", torch.logaddexp, (800.0, -800.0), (790.0, -790.0))
_at_first("hypot of large numbers", torch.hypot, (1e200, 1e-200), (1e200, 1e-200))
_at_first("bce_with_logits of large logits", F.binary_cross_entropy_with_logits, (800.0,), (0.4,))
_at_first("bce of certain outcomes", lambda a, b: F.binary_cross_entropy(a.sigmoid(), b * 0.5), (-3.0,), (0.0,))


@program("lerp")
def _(d: Draw, n: int) -> Built:
    return torch.lerp, (d.normal(n), d.normal(n), d.uniform(0.1, 0.9, n))


@program("addcmul")
def _(d: Draw, n: int) -> Built:
    return (lambda a, b, c: torch.addcmul(a, b, c, value=0.5)), (d.normal(n), d.normal(n), d.normal(n))


@program("addcdiv")
def _(d: Draw, n: int) -> Built:
    return (lambda a, b, c: torch.addcdiv(a, b, c, value=0.5)), (d.normal(n), d.normal(n), d.uniform(0.5, 2.0, n))


@program("same factor twice")
def _(d: Draw, n: int) -> Built:
    return (lambda x: x * x), (d.normal(n),)


@program("tanh of a transposed matrix")
def _(d: Draw, n: int) -> Built:
    rows, columns = square(n)
    return torch.tanh, (d.normal(columns, rows).t(),)


@program("sigmoid of a slice of a buffer of NaN")
def _(d: Draw, n: int) -> Built:
    whole = torch.full((2 * n,), float("nan"), dtype=torch.float64)
    whole[::2] = d.normal(n)
    return torch.sigmoid, (whole[::2],)


@program("product of expanded rows")
def _(d: Draw, n: int) -> Built:
    rows, columns = square(n)
    return (lambda a, b: a.expand(rows, columns) * b), (d.normal(1, columns), d.normal(rows, columns))


@program("outer product by broadcasting")
def _(d: Draw, n: int) -> Built:
    side = max(3, isqrt(n))
    return torch.mul, (d.normal(side, 1), d.normal(1, side))


@program("square matrix plus a row")
def _(d: Draw, n: int) -> Built:
    side = max(3, isqrt(n))
    return torch.add, (d.normal(side, side), d.normal(side))


@program("square matrix over a row")
def _(d: Draw, n: int) -> Built:
    side = max(3, isqrt(n))
    return torch.div, (d.normal(side, side), d.uniform(0.5, 2.0, side))


@program("masked matrix")
def _(d: Draw, n: int) -> Built:
    shape = square(n)
    mask = d.normal(*shape) > 0.5
    return (lambda x: x.masked_fill(mask, 2.0)), (d.normal(*shape),)


@program("masked row of a matrix")
def _(d: Draw, n: int) -> Built:
    rows, columns = square(n)
    x = d.normal(rows, columns)
    x[0, 1:] = float("-inf")
    return (lambda x: torch.softmax(x, -1)), (x,)
