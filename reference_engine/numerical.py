"""Derivatives by differences: the check that shares no rule with the engine, and its errors.

Each function takes a scalar-valued `fn` (a callable on arrays, or a Program of one input) and an array x, and returns
an array of x.shape: ∂fn/∂x, in units of fn per unit of x. They cost between n and 20 n evaluations for n entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import DerivativeError, ParameterError, ShapeError
from .evaluate import Plan, arguments_of
from .program import Program
from .registry import Array

EPSILON = float(np.finfo(np.float64).eps)
# Balances the truncation h |f''|/2 against the rounding 2 ε |f|/h, for |f| and |f''| of like size.
ONE_SIDED_STEP = EPSILON ** (1 / 2)
# Balances h² |f'''|/6 against ε |f|/h.
CENTRAL_STEP = EPSILON ** (1 / 3)
# No difference is formed, so nothing cancels: the truncation h² |f'''|/6 is below ε already at 1e-9; far below is free.
COMPLEX_STEP = 1e-30
RIDDERS_START, RIDDERS_SHRINK, RIDDERS_COLUMNS = 0.1, 1.4, 12  # Ridders 1982; Numerical Recipes, sec. 5.7
NOT_ANALYTIC = frozenset(
    "abs ceil choice clip copysign equal floor floor_divide fmax fmin fmod greater greater_equal heaviside less"
    " less_equal max max_pool maximum min minimum nan_to_num norm relu remainder round sign sort trunc".split()
)


def one_sided(fn: Any, x: Any, step: float | None = None) -> Array:
    """(f(x + h eᵢ) - f(x))/h for every entry i.  x: any shape -> x.shape.

    Error: h/2 f'' + O(h²) truncation, ε |f|/h rounding; about 1e-8 relative at best. `step` is h, in units of x
    (default √ε max(1, |xᵢ|)). At a kink: the slope towards +x. Source: Nocedal and Wright, Numerical Optimization, sec.
    8.1.
    """
    f, x = _scalar("one_sided", fn), _point(x)
    here = f(x)
    return _entries(x, step, ONE_SIDED_STEP, lambda at, h: (f(at(h)) - here) / h)


def central(fn: Any, x: Any, step: float | None = None) -> Array:
    """(f(x + h eᵢ) - f(x - h eᵢ))/2h for every entry i.  x: any shape -> x.shape.

    Error: h²/6 f''' + O(h⁴) truncation, ε |f|/2h rounding; about 1e-11 relative at best. `step` is h, in units of x
    (default ε^⅓ max(1, |xᵢ|)). At a kink: the mean of both slopes. Source: Nocedal and Wright, Numerical Optimization,
    sec. 8.1.
    """
    f, x = _scalar("central", fn), _point(x)
    return _entries(x, step, CENTRAL_STEP, lambda at, h: (f(at(h)) - f(at(-h))) / (2.0 * h))


def richardson(fn: Any, x: Any, step: float | None = None) -> Array:
    """Central differences of shrinking steps, extrapolated to h = 0.  x: any shape -> x.shape.

    Every column of the tableau removes one more power of h²; the entry with the least estimated error is returned:
    about 1e-13 relative. `step` is the greatest h (default 0.1 max(1, |xᵢ|)). Source: Ridders, Adv. Eng. Software 4,
    1982.
    """
    f, x = _scalar("richardson", fn), _point(x)
    return _entries(x, step, RIDDERS_START, lambda at, h: float(ridders(lambda t: np.asarray(f(at(t))), h)[0]))


def complex_step(fn: Any, x: Any, step: float = COMPLEX_STEP) -> Array:
    """Im f(x + i h eᵢ)/h for every entry i: exact to rounding.  x: any shape -> x.shape.

    Error: h²/6 f''', no cancellation. fn must be analytic and take complex arrays. Raises DerivativeError for a Program
    with an operation that is not analytic. Source: Squire and Trapp, SIAM Review 40, 1998.
    """
    if isinstance(fn, Program):
        found = sorted({e.primitive for e in fn.equations} & NOT_ANALYTIC)
        if found:
            raise DerivativeError(
                f"complex_step: {fn.name} uses {', '.join(found)}; accepted are analytic operations, since the "
                "imaginary part carries the derivative. Use richardson."
            )
    f, x = _scalar("complex_step", fn, complex), _point(x)
    return _entries(x, step, step, lambda at, h: f(at(1j * h)).imag / h)


def along(fn: Any, xs: Sequence[Any], ts: Sequence[Any], step: float = RIDDERS_START) -> tuple[Array, Array]:
    """(derivative, estimated error) of h ↦ fn(x₁ + h t₁, x₂ + h t₂, …) at h = 0, by Ridders' extrapolation.

    fn: a callable or a Program; its value may have any shape, and so have both results. `step` is the greatest h,
    dimensionless. The estimate is that of the tableau, entry by entry; multiply it by a safety factor of 10. Source: as
    for richardson.
    """
    points, directions = [_point(x) for x in xs], [_point(t) for t in ts]
    if [p.shape for p in points] != [t.shape for t in directions]:
        raise ShapeError(
            f"along: points have shapes {[p.shape for p in points]} and directions {[t.shape for t in directions]}; "
            "they must be equal. Pass one direction for each point."
        )
    f = _function(fn)
    return ridders(lambda h: np.asarray(f(*[x + h * t for x, t in zip(points, directions, strict=True)])), step)


def ridders(phi: Callable[[float], Array], step: float) -> tuple[Array, Array]:
    """(φ'(0), estimated error) of φ from a number to an array, by Neville's tableau of central differences."""
    h = step
    above = [(phi(h) - phi(-h)) / (2.0 * h)]
    best = np.array(above[0], dtype=np.float64)
    error = np.full(best.shape, np.inf)
    for row in range(1, RIDDERS_COLUMNS):
        h /= RIDDERS_SHRINK
        line = [(phi(h) - phi(-h)) / (2.0 * h)]
        factor = RIDDERS_SHRINK**2
        for column in range(row):
            line.append((line[column] * factor - above[column]) / (factor - 1.0))
            factor *= RIDDERS_SHRINK**2
            estimate = np.maximum(np.abs(line[-1] - line[-2]), np.abs(line[-1] - above[column]))
            better = estimate <= error
            best, error = np.where(better, line[-1], best), np.where(better, estimate, error)
        above = line
    return best, error


def _point(x: Any) -> Array:
    return np.asarray(x, dtype=np.float64)


def _function(fn: Any) -> Callable[..., Any]:
    """A callable as it is; a Program as the function of its inputs."""
    if not isinstance(fn, Program):
        return fn  # type: ignore[no-any-return]
    plan = Plan(fn)
    return lambda *xs: plan.run(arguments_of(fn, xs))[0]


def _scalar(operation: str, fn: Any, kind: type = float) -> Callable[[Array], Any]:
    """`fn` as a function from an array to a Python number."""
    f = _function(fn)

    def number(x: Array) -> Any:
        y = np.asarray(f(x))
        if y.shape != ():
            raise ShapeError(
                f"{operation}: fn returned shape {y.shape}; accepted is a scalar, shape (). Sum it, or use along."
            )
        return kind(y)

    return number


def _entries(
    x: Array, step: float | None, factor: float, slope: Callable[[Callable[[Any], Array], float], float]
) -> Array:
    """slope(at, h) for every entry of x, where at(d) is x with d added to that entry."""
    if step is not None and not step > 0.0:
        raise ParameterError(
            f"numerical derivative: step={step}; accepted are positive numbers. Leave it out for the default."
        )
    result = np.zeros(x.shape)
    for index in np.ndindex(x.shape):

        def at(d: Any, index: tuple[int, ...] = index) -> Array:
            moved = x.astype(np.result_type(type(d), np.float64))
            moved[index] += d
            return moved

        result[index] = slope(at, step if step is not None else factor * max(1.0, abs(float(x[index]))))
    return result
