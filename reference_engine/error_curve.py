"""The error of a numerical derivative against its step: falling truncation, rising rounding, and the best step between.

The exact derivative has 50 digits; slopes and best steps are measured on the errors of the very run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .aligned import aligned
from .errors import ParameterError
from .numerical import CENTRAL_STEP, EPSILON, ONE_SIDED_STEP, RIDDERS_COLUMNS, RIDDERS_SHRINK
from .registry import Array
from .scalar_gradients import DIFFERENCES, EXACT_DIGITS, at_numbers, by_differences, exact_gradient, point

STEPS_PER_DECADE, DECADES = 8, 16
# Where only the complex step still works: no difference is formed, so nothing cancels.
FAR_STEPS = tuple(float(f"1e-{k}") for k in (20, 30, 50, 100, 150, 200, 250, 300))
THEORY = {"one_sided": ONE_SIDED_STEP, "central": CENTRAL_STEP}  # √ε and ε^⅓, for f and its derivatives of size 1

# How a curve is cut into its two sides. Rounding errors jump, so a running median of WINDOW steps is looked at; the
# bottom is where it is within BOTTOM of its least. Of each side, the decade next to the bottom is left out, where both
# errors count. Above LARGEST_STEP the next term of the series bends the line; below DISTINCT units in the last place of
# x or of f, x + h and f(x + h) take a handful of values only.
WINDOW, BOTTOM, APART, LARGEST_STEP, DISTINCT = 5, 4.0, 10.0, 1e-2, 8
FEWEST_POINTS = 6  # a line through fewer says nothing


@dataclass(frozen=True)
class Line:
    """A fit log₁₀(error) = intercept + slope · log₁₀(step) over the `points` steps from `low` to `high`."""

    slope: float
    intercept: float
    low: float
    high: float
    points: int


@dataclass(frozen=True)
class MethodErrors:
    """One method: steps (largest first), its derivative and absolute error at each, NaN where fn was not defined.

    truncation, rounding: the fitted sides, or None where a side has too few steps (the complex step has no rounding
    side, Richardson's truncation is of no fixed order). best_step, best_error: as found; bottom: the steps between
    which the error is within a factor of 4 of its least, by a running median. theory_step: √ε, ε^⅓, or None.
    """

    method: str
    steps: tuple[float, ...]
    derivatives: tuple[float, ...]
    errors: tuple[float, ...]
    truncation: Line | None
    rounding: Line | None
    best_step: float
    best_error: float
    bottom: tuple[float, float]
    theory_step: float | None


@dataclass(frozen=True)
class ErrorCurve:
    """The curves of all methods at x, and the exact derivative as a float and as 50 digits."""

    x: float
    exact: float
    exact_digits: str
    methods: tuple[MethodErrors, ...]

    def __str__(self) -> str:
        head = ("method", "least error", "at step", "slope by the bend", "slope by rounding")
        lines = [
            (
                c.method,
                f"{c.best_error:.1e}",
                f"{c.best_step:.1e}",
                "-" if c.truncation is None else f"{c.truncation.slope:.2f}",
                "-" if c.rounding is None else f"{c.rounding.slope:.2f}",
            )
            for c in self.methods
        ]
        return f"exact: {self.exact_digits}\n" + aligned([head, *lines], (16, 11, 9, 17, 17), ("  ",) * 4)

    def method(self, name: str) -> MethodErrors:
        """The curve of one method. Raises ParameterError for a method that was not run."""
        for curve in self.methods:
            if curve.method == name:
                return curve
        raise ParameterError(
            f"error_curve: method={name!r}; accepted are {', '.join(c.method for c in self.methods)}. Choose one, or "
            "run it."
        )

    def rows(self) -> list[dict[str, Any]]:
        """One plain record a method and step, for a frame or a figure."""
        return [
            {"method": c.method, "step": h, "derivative": d, "error": e}
            for c in self.methods
            for h, d, e in zip(c.steps, c.derivatives, c.errors, strict=True)
        ]

    def lines(self) -> list[dict[str, Any]]:
        """One plain record a fitted line, for a frame or a figure."""
        return [
            {"method": c.method, "part": part, **vars(line)}
            for c in self.methods
            for part, line in (("truncation", c.truncation), ("rounding", c.rounding))
            if line is not None
        ]

    def bests(self) -> list[dict[str, Any]]:
        """One plain record a method: the best step found, its error, and the step of the theory."""
        return [
            {"method": c.method, "step": c.best_step, "error": c.best_error, "theory_step": c.theory_step}
            for c in self.methods
        ]


def error_curve(
    fn: Callable[[Any], Any],
    x: float,
    steps: Iterable[float] | None = None,
    methods: Sequence[str] = tuple(DIFFERENCES),
) -> ErrorCurve:
    """The error of each method against the step h, at one real x.

    fn: a function of one number, written for Value. steps: in units of x, for every method; by default eight a decade
    from 1e-1 to 1e-16, for the complex step down to 1e-300. Raises DerivativeError where fn has no derivative at x,
    ParameterError for an unknown method, no steps, or a step that is not positive and finite, DtypeError where fn
    returns no number. Source: Nocedal and Wright, Numerical Optimization, sec. 8.1.
    """
    (x,) = point("error_curve", [x])
    (slope,) = exact_gradient("error_curve", fn, [x])
    given = None if steps is None else _positive(steps)
    value = abs(float(at_numbers("error_curve", fn)(x)))
    curves = []
    for method in methods:
        hs = given if given is not None else default_steps(far=method == "complex_step")
        derivatives = [_derivative(method, fn, x, h) for h in hs]
        curves.append(_cut(method, hs, derivatives, slope, x, value))
    return ErrorCurve(x, float(slope), _digits(slope), tuple(curves))


def default_steps(far: bool = False) -> list[float]:
    """Eight steps a decade from 1e-1 down to 1e-16, whole decades exact; `far` adds those of the complex step."""
    steps = [
        float(f"1e-{k}") * 10 ** (-i / STEPS_PER_DECADE) for k in range(1, DECADES) for i in range(STEPS_PER_DECADE)
    ]
    return [*steps, float(f"1e-{DECADES}"), *(FAR_STEPS if far else ())]


def _derivative(method: str, fn: Callable[[Any], Any], x: float, h: float) -> float:
    """NaN where x ± h lies outside the domain of fn, which is an answer too: no such step can be taken."""
    try:
        return by_differences("error_curve", method, fn, [x], h)[0]
    except ArithmeticError:
        return math.nan


def _digits(slope: Any) -> str:
    import mpmath

    return str(mpmath.nstr(slope, EXACT_DIGITS))


def _positive(steps: Iterable[float]) -> list[float]:
    found = sorted((float(h) for h in steps), reverse=True)
    if not found or not all(math.isfinite(h) and h > 0.0 for h in found):
        raise ParameterError(
            f"error_curve: steps={found}; accepted are positive finite numbers, at least one. Leave them out for the "
            "default."
        )
    return found


def _cut(method: str, steps: list[float], derivatives: list[float], exact: Any, x: float, value: float) -> MethodErrors:
    errors = [float(abs(d - exact)) for d in derivatives]
    h, e = np.array(steps), np.array(errors)
    known = np.isfinite(e)
    if not known.any():
        raise ParameterError(
            f"error_curve: no step from {steps[-1]:g} to {steps[0]:g} stays where fn is defined around x={x!r} for "
            f"{method}; accepted are steps smaller than the distance to the edge. Pass smaller ones."
        )
    h, e = h[known], e[known]
    slope = abs(float(exact))
    # An error below the rounding of the result itself is chance.
    smooth = np.maximum(_running_median(e), EPSILON * slope)
    low_part = h[smooth <= BOTTOM * float(smooth.min())]
    top, foot = float(low_part.max()), float(low_part.min())
    resolved = DISTINCT * max(math.ulp(x), math.ulp(value) / slope if slope else 0.0)
    if method == "richardson":  # its smallest step is that much below h
        resolved *= RIDDERS_SHRINK ** (RIDDERS_COLUMNS - 1)
    best = int(np.argmin(e))
    return MethodErrors(
        method,
        tuple(steps),
        tuple(derivatives),
        tuple(errors),
        _fit(h, e, (h > APART * top) & (h <= LARGEST_STEP)) if method != "richardson" else None,
        _fit(h, e, (h < foot / APART) & (h >= resolved)) if method != "complex_step" else None,
        float(h[best]),
        float(e[best]),
        (foot, top),
        THEORY.get(method),
    )


def _running_median(e: Array) -> Array:
    half = WINDOW // 2
    return np.array([np.median(e[max(0, i - half) : i + half + 1]) for i in range(e.size)])


def _fit(h: Array, e: Array, chosen: Any) -> Line | None:
    """Least squares in log-log; errors of exactly 0 have no logarithm and are left out."""
    h, e = h[chosen & (e > 0.0)], e[chosen & (e > 0.0)]
    if h.size < FEWEST_POINTS:
        return None
    slope, intercept = np.polyfit(np.log10(h), np.log10(e), 1)
    return Line(float(slope), float(intercept), float(h.min()), float(h.max()), int(h.size))
