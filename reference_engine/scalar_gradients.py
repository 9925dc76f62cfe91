"""Gradients of a function of a few numbers, by each method, from one function written for `Value`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .dual import Dual
from .errors import DerivativeError, DtypeError, ParameterError
from .number_types import number
from .numerical import central, complex_step, one_sided, richardson
from .scalar import Value

ScalarFunction = Callable[..., Any]

DIFFERENCES: dict[str, Callable[..., Any]] = {
    "one_sided": one_sided,
    "central": central,
    "richardson": richardson,
    "complex_step": complex_step,
}
EXACT_DIGITS = 50
# mpmath.diff works with 50 digits beyond what its difference cancels, so both one-sided results hold all but a few of
# 50 digits where fn is smooth; a kink or a wrong slope shows far above.
SMOOTH = 1e-30


def point(operation: str, x: Any) -> tuple[float, ...]:
    """x, one real number or a sequence of them, as floats. Raises DtypeError for another type, ParameterError for none
    or for NaN and the infinities.
    """
    xs = x if isinstance(x, list | tuple | np.ndarray) else [x]
    found = [number(v, operation) for v in xs]
    if any(isinstance(v, complex) or hasattr(v, "tangent") or hasattr(v, "_mpc_") for v in found):
        raise DtypeError(f"{operation}: x={x!r}; accepted are real numbers. Take the real part, or convert to float.")
    floats = tuple(float(v) for v in found)
    if not floats or not all(map(math.isfinite, floats)):
        raise ParameterError(
            f"{operation}: x={x!r}; accepted are one or more finite numbers. Move the point to where fn is defined."
        )
    return floats


def at_numbers(operation: str, fn: ScalarFunction) -> Callable[..., Any]:
    """fn, written for Value, as a function of plain numbers of any type; DtypeError where it returns no number."""

    def plain(*xs: Any) -> Any:
        y = fn(*[Value(x) for x in xs])
        return y.data if isinstance(y, Value) else number(y, operation)

    return plain


def by_reverse(operation: str, fn: ScalarFunction, xs: Sequence[Any]) -> tuple[Any, ...]:
    """One call of fn on Values, one backward pass."""
    leaves = [Value(x) for x in xs]
    y = fn(*leaves)
    if not isinstance(y, Value):
        number(y, operation)  # a constant: gradients stay 0
        return tuple(0 * x for x in xs)
    y.backward()
    return tuple(leaf.grad for leaf in leaves)


def by_forward(operation: str, fn: ScalarFunction, xs: Sequence[Any]) -> tuple[Any, ...]:
    """One call of fn on Duals for each input."""
    slopes = []
    for i in range(len(xs)):
        y = fn(*[Dual(x, 1 if i == j else 0) for j, x in enumerate(xs)])
        slopes.append(y.tangent if isinstance(y, Dual) else 0 * number(y, operation))
    return tuple(slopes)


def by_differences(
    operation: str, method: str, fn: ScalarFunction, xs: Sequence[float], step: float | None = None
) -> tuple[float, ...]:
    """One of DIFFERENCES, with its own step unless one is given. Raises ParameterError for another method."""
    if method not in DIFFERENCES:
        raise ParameterError(
            f"{operation}: method={method!r}; accepted are {', '.join(DIFFERENCES)}. Choose one of them."
        )
    plain = at_numbers(operation, fn)
    options = {} if step is None else {"step": step}
    return tuple(float(d) for d in DIFFERENCES[method](lambda a: plain(*a), np.array(xs), **options))


def exact_gradient(operation: str, fn: ScalarFunction, xs: Sequence[float]) -> tuple[Any, ...]:
    """The gradient to 50 digits, as mpmath numbers: by Dual, and held against mpmath.diff from either side.

    The floats of xs (and those in fn) are taken as the exact numbers they are. Raises DerivativeError where the
    derivative does not exist: the two sides disagree, it is infinite, or fn is not defined around the point.
    """
    import mpmath

    with mpmath.workdps(EXACT_DIGITS):
        points = [mpmath.mpf(x) for x in xs]
        try:
            slopes = tuple(mpmath.mpf(s) for s in by_forward(operation, fn, points))
            plain = at_numbers(operation, fn)
            sides = [
                mpmath.diff(lambda t, i=i: plain(*points[:i], t, *points[i + 1 :]), points[i], direction=side)
                for i in range(len(points))
                for side in (-1, 1)
            ]
        except ArithmeticError as fault:
            raise DerivativeError(
                f"{operation}: fn has no value or slope at or beside x={_shown(xs)}; accepted are points with a "
                "neighbourhood in which fn is defined. Move the point."
            ) from fault
        for i, slope in enumerate(slopes):
            left, right = sides[2 * i : 2 * i + 2]
            scale = max(1, abs(slope))
            if not (abs(left - slope) <= SMOOTH * scale and abs(right - slope) <= SMOOTH * scale):
                raise DerivativeError(
                    f"{operation}: at x={_shown(xs)} the slope towards argument {i} is {mpmath.nstr(left, 8)} from the "
                    f"left, {mpmath.nstr(right, 8)} from the right and {mpmath.nstr(slope, 8)} by the rules; accepted "
                    "are points where they are one finite number. Move the point off the kink."
                )
        return slopes


def _shown(xs: Sequence[float]) -> str:
    return f"{xs[0]!r}" if len(xs) == 1 else repr(tuple(xs))
