"""Derivatives as limits, where rules have no number: 0 · ∞ in a composition whose one-sided derivatives exist.

The function itself, not its rules, is evaluated with many digits at x + h t for h → 0+, from every side. √(x²) at 0 has
the slopes -1 and 1 and no rule for either; √x √x has the one slope 1. Sources: Clarke, Optimization and Nonsmooth
Analysis, sec. 2.1; the extrapolation is Aitken's (DLMF 3.9.7), exact where the error is a power of h.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mpmath as mp
import numpy as np

from ...reference_engine.evaluate import arguments_of
from ...reference_engine.program import Equation, Program, Variable
from ...reference_engine.registry import ELEMENTWISE, FLOAT, PRIMITIVES, STRUCTURAL
from .exact_functions import EXACT

Array = np.ndarray[Any, Any]

DIGITS = 200  # of every number: the greatest order is 3, and a difference of order 3 loses 3 · 36 of them
STEPS = (20, 28, 36)  # h = 10^-k, relative to the size of x
MOST = 6000  # numbers of one evaluation
AFFORDED = 1_000_000  # operations of all evaluations for one answer; each takes about three microseconds
ARITHMETIC = frozenset("add subtract multiply negative abs squared_difference sign maximum minimum relu".split())
TRANSCENDENTAL = 10  # operations that one root, quotient or function of another kind counts as
SAME = 1e-9  # a recorded number and ours: float64 rounds to 1e-16, and what follows loses digits
# Errors of a power h^p shrink by 10^-8p from step to step: by half or more for every p above 0.04.
SHRINKS = 0.5
SETTLED = 1e-12  # relative; far below what float64 tells apart, far above 10^-20 times any curvature met
# A jump of the function, or of its derivative, makes quotients grow as a whole power of 1/h: there is no derivative.
JUMP = 0.01
UNDEFINED = "undefined"
LOST = 30  # digits that may be lost inside the function; what is left of a difference below that is 0
NEGLIGIBLE = 1e-30  # a derivative that is lost so is 0 where it can be no larger; else it is not known
LEAST = mp.mpf(10) ** (LOST - DIGITS)


class NotEvaluated(Exception):
    """The program cannot be evaluated with many digits, or not as the run went."""


def _guarded(f: Callable[..., Any], params: Mapping[str, Any]) -> Callable[..., Any]:
    """f on numbers; NaN where it has none, or none that is real."""

    def apply(*xs: Any) -> Any:
        try:
            y = f(*xs, **params)
        except (ZeroDivisionError, ValueError, OverflowError):
            return mp.nan
        return y if isinstance(y, mp.mpf) else mp.mpf(y) if isinstance(y, (int, float)) else mp.nan

    return apply


def _power(a: Any, b: Any) -> Any:
    return mp.inf if a == 0 and b < 0 else a**b


def _times_log(x: Any, a: Any, log: Callable[[Any], Any]) -> Any:
    return mp.mpf(0) if x == 0 and not mp.isnan(a) else x * log(a)


# What the table of the referee leaves to its callers: values at 0 that are limits.
POINTWISE: dict[str, Callable[..., Any]] = {
    "pow": _power,
    "power_constant": lambda x, exponent: _power(x, mp.mpf(exponent)),
    "xlogy": lambda x, a: _times_log(x, a, mp.log),
    "xlog1py": lambda x, a: _times_log(x, a, mp.log1p),
    "log": lambda x: -mp.inf if x == 0 else mp.log(x),
    "squared_difference": lambda a, b: (a - b) ** 2,
    "lerp": lambda a, b, w: a + w * (b - a),
}
RELATIONS = {
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "equal": np.equal,
    "not_equal": np.not_equal,
}
PREDICATES = {"isnan": mp.isnan, "isfinite": mp.isfinite}


def _root(x: Any) -> Any:
    return np.frompyfunc(_guarded(mp.sqrt, {}), 1, 1)(x)


def _of(f: Callable[[Any], Any], x: Any) -> Any:
    return np.frompyfunc(_guarded(f, {}), 1, 1)(x)


def _kept(x: Any, axes: tuple[int, ...]) -> Any:
    return np.add.reduce(x, axis=axes, keepdims=True) / mp.mpf(math.prod(x.shape[i] for i in axes))


def _variance(x: Any, axes: tuple[int, ...], correction: float) -> Any:
    n = math.prod(x.shape[i] for i in axes)
    return np.add.reduce((x - _kept(x, axes)) ** 2, axis=axes) / max(n - mp.mpf(correction), mp.mpf(0))


def _p_norm(x: Any, axes: tuple[int, ...], ord: float) -> Any:
    p = mp.mpf(ord)
    return _of(lambda s: _power(s, 1 / p), np.add.reduce(_of(lambda v: _power(abs(v), p), x), axis=axes))


def _standardized(x: Any, axes: tuple[int, ...], eps: float, centred: bool) -> Any:
    away = x - _kept(x, axes) if centred else x
    return away / _root(_kept(away**2, axes) + mp.mpf(eps))


def _log_sum(x: Any, axis: int) -> Any:
    greatest = np.maximum.reduce(x, axis=axis, keepdims=True)
    greatest = np.where(_of(lambda v: mp.mpf(int(mp.isfinite(v))), greatest) == 1, greatest, mp.mpf(0))
    total = np.add.reduce(_of(mp.exp, x - greatest), axis=axis, keepdims=True)
    return _of(POINTWISE["log"], total) + greatest


# Sums that are operations of their own; the others run through the engine's own data movement.
WHOLE: dict[str, Callable[..., Any]] = {
    "sum": lambda x, axes: np.add.reduce(x, axis=axes),
    "mean": lambda x, axes: np.squeeze(_kept(x, axes), axes),
    "max": lambda x, axes: np.maximum.reduce(x, axis=axes),
    "min": lambda x, axes: np.minimum.reduce(x, axis=axes),
    "prod": lambda x, axis: np.multiply.reduce(x, axis=axis),
    "cumprod": lambda x, axis: np.multiply.accumulate(x, axis=axis),
    "centre": lambda x, axes: x - _kept(x, axes),
    "norm": lambda x, axes: _root(np.add.reduce(x * x, axis=axes)),
    "p_norm": _p_norm,
    "var": _variance,
    "std": lambda x, axes, correction: _root(_variance(x, axes, correction)),
    "standardize": _standardized,
    "logsumexp": lambda x, axis: np.squeeze(_log_sum(x, axis), axis),
    "log_softmax": lambda x, axis: x - _log_sum(x, axis),
    "softmax": lambda x, axis: _of(mp.exp, x - _log_sum(x, axis)),
    "matmul": lambda a, b: np.matmul(a, b),
}


class Evaluation:
    """A program on mpmath's numbers.

    weights: one array an output; the value is then Σ weight · output, a single number. more: operations beside those
    of this file. Raises NotEvaluated where an
    operation is not at hand, or where at x the numbers are not those of `known`: then the run took decisions (a side of
    a kink, a tie) that exact numbers do not.
    """

    def __init__(
        self,
        program: Program,
        inputs: Sequence[Any],
        known: Mapping[Variable, Any] | None = None,
        weights: Sequence[Any] | None = None,
        more: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        if sum(v.size for e in program.equations for v in e.outputs) > MOST:
            raise NotEvaluated("too many numbers")
        if any(v.dtype != FLOAT for v in program.inputs):
            raise NotEvaluated("inputs that are not real")
        self.work = sum(map(_operations, program.equations))
        if self.work > AFFORDED:
            raise NotEvaluated("too many operations")
        self.program = program
        self.given = [_exactly(x) for x in arguments_of(program, inputs)]
        self.weights = None if weights is None else [_exactly(np.asarray(w, dtype=np.float64)) for w in weights]
        self.held: dict[Variable, Any] = {}
        self.more = more or {}
        self.at_x = self._run(self.given, known or {})

    def _run(self, given: Sequence[Any], known: Mapping[Variable, Any] | None = None) -> list[Array]:
        values: dict[Variable, Any] = dict(zip([*self.program.inputs, *self.program.constants], given, strict=True))
        for e in self.program.equations:
            y = self._apply(e, [values[v] for v in e.inputs])
            if known is not None:
                for v, part in zip(e.outputs, y, strict=True):
                    if v in known:
                        _hold_alike(np.asarray(known[v]), part)
                if e.primitive == "stop_gradient":
                    self.held[e.outputs[0]] = y[0]
            values.update(zip(e.outputs, y, strict=True))
        outputs = [np.asarray(values[v]) for v in self.program.outputs]
        if self.weights is None:
            return outputs
        terms = [np.asarray(w * y, dtype=object).ravel() for w, y in zip(self.weights, outputs, strict=True)]
        return [np.asarray(sum(np.concatenate(terms).tolist(), mp.mpf(0)), dtype=object)]

    def _apply(self, e: Equation, xs: list[Any]) -> tuple[Any, ...]:
        name, primitive = e.primitive, PRIMITIVES[e.primitive]
        if primitive.sites and name not in self.more:
            raise NotEvaluated(f"{name}: a choice of ours")
        if e.outputs[0] in self.held:
            return (self.held[e.outputs[0]],)
        try:
            exact = self.more.get(name)
            y = _applied(name, primitive, e.params, xs) if exact is None else exact(*xs, **e.params)
        except NotEvaluated:
            raise
        except Exception as error:  # a forward that takes no objects
            raise NotEvaluated(f"{name}: {type(error).__name__}: {error}") from error
        results = y if isinstance(y, tuple) else (y,)
        for v, r in zip(e.outputs, results, strict=True):
            if np.shape(r) != v.shape or (v.dtype == FLOAT) != (np.asarray(r).dtype == object):
                raise NotEvaluated(f"{name}: it leaves mpmath's numbers")
        return results

    @property
    def scale(self) -> Any:
        """The size of the inputs, 1 where they are 0 or infinite."""
        inputs = self.given[: len(self.program.inputs)]
        size = max((float(np.max(np.abs(x.astype(np.float64)), initial=0.0)) for x in inputs), default=0.0)
        return mp.mpf(size) if 0.0 < size < np.inf else mp.mpf(1)

    def moved(self, directions: Sequence[Sequence[Array]], h: Any) -> list[Array]:
        """The outputs at x + h Σ directions."""
        given = list(self.given)
        for direction in directions:
            for i, t in enumerate(direction):
                given[i] = given[i] + h * t
        return self._run(given)


def _applied(name: str, primitive: Any, params: Mapping[str, Any], xs: list[Any]) -> Any:
    if name in RELATIONS:
        return np.asarray(RELATIONS[name](*xs), dtype=bool)
    if name in PREDICATES:
        return np.asarray(np.frompyfunc(PREDICATES[name], 1, 1)(xs[0]), dtype=bool)
    if name in ("logical_and", "logical_or", "logical_not"):
        return primitive.forward(*xs)
    if name == "where":
        return np.where(xs[0].astype(bool), xs[1], xs[2])
    if name in WHOLE:
        return np.asarray(WHOLE[name](*xs, **params), dtype=object)
    if name in POINTWISE or name in EXACT:
        f = POINTWISE.get(name) or EXACT[name].value
        return np.asarray(np.frompyfunc(_guarded(f, params), len(xs), 1)(*xs), dtype=object)
    if primitive.kind == STRUCTURAL:
        return primitive.forward(*xs, **params)
    raise NotEvaluated(f"{name}: {'no value with many digits' if primitive.kind == ELEMENTWISE else 'not at hand'}")


def _exactly(x: Any) -> Array:
    x = np.asarray(x)
    return np.asarray(np.frompyfunc(mp.mpf, 1, 1)(x.astype(object)), dtype=object) if x.dtype == FLOAT else x


def _hold_alike(recorded: Array, ours: Any) -> None:
    """Raise NotEvaluated unless a recorded number is ours, rounded; a zero must be one in both."""
    if recorded.dtype != FLOAT:
        return
    y = np.asarray(ours, dtype=np.float64)
    with np.errstate(all="ignore"):
        alike = (recorded == y) | (np.isnan(recorded) & np.isnan(y))
        alike |= (recorded != 0.0) & (y != 0.0) & (np.abs(recorded - y) <= SAME * np.abs(y))
    if not alike.all():
        raise NotEvaluated("the run has other numbers")


def _operations(e: Equation) -> int:
    """How many operations on single numbers an equation takes; moving them is none."""
    if e.primitive == "matmul":
        return e.outputs[0].size * e.inputs[0].shape[-1]
    if PRIMITIVES[e.primitive].kind == STRUCTURAL or e.primitive == "where":
        return 0
    most = max(v.size for v in (*e.inputs, *e.outputs))
    return most if e.primitive in ARITHMETIC or e.primitive in WHOLE else TRANSCENDENTAL * most


def evaluations(order: int) -> int:
    """How many times `limits` evaluates the program along so many directions."""
    return len(STEPS) * 3**order


def one_sided(
    evaluation: Evaluation,
    directions: Sequence[Sequence[Array]],
    signs: Sequence[int],
    known: dict[tuple[int, ...], list[Array]] | None = None,
) -> list[Array]:
    """The limit for h → 0+ of the difference of f at the corners x + h Σ sᵢ dᵢ, over hⁿ Π sᵢ: of n directions dᵢ.

    For one direction the one-sided derivative, for two the mixed second difference from one of four sides. ±inf where
    it grows without bound, NaN where there is no limit, or where it is lost beside numbers that are too large for these
    digits; `UNDEFINED` where there is no function on that side.
    directions: each one array an input. known: corners that were evaluated before, by their step and signs.
    """
    known = {} if known is None else known
    n = len(directions)
    scale = evaluation.scale
    sides = [[s * _exactly(t) for t in d] for d, s in zip(directions, signs, strict=True)]
    quotients = []
    unknown: list[Any] = [False] * len(evaluation.at_x)
    for k in STEPS:
        h = scale / mp.mpf(10) ** k
        total: list[Any] = [mp.mpf(0)] * len(evaluation.at_x)
        terms: list[Any] = [mp.mpf(0)] * len(evaluation.at_x)
        for corner in itertools.product((0, 1), repeat=n):
            at = (k, *[s * taken for s, taken in zip(signs, corner, strict=True)])
            if at not in known:
                taken = [d for d, there in zip(sides, corner, strict=True) if there]
                known[at] = evaluation.moved(taken, h) if taken else evaluation.at_x
            y = known[at]
            sign = (-1) ** (n - sum(corner)) * math.prod(signs)
            total = [a + sign * b for a, b in zip(total, y, strict=True)]
            terms = [a + np.abs(b) for a, b in zip(terms, y, strict=True)]
        lost = [_lost(a, b) for a, b in zip(total, terms, strict=True)]
        quotients.append([np.where(on, mp.mpf(0), a) / h**n for a, on in zip(total, lost, strict=True)])
        most = NEGLIGIBLE * h**n / LEAST
        unknown = [u | (on & (b > most)) for u, on, b in zip(unknown, lost, terms, strict=True)]
    found = [np.frompyfunc(_limit, 3, 1)(*qs) for qs in zip(*quotients, strict=True)]
    return [np.where(u, math.nan, np.asarray(f, dtype=object)) for u, f in zip(unknown, found, strict=True)]


def _lost(difference: Any, terms: Any) -> Any:
    """Where a difference of terms is what their last digits leave."""
    found = np.frompyfunc(lambda a, b: bool(mp.isfinite(b) and abs(a) <= LEAST * b), 2, 1)(difference, terms)
    return np.asarray(found, dtype=bool)


def _limit(a: Any, b: Any, c: Any) -> float | str:
    """Where three quotients at steps in geometric progression lead: a number, ±inf, NaN for nowhere; UNDEFINED."""
    first, second = b - a, c - b
    if not all(mp.isfinite(x) for x in (a, b, c)):
        return UNDEFINED
    if abs(second) <= SETTLED * abs(c):
        return float(c)
    if abs(second) <= SHRINKS * abs(first):
        found = c - second**2 / (second - first)
        return float(found) if abs(found) > SETTLED * abs(c) else 0.0
    if not (first * second > 0 and second * c > 0):
        return math.nan
    power = mp.log10(abs(c / b)) / (STEPS[2] - STEPS[1])
    if abs(power - mp.nint(power)) < JUMP and mp.nint(power) >= 1:
        return math.nan
    return math.copysign(math.inf, c)


def limits(evaluation: Evaluation, directions: Sequence[Sequence[Array]]) -> list[tuple[Array, Array]]:
    """(least, greatest) limit of each output over all sides; NaN where one has none.

    One limit is the derivative, two are the ends of the generalised set. A function that is defined on one side alone
    (√x at 0) has the limit from there.
    """
    with mp.workdps(DIGITS), np.errstate(all="ignore"):
        known: dict[tuple[int, ...], list[Array]] = {}
        signs = itertools.product((1, -1), repeat=len(directions))
        found = [one_sided(evaluation, directions, s, known) for s in signs]
    ends = []
    for sides in zip(*found, strict=True):
        there = [np.asarray(side != UNDEFINED, dtype=bool) for side in sides]
        numbers = [np.where(on, side, np.nan).astype(np.float64) for side, on in zip(sides, there, strict=True)]
        without = np.any([on & np.isnan(x) for on, x in zip(there, numbers, strict=True)], axis=0)
        ends.append(tuple(np.where(without, np.nan, f.reduce(numbers)) for f in (np.fmin, np.fmax)))
    return ends


def evaluated(
    program: Program,
    inputs: Sequence[Any],
    known: Mapping[Variable, Any] | None = None,
    weights: Sequence[Any] | None = None,
) -> Evaluation | None:
    """An Evaluation; None where the program cannot be evaluated so."""
    try:
        with mp.workdps(DIGITS), np.errstate(all="ignore"):
            return Evaluation(program, inputs, known, weights)
    except NotEvaluated:
        return None
