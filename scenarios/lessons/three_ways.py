"""Three ways to a derivative: a formula, a difference, and a walk through the steps

Claim: A formula is exact but swells, a difference is cheap to write but off, and automatic differentiation is exact and
    as long as the program: for 4 x (1 - x) applied three times to 0.2 the slope is 9.06609, a difference says 9.06543.
Story: Take the step l(x) = 4 x (1 - x) and apply it three times. Symbolic differentiation works as in school, on the
    formula. The rule for products writes both factors twice, so with each further step the formula of the derivative
    becomes about three times as long, though the program gained one line. Multiplied out it is a polynomial, but one
    whose whole numbers become twice as long with each step.

    Numerical differentiation knows no formula. It calls the program at 0.2 + h and at 0.2 - h and divides the
    difference by 2 h. For n inputs that is 2 n calls, and the answer is off: with h = 0.001 in the fourth digit.

    Automatic differentiation works on the numbers of this one run. Three steps have three slopes, 4 (1 - 2 x) at x =
    0.2, 0.64 and 0.9216: 2.4, -1.12 and -3.3728. It multiplies these and is done: there is no formula to simplify, and
    no error but rounding. For any number of inputs it takes one run forward and one walk back. This is what PyTorch
    does: `backward()` walks back through the steps of the run, whatever loops and branches the program took.
Exercise: Apply the step a fourth time. The third gave 0.289014. What is the derivative of the result with respect to x
    at 0.2?
Answer: One more slope, 4 (1 - 2 · 0.289014) = 1.68789, one more product: 9.06609 · 1.68789 = 15.3026. The formula grew
    to three times its length for the same step.
Source: Baydin, Pearlmutter, Radul, Siskind, Automatic differentiation in machine learning: a survey, 2018, sec. 2.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from ...reference_engine import (
    Value,
    evaluation_counts,
    expression_growth,
    grad,
    symbolic_derivative,
    three_ways,
)
from ...reference_engine.numerical import central
from ..layout import table
from ..observing import ROUNDING
from ..scenario import Numbers, plain
from .lesson import Exhibit, Lesson

H = 0.001

# A difference divides by h what was rounded before, so two engines may be 1/h times further apart.
ROUNDING_OF_DIFFERENCES = ROUNDING / H


def step(x: Any) -> Any:
    """The logistic map: 4 x (1 - x)."""
    return 4 * x * (1 - x)


def three_steps(x: Any) -> Any:
    return step(step(step(x)))


def on_value() -> Numbers:
    """The same function, given a formula, two numbers nearby, and a Value."""

    def f(x):
        for _ in range(3):
            x = 4 * x * (1 - x)
        return x

    formula = symbolic_derivative(f)
    x, h = Value(0.2), 0.001
    y = f(x)
    y.backward()
    return {
        "y": [y.data],
        "symbolic": list(formula.gradient_at(0.2)),
        "numerical, h = 0.001": [(f(0.2 + h) - f(0.2 - h)) / (2 * h)],
        "automatic": [x.grad],
    }


def on_arrays() -> Numbers:
    """The engine's own central difference; the formula, written for NumPy by SymPy."""
    return {
        "y": plain(three_steps(0.2)),
        "symbolic": plain(_formula()(0.2)),
        "numerical, h = 0.001": plain(central(three_steps, 0.2, H)),
        "automatic": plain(grad(three_steps)(0.2)),
    }


def in_torch() -> Numbers:
    """PyTorch knows the third way only; the formula and the difference are evaluated on tensors."""
    import torch

    x = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    y = three_steps(x)
    y.backward()
    with torch.no_grad():
        return {
            "y": plain(y),
            "symbolic": plain(_formula()(x)),
            "numerical, h = 0.001": plain((three_steps(x + H) - three_steps(x - H)) / (2 * H)),
            "automatic": plain(x.grad),
        }


def _formula() -> Any:
    """The formula of the derivative, as a function of whatever can be multiplied and added."""
    import sympy

    found = symbolic_derivative(three_steps)
    return sympy.lambdify(found.symbols, found.derivative)


def answer_on_value() -> float:
    x = Value(0.2)
    step(three_steps(x)).backward()
    return x.grad


def answer_on_arrays() -> float:
    return float(grad(lambda x: step(three_steps(x)))(0.2))


def answer_in_torch() -> float:
    import torch

    x = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    step(three_steps(x)).backward()
    return x.grad.item()


def _side_by_side() -> str:
    """Every method of the engine, at the lesson's point."""
    rows = [
        (w.method, w.kind, f"{w.gradient[0]:.15g}", f"{w.relative_error:.0e}", str(w.calls))
        for w in three_ways(three_steps, 0.2, three_steps).ways
        if w.method != "richardson"
    ]
    return _flush(table(("method", "kind", "slope", "relative error", "calls"), rows))


@functools.cache
def _growth() -> Any:
    return expression_growth(step, range(1, 8))


def _swelling() -> str:
    rows = [tuple(map(str, (r.depth, r.derivative, r.digits, r.automatic))) for r in _growth().rows]
    return _flush(table(("steps", "symbols in the formula", "longest number, multiplied out", "automatic"), rows))


@functools.cache
def _counts() -> Any:
    return evaluation_counts([1, 10, 100, 1000])


def _calls() -> str:
    counts = {(row.method, row.parameters): row for row in _counts()}
    rows = [
        (str(n), str(counts["central", n].calls), f"{counts['reverse', n].calls} and {counts['reverse', n].passes}")
        for n in (1, 10, 100, 1000)
    ]
    return _flush(table(("inputs", "calls for differences to both sides", "run and walk back"), rows))


def _growth_plot() -> tuple[str, dict[str, Any]]:
    return "growth_figure", {"rows": [dataclasses.asdict(row) for row in _growth().rows]}


def _counts_plot() -> tuple[str, dict[str, Any]]:
    return "evaluation_figure", {"rows": [dataclasses.asdict(row) for row in _counts()]}


def _flush(lines: list[str]) -> str:
    return "\n".join(line.strip() for line in lines)


LESSON = Lesson.from_essay(
    __doc__,
    on_value,
    on_arrays,
    in_torch,
    stated={
        "y": [0.289014],
        "symbolic": [9.06609],
        "numerical, h = 0.001": [9.06543],
        "automatic": [9.06609],
    },
    answer=15.3026,
    answers=(answer_on_value, answer_on_arrays, answer_in_torch),
    exhibits=(
        Exhibit("All three ways at 0.2; the next lesson has more on numerical ones", text=_side_by_side),
        Exhibit("The derivative of 1 to 7 steps: symbols of the formula, operations of the walk", text=_swelling),
        Exhibit("How the formulas grow, and the program does not", plot=_growth_plot),
        Exhibit("What the gradient of n inputs takes, counted", text=_calls),
        Exhibit("The seconds of one gradient of n inputs", plot=_counts_plot),
    ),
    rounding=ROUNDING_OF_DIFFERENCES,
)
