"""One derivative by every method side by side: symbolic, numerical, automatic; with errors and counted calls."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .aligned import aligned
from .counting import Counted, calls_during
from .scalar import Value
from .scalar_gradients import (
    DIFFERENCES,
    EXACT_DIGITS,
    ScalarFunction,
    by_differences,
    by_forward,
    by_reverse,
    exact_gradient,
    point,
)
from .symbolic import symbolic_derivative
from .transforms import grad


@dataclass(frozen=True)
class Way:
    """One method at one point.

    kind: "symbolic", "numerical" or "automatic"; gradient: one number an input; error: its greatest absolute error,
    relative_error: the same over the greatest slope; calls: how often the function was called, backward_passes: how
    often a backward pass ran, both counted while it happened. Where a method has no answer, the numbers are NaN and
    `problem` says why.
    """

    method: str
    kind: str
    gradient: tuple[float, ...]
    error: float
    relative_error: float
    calls: int
    backward_passes: int
    problem: str = ""


@dataclass(frozen=True)
class ThreeWays:
    """The point, the exact gradient (floats, and 50 digits as text), the formulas as text, and one Way a method."""

    x: tuple[float, ...]
    exact: tuple[float, ...]
    exact_digits: tuple[str, ...]
    formula: str
    derivatives: tuple[str, ...]
    ways: tuple[Way, ...]

    def rows(self) -> list[dict[str, Any]]:
        """One plain record a method, for a frame."""
        return [dict(vars(way)) for way in self.ways]

    def __str__(self) -> str:
        head = ("method", "gradient", "relative error", "calls", "backward passes", "")
        lines = [
            (
                way.method,
                ", ".join(f"{g:.12g}" for g in way.gradient),
                f"{way.relative_error:.1e}",
                str(way.calls),
                str(way.backward_passes),
                way.problem,
            )
            for way in self.ways
        ]
        exact = ", ".join(self.exact_digits)
        formulas = [f"f = {self.formula}", *(f"slope = {d}" for d in self.derivatives), f"exact: {exact}", ""]
        return "\n".join([*formulas, aligned([head, *lines], (16, 60, 14, 8, 15, 60), ("  ",) * 5)])


def three_ways(fn: ScalarFunction, x: Any, array_fn: Callable[..., Any] | None = None) -> ThreeWays:
    """The gradient of fn at x by SymPy, four numerical methods, `Value` and `Dual`.

    fn: written for Value, of one number, or of n where x is a sequence of n. array_fn: the same function written with
    `ops`, for the array engine's `grad`. A symbolic formula is refused for branches; that way then has a problem.
    Raises DerivativeError where the derivative does not exist, DtypeError where fn returns no number, ParameterError
    for a point that is not finite.
    """
    import mpmath

    xs = point("three_ways", x)
    exact = exact_gradient("three_ways", fn, xs)
    names = ("x",) if len(xs) == 1 else tuple(f"x{i}" for i in range(1, len(xs) + 1))
    formulas: list[str] = []

    def symbolic(counted: ScalarFunction) -> tuple[float, ...]:
        found = symbolic_derivative(counted, names)
        formulas.extend(str(e) for e in (found.formula, *found.derivatives))
        return found.gradient_at(*xs)

    ways = [_way("symbolic", "symbolic", symbolic, fn, exact)]
    for method in DIFFERENCES:

        def differences(counted: ScalarFunction, method: str = method) -> tuple[float, ...]:
            return by_differences("three_ways", method, counted, xs)

        ways.append(_way(method, "numerical", differences, fn, exact))
    ways.append(_way("forward", "automatic", lambda counted: by_forward("three_ways", counted, xs), fn, exact))
    ways.append(_way("reverse", "automatic", lambda counted: by_reverse("three_ways", counted, xs), fn, exact))
    if array_fn is not None:

        def arrays(counted: ScalarFunction) -> tuple[float, ...]:
            return tuple(float(g) for g in grad(counted, tuple(range(len(xs))))(*xs))

        # The array engine's backward pass is a plan, run once at each call of the gradient.
        way = _way("array engine", "automatic", arrays, array_fn, exact)
        ways.append(replace(way, backward_passes=plan_runs(lambda: arrays(array_fn))))
    digits = tuple(str(mpmath.nstr(s, EXACT_DIGITS)) for s in exact)
    formula, derivatives = (formulas[0], tuple(formulas[1:])) if formulas else ("", ())
    return ThreeWays(xs, tuple(float(s) for s in exact), digits, formula, derivatives, tuple(ways))


def plan_runs(run: Callable[[], Any]) -> int:
    """How many plans of the array engine ran during `run()`: each is one forward or backward pass."""
    from .evaluate import Plan

    return calls_during(run, Plan.run)[1]


def _way(
    method: str,
    kind: str,
    gradient: Callable[[ScalarFunction], tuple[Any, ...]],
    fn: ScalarFunction,
    exact: tuple[Any, ...],
) -> Way:
    counted = Counted(fn)
    try:
        found, backwards = calls_during(lambda: gradient(counted), Value.backward)
    except ArithmeticError as fault:  # a branch in a formula, a step that leaves the domain, an overflow
        nothing = tuple(math.nan for _ in exact)
        return Way(method, kind, nothing, math.nan, math.nan, counted.calls, 0, str(fault))
    error = max(float(abs(f - e)) for f, e in zip(found, exact, strict=True))
    size = max(float(abs(e)) for e in exact)
    relative = error / size if size else (0.0 if error == 0.0 else math.inf)
    return Way(method, kind, tuple(float(f) for f in found), error, relative, counted.calls, backwards)
