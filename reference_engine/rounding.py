"""How far each result can drift in a given precision, measured by Monte Carlo arithmetic instead of chosen.

The program runs m more times with every computed value multiplied by 1 + 0.4 u ξ, ξ standard normal, u the unit
roundoff; sums drift by their running sums. Sources: Parker, Monte Carlo Arithmetic, 1997; Denis, de Oliveira Castro
and Petit, Verificarlo, 2016; Higham, Accuracy and Stability of Numerical Algorithms, sec. 4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .evaluate import Plan
from .program import Equation, Variable
from .registry import PRIMITIVES, Accumulation, Array, Primitive

UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}
SMALLEST = {"float64": 2.0**-1074, "float32": 2.0**-149, "bfloat16": 2.0**-133, "float16": 2.0**-24}
# Noise of one float64 roundoff would itself be rounded away when it is added to a float64 result. It is made this much
# larger, and the spread, linear in it, divided by as much; in lower precisions nothing is lost.
MAGNIFIED = {"float64": 64.0}
SQUARES_FROM, SQUARES_TO = 2.0**-960, 2.0**960  # sums of squares that are normal numbers, with a margin for products
NOISE = 0.4  # standard deviation of one rounding in units of u; a uniform error on [-u/2, u/2]·(1..2) has 0.29 to 0.58
DISTURBED = 2.0**-26  # √u of float64: a disturbance and its effect both keep half of the digits

Observer = Callable[[Primitive, Equation, list[Any], Any], Any]


@dataclass(frozen=True)
class Rounding:
    """How one variable is rounded: `computed` names the precision that its equation works in, `stored` the shorter one
    that its result is then rounded to (None: kept as computed)."""

    computed: str
    stored: str | None = None


def drift(primitive: Primitive, arguments: Sequence[Any], params: dict[str, Any], result: Any, u: float) -> Any:
    """Standard deviation of the rounding error of one result, entry by entry; 0.0 where nothing rounds.

    One rounding: 0.4 u |y|. A sum of k terms added in n = k/c chains of c has the variance
    0.16 u² [y²(1 + c/(3n)) + Σx²(1 + c/2)]. What is not linear in u is added as declared.
    """
    if primitive.ulps == 0.0 or result.dtype.kind not in "fc":
        return 0.0
    size = np.abs(result)
    if primitive.accumulates is None:
        return NOISE * u * primitive.ulps * size
    a = primitive.accumulates
    k = a.terms(*arguments, **params)
    if k <= 1:
        return NOISE * u * primitive.ulps * size
    c = min(k, a.chain)
    n = k / c
    own = 1.0 + c / (3.0 * n)
    scale = np.maximum(_length(a, arguments, params, size, own, 1.0 + c / 2.0), size * np.sqrt(own))
    if not np.isfinite(scale).all():  # squares of numbers above 1e154: as for terms of one sign, whose squares are ≤ y²
        scale = np.where(np.isfinite(scale), scale, size * np.sqrt(own + 1.0 + c / 2.0))
    linear = NOISE * u * primitive.ulps * scale
    return linear if a.beyond is None else linear + a.beyond(NOISE * u, *arguments, **params)


def _length(
    a: Accumulation, arguments: Sequence[Any], params: dict[str, Any], size: Array, own: float, by: float
) -> Any:
    """√(own y² + by Σx²), also where the squares leave the range of float64 (numbers below 1e-154, above 1e154).

    There the sum of squares is formed in long double, whose exponent is wider on x86; elsewhere it stays as it is.
    """
    if a.length is not None:
        return np.hypot(size * np.sqrt(own), a.length(*arguments, **params) * np.sqrt(by))
    squares = a.squares(*arguments, **params)
    if np.all((squares > SQUARES_FROM) & (squares < SQUARES_TO)):
        return np.sqrt(size * size * own + squares * by)
    floats = [np.abs(x[(x != 0.0) & np.isfinite(x)]) for x in arguments if x.dtype.kind == "f"]
    least = [float(np.log2(np.min(x, initial=1.0))) for x in floats]
    most = [float(np.log2(np.max(x, initial=1.0))) for x in floats]
    if 2.0 * sum(least) < np.log2(SQUARES_FROM) or 2.0 * sum(most) > np.log2(SQUARES_TO):
        wide = [x.astype(np.longdouble) if x.dtype.kind == "f" else x for x in arguments]
        squares = a.squares(*wide, **params)
        size = size.astype(np.longdouble)
    return np.sqrt(size * size * own + squares * by).astype(np.float64)


class Noise:
    """An observer for `Plan.observe` that disturbs every result as rounding in `dtype` would, `magnified` times.

    reordered: sums of two are disturbed by a rounding of their larger term, as where they are added in another order.
    roundings: of single variables, where kernels compute in one precision and store in another; the others are computed
    and stored in `dtype`.
    """

    def __init__(
        self,
        dtype: str,
        rng: np.random.Generator,
        magnified: float | None = None,
        reordered: bool = False,
        roundings: Mapping[Variable, Rounding] | None = None,
    ) -> None:
        self.dtype = dtype
        self.reordered = reordered
        self.roundings = roundings
        self.magnified = MAGNIFIED.get(dtype, 1.0) if magnified is None else magnified
        self.u = UNIT_ROUNDOFF[dtype] * self.magnified
        # Below the normal range a result is rounded to a multiple of the smallest number, whatever its size.
        self.smallest = SMALLEST[dtype] * self.magnified
        # float64 is not looked at: no number of ours lies between its multiples.
        self.normal = SMALLEST[dtype] / (2.0 * UNIT_ROUNDOFF[dtype])
        self.checks_range = dtype != "float64"
        self.rng = rng

    def __call__(self, primitive: Primitive, equation: Equation, arguments: list[Any], result: Any) -> Any:
        if isinstance(result, tuple):
            if self.roundings is not None:
                pairs = zip(result, equation.outputs, strict=True)
                return tuple(self._stored(primitive, equation, arguments, r, self.roundings.get(v)) for r, v in pairs)
            return tuple(self(primitive, equation, arguments, r) for r in result)
        if self.roundings is not None:
            rounding = self.roundings.get(equation.outputs[0])
            return self._stored(primitive, equation, arguments, result, rounding)
        s = drift(primitive, arguments, equation.params, result, self.u)
        if isinstance(s, float) and s == 0.0:
            return result
        if self.reordered and primitive.name in ("add", "subtract"):
            s = np.maximum(s, NOISE * self.u * np.maximum(np.abs(arguments[0]), np.abs(arguments[1])))
        if self.checks_range and primitive.ulps > 0.0:
            size = np.abs(result)
            if np.min(size, initial=np.inf) < self.normal:
                s = np.where((size < self.normal) & (size > 0.0), np.maximum(s, NOISE * self.smallest), s)
        return self._moved(result, s)

    def _stored(
        self, primitive: Primitive, equation: Equation, arguments: list[Any], result: Any, rounding: Rounding | None
    ) -> Any:
        """The result as computed in one precision and rounded once to another."""
        if primitive.ulps == 0.0 or result.dtype.kind not in "fc":
            return result
        rounding = rounding or Rounding(self.dtype)
        u = UNIT_ROUNDOFF[rounding.computed]
        s = drift(primitive, arguments, equation.params, result, u * self.magnified)
        size = np.abs(result)
        last = rounding.stored or rounding.computed
        v = UNIT_ROUNDOFF[last]
        if rounding.stored is not None:
            s = np.hypot(s, NOISE * v * self.magnified * size)
        if self.reordered and primitive.name in ("add", "subtract"):
            larger = np.maximum(np.abs(arguments[0]), np.abs(arguments[1]))
            s = np.maximum(s, NOISE * v * self.magnified * larger)
        below = (size < SMALLEST[last] / (2.0 * v)) & (size > 0.0)
        return self._moved(result, np.where(below, np.maximum(s, NOISE * SMALLEST[last] * self.magnified), s))

    def _moved(self, result: Any, s: Any) -> Any:
        noise = s * self.rng.standard_normal(np.shape(result), np.float32)
        return np.where(np.isfinite(noise), result + noise, result)


def spread(
    plan: Plan,
    given: Sequence[Any],
    dtype: str,
    *,
    samples: int = 16,
    seed: int = 0,
    under: Observer | None = None,
    magnified: float | None = None,
    reordered: bool = False,
) -> tuple[list[Array], list[Array]]:
    """Exact outputs, and the root mean square by which rounding in `dtype` moves them.

    plan, given: as for Plan.run. samples: m, number of disturbed runs. under: an observer for `Plan.observe` that
    changes results before they are disturbed (another choice at a kink). magnified: how much larger the noise is made,
    and the spread smaller; 1 where a decision may turn with the rounding, which is not linear in it. reordered: as for
    Noise. Returns two lists of arrays with the shapes of the outputs; the unit is that of the outputs. Where a
    disturbed run is not finite and
    the exact one is, the spread is inf.
    """
    exact = [np.asarray(y) for y in (plan.run(given) if under is None else plan.observe(given, under))]
    moved = [np.zeros(y.shape) for y in exact]  # root of the sum of squares, which may lie below the smallest float
    rng = np.random.default_rng(seed)
    noise = Noise(dtype, rng, magnified, reordered, plan.roundings)
    disturb: Observer = noise if under is None else lambda p, e, xs, r: noise(p, e, xs, under(p, e, xs, r))
    with np.errstate(all="ignore"):
        for _ in range(samples):
            for total, y, r in zip(moved, exact, plan.observe(given, disturb), strict=True):
                if y.dtype.kind in "fc":
                    total[...] = np.hypot(total, np.where(np.isfinite(y), np.abs(np.asarray(r) - y), 0.0))
    return exact, [np.where(np.isnan(q), np.inf, q / np.sqrt(samples) / noise.magnified) for q in moved]


def made_of(plan: Plan, given: Sequence[Any], *, samples: int = 4, seed: int = 0) -> list[Array]:
    """The size of what each output is made of: how far it moves when every number of the program does, over how far
    these move relative to themselves.

    At least about |y| for a number that is computed; Σ|terms| and the like where terms cancel, also those that data
    movement alone has made (copies of one cotangent). Numbers without a shape that are given stay as they are: 1 in
    1 - x is no number that is known to some digits only. Shapes and unit are those of the outputs.
    """
    exact = [np.asarray(y) for y in plan.run(given)]
    squares = [np.zeros(y.shape) for y in exact]
    rng = np.random.default_rng(seed)

    def moved(x: Any) -> Any:
        if isinstance(x, tuple):
            return tuple(moved(part) for part in x)
        if np.asarray(x).dtype.kind not in "fc":
            return x
        return x * (1.0 + DISTURBED * rng.standard_normal(np.shape(x)))

    with np.errstate(all="ignore"):
        for _ in range(samples):
            start = [moved(x) if np.ndim(x) else x for x in given]
            for total, y, r in zip(squares, exact, plan.observe(start, lambda p, e, xs, r: moved(r)), strict=True):
                if y.dtype.kind in "fc":
                    step = np.abs(np.asarray(r) - y) / DISTURBED
                    total[...] = np.hypot(total, np.where(np.isfinite(step), step, 0.0))
    return [total / np.sqrt(samples) for total in squares]


def rounds_last(plan: Plan, dtype: str) -> list[float]:
    """For each output, the unit roundoff u of a rounding that every entry of it is the result of, so that its spread is
    at least 0.4 u |y|; 0 where there is none.

    Data movement is looked through; an output that may hold an entry of an input or constant as given is not counted.
    dtype: of what has no rounding of its own in `plan.roundings`.
    """
    rounded: dict[Variable, float] = {}
    roundings = plan.roundings or {}
    for e in plan.equations:
        primitive = PRIMITIVES[e.primitive]
        for v in e.outputs:
            if primitive.ulps > 0.0:
                own = roundings.get(v) or Rounding(dtype)
                known = own.stored is not None or primitive.ulps >= 1.0
                rounded[v] = UNIT_ROUNDOFF[own.stored or own.computed] if known else 0.0
            else:
                sources = [w for w in e.inputs if w.dtype.kind in "fc"]
                rounded[v] = min((rounded.get(w, 0.0) for w in sources), default=0.0)
    slots = {plan.slot[v]: r for v, r in rounded.items()}
    return [slots.get(i, 0.0) for i in plan.outputs]
