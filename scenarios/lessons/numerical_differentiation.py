"""Numerical differentiation: a step too large, a step too small, and a step into the complex plane

Claim: A difference quotient is wrong in two ways, by the bend of the curve if the step is large, by rounding if it is
    small: for sin(x²) at 1, whose slope is 1.0806, the step 0.01 gives 1.06894 to one side and 1.08036 to both sides.
Story: Nothing is simpler: compute f at two points and divide the difference by their distance. It needs no rule, and f
    may be a black box. But the curve bends between the points. From x to x + h the error is about h/2 times the second
    derivative: a step ten times smaller makes it ten times smaller. From x - h to x + h the bends of both sides cancel,
    and the error goes with h²: a hundred times smaller.

    So take h tiny? A float64 number has 16 digits, and a difference of two nearly equal numbers keeps their rounding
    but not their size: it is off by about 1e-16, which division by h turns into 1e-16/h. Halve the step and this error
    doubles. With logarithmic axes the first error is a line that rises (with slope 1 to one side, 2 to both), the
    second a line that falls (slope -1), and together they are a U. Its lowest point is near h = 1e-8, with 7 or 8
    right digits, to one side, and between 1e-6 and 1e-5, with 10 or more (where both errors cancel by luck), to both.

    The complex step leaves the real line. For a smooth f, f(x + ih) is f(x) + ih f'(x), up to terms with h² and higher;
    so the imaginary part is h times the slope, and stands in a place of its own. Nothing is subtracted, h may be 1e-30,
    and all digits are right.

    Automatic differentiation has these digits too, and also for functions that take no complex numbers, or have a max
    in them. Differences are still the best check of it, for they know no rule that could be wrong.
    `torch.autograd.gradcheck` compares PyTorch with central differences, and wants float64 because of the U.
Exercise: Take f(x) = x³ at 1, where the slope is 3, and a difference to both sides with the large step h = 0.5. What
    does it give?
Answer: (1.5³ - 0.5³)/1 = 3.375 - 0.125 = 3.25. For a cube the error is h² wherever x is, here 0.25; with h = 0.05 it is
    0.0025, a hundred times smaller.
Source: Squire and Trapp, Using complex variables to estimate derivatives of real functions, 1998; Numerical Recipes,
    sec. 5.7.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ...reference_engine import Value, error_curve, grad, ops
from ...reference_engine.numerical import central, complex_step, one_sided
from ..layout import table
from ..observing import ROUNDING
from ..scenario import Numbers, plain
from .lesson import Exhibit, Lesson

H = 0.01

# A difference divides by h what was rounded before, so two engines may be 1/h times further apart.
ROUNDING_OF_DIFFERENCES = ROUNDING / H

METHODS = {"one_sided": "to one side", "central": "to both sides", "complex_step": "complex step"}
SIDES = {"truncation": "the bend", "rounding": "the rounding"}


def on_value() -> Numbers:
    """`backward` is asked once; the three others only call f, at nearby points."""

    def f(x):
        return (x * x).sin()

    x, h = Value(1.0), 0.01
    f(x).backward()
    after, here, before = f(Value(1 + h)).data, f(Value(1.0)).data, f(Value(1 - h)).data
    return {
        "by backward": [x.grad],
        "to one side, h = 0.01": [(after - here) / h],
        "to both sides, h = 0.01": [(after - before) / (2 * h)],
        "complex step, h = 1e-30": [f(Value(1 + 1e-30j)).data.imag / 1e-30],
    }


def on_arrays() -> Numbers:
    """The engine's own differences, for functions of arrays."""

    def f(x: Any) -> Any:
        return np.sin(x * x)

    return {
        "by backward": plain(grad(lambda x: ops.sin(x * x))(1.0)),
        "to one side, h = 0.01": plain(one_sided(f, 1.0, H)),
        "to both sides, h = 0.01": plain(central(f, 1.0, H)),
        "complex step, h = 1e-30": plain(complex_step(f, 1.0, 1e-30)),
    }


def in_torch() -> Numbers:
    """PyTorch in float64 and complex128."""
    import torch

    def f(x: Any) -> Any:
        return torch.sin(x * x)

    x = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    f(x).backward()
    with torch.no_grad():
        after, here, before = f(x + H), f(x), f(x - H)
        return {
            "by backward": plain(x.grad),
            "to one side, h = 0.01": plain((after - here) / H),
            "to both sides, h = 0.01": plain((after - before) / (2 * H)),
            "complex step, h = 1e-30": plain(f(x + 1e-30j).imag / 1e-30),
        }


def answer_on_value() -> float:
    return (Value(1.5) ** 3 - Value(0.5) ** 3).data / 1.0


def answer_on_arrays() -> float:
    return float(central(lambda x: x**3, 1.0, 0.5))


def answer_in_torch() -> float:
    import torch

    after, before = torch.tensor([1.5, 0.5], dtype=torch.float64) ** 3
    return ((after - before) / (2 * 0.5)).item()


@functools.cache
def _curve() -> Any:
    return error_curve(lambda x: (x * x).sin(), 1.0, methods=tuple(METHODS))


def _errors() -> str:
    """The error of each method at whole powers of ten."""
    error = {(row["method"], row["step"]): row["error"] for row in _curve().rows()}
    rows = [(f"1e-{k}", *(f"{error[method, float(f'1e-{k}')]:.1e}" for method in METHODS)) for k in range(1, 17)]
    return "\n".join(line.strip() for line in table(("h", *METHODS.values()), rows))


def _slopes() -> str:
    rows = [
        (
            METHODS[line["method"]],
            SIDES[line["part"]],
            f"{line['low']:.0e} to {line['high']:.0e}",
            f"{line['slope']:.2f}",
        )
        for line in _curve().lines()
    ]
    return "\n".join(line.strip() for line in table(("step", "what is wrong", "for h from", "slope"), rows))


def _plot() -> tuple[str, dict[str, Any]]:
    curve = _curve()
    bests = [
        {"method": c.method, "step": c.best_step, "error": c.best_error, "theory_step": c.theory_step}
        for c in curve.methods
    ]
    return "error_curve_figure", {"rows": curve.rows(), "lines": curve.lines(), "bests": bests}


LESSON = Lesson.from_essay(
    __doc__,
    on_value,
    on_arrays,
    in_torch,
    stated={
        "by backward": [1.0806],
        "to one side, h = 0.01": [1.06894],
        "to both sides, h = 0.01": [1.08036],
        "complex step, h = 1e-30": [1.0806],
    },
    answer=3.25,
    answers=(answer_on_value, answer_on_arrays, answer_in_torch),
    exhibits=(
        Exhibit("How far off each is: down, and up again; the complex step stays down", text=_errors),
        Exhibit("The slopes of these curves with logarithmic axes, fitted to this run", text=_slopes),
        Exhibit("The same as a plot: each difference is a U with two slopes", plot=_plot),
    ),
    rounding=ROUNDING_OF_DIFFERENCES,
)
