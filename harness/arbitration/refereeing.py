"""The referee: one scalar expression, every engine, and who is off by more than rounding explains.

The right numbers come from mpmath with the referee's own table of slopes, the bound from running error analysis of the
same expression; no engine has a part in either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath as mp
import numpy as np
import torch

from ...reference_engine import Dual, Value, ops, value_and_grad
from ...reference_engine.errors import EngineError
from ...reference_engine.registry import PRIMITIVES
from ...reports.formatting import clip
from ..errors import UsageError
from ..generation.emit import compiled, number
from ..generation.scalar_expressions import INPUTS, ScalarExpression, given
from ..generation.written_expressions import written_expression
from .conditioning import Reading, read
from .exact_functions import DIGITS, WORKING, exactly, last_place, nearest

FLOAT = 2.0**-53  # unit roundoff of float64
MPF = mp.mpf(10) ** -DIGITS
# Fractions round nothing; what is allowed is the error of the reference, which is computed with WORKING digits.
EXACT_BUT_REFERENCE = mp.mpf(10) ** -(WORKING - 8)
WIDEST = 40  # characters of a cell; what an engine raised stands below the table in full
NO_SLOPE = "multiplies an infinite slope by 0"
SAVED = "forms the slope of {} from its rounded result"


@dataclass(frozen=True)
class Answer:
    """What one engine gave, in its own type of number; or `raised`, its error on one line."""

    engine: str
    roundoff: Any
    value: Any = None
    gradient: tuple[Any, ...] = ()
    raised: str = ""


@dataclass(frozen=True)
class Line:
    """One number of one engine: its error and what rounding explains, both in units in the last place of the right
    number rounded to float64. The right number is None where there is none; is_within: nothing to complain about."""

    engine: str
    quantity: str
    found: str
    right: float | None
    error: float
    bound: float
    is_within: bool


@dataclass(frozen=True)
class Ruling:
    """What the referee says.

    odd: engines with a number outside the bound, or that raised where there is a number; empty when all agree. causes:
    for an engine that is odd, a known reason that explains its error in full. right: the value rounded to float64, then
    the gradient; None where there is no number, or several at a kink. kinks, singular: where in the expression. The
    text of a ruling is its table.
    """

    expression: ScalarExpression
    inputs: tuple[float, ...]
    right: tuple[float | None, ...]
    lines: tuple[Line, ...]
    odd: tuple[str, ...]
    causes: dict[str, str]
    kinks: tuple[str, ...]
    singular: tuple[str, ...]

    def __str__(self) -> str:
        at = ", ".join(f"{n} = {x!r}" for n, x in zip(INPUTS, self.inputs, strict=False))
        rows = [("engine", "quantity", "number", "error", "bound", "")]
        rows += [
            (x.engine, x.quantity, clip(x.found, WIDEST), _ulps(x.error), _ulps(x.bound), "" if x.is_within else "odd")
            for x in self.lines
        ]
        wide = [max(len(row[i]) for row in rows) for i in range(6)]
        table = ["  ".join(cell.ljust(w) for cell, w in zip(row, wide, strict=True)).rstrip() for row in rows]
        right = [
            f"{q} {'none, or several' if r is None else repr(r)}"
            for q, r in zip(_quantities(self), self.right, strict=True)
        ]
        said = [f"kink: {k}, where each side has a slope of its own" for k in self.kinks]
        said += [f"singular: {s}" for s in self.singular]
        said += [f"{x.engine}: {x.found}" for x in self.lines if x.quantity == "raised"]
        said += [f"odd: {e}" + (f" ({self.causes[e]})" if e in self.causes else "") for e in self.odd]
        if not self.odd:
            said.append("none is odd" if self.right[0] is None else "all agree")
        head = [
            str(self.expression),
            f"at {at}; errors and bounds in units in the last place",
            "right: " + ", ".join(right),
        ]
        return "\n".join([*head, *table, *said])


def _quantities(ruling: Ruling) -> list[str]:
    return ["value", *[f"∂/∂{n}" for n in INPUTS[: len(ruling.inputs)]]]


def _ulps(x: float) -> str:
    return "-" if math.isnan(x) else f"{x:.3g}"


def referee(expression: ScalarExpression | Callable[..., Any], inputs: Sequence[float]) -> Ruling:
    """Value and gradient of the expression by every engine, held against 50 digits.

    expression: drawn by `strategies.scalar_expressions()`, or a function of 1 to 3 numbers without branches, written
    with the operations and methods of `Value`, as in `referee(lambda x: x.sin() * x, [0.3])`.
    Engines: Value on float, on mpf with 50 digits, and, where the expression is rational, on Fraction; Dual on float;
    the array engine; PyTorch in float64. Raises UsageError unless there is one finite float for each input.
    """
    try:
        point = tuple(float(x) for x in inputs)
    except (TypeError, ValueError):
        raise UsageError(
            f"referee: inputs={inputs!r}; accepted is a sequence of finite numbers, one for each input. Pass a list."
        ) from None
    if not isinstance(expression, ScalarExpression):
        expression = written_expression(expression, len(point))
    if len(point) != expression.inputs or not all(map(math.isfinite, point)):
        raise UsageError(
            f"referee: inputs={point} for an expression of {expression.inputs}; accepted is one finite number for each "
            "input. Correct the inputs."
        )
    readings: dict[Any, Reading] = {}
    lines: list[Line] = []
    causes: dict[str, str] = {}
    for answer in answers(expression, point):
        if answer.roundoff not in readings:
            readings[answer.roundoff] = read(expression, point, answer.roundoff)
        reading = readings[answer.roundoff]
        judged = _lines(answer, reading, reading.bounds)
        lines += judged
        cause = _cause(answer, reading, judged)
        if cause:
            causes[answer.engine] = cause
    usual = readings[FLOAT]
    return Ruling(
        expression,
        point,
        _right(usual, len(point)),
        tuple(lines),
        tuple(dict.fromkeys(x.engine for x in lines if not x.is_within)),
        causes,
        tuple(usual.kinks),
        tuple(usual.singular),
    )


def _cause(answer: Answer, reading: Reading, judged: Sequence[Line]) -> str:
    """The known reason that explains all numbers of an engine that are outside the bound, or ""."""
    outside = [x for x in judged if not x.is_within]
    if outside and reading.infinite_slopes and all(x.found == "nan" and x.quantity != "value" for x in outside):
        return NO_SLOPE
    if outside and reading.lossy and all(x.is_within for x in _lines(answer, reading, reading.lossy_bounds)):
        return SAVED.format(" and ".join(sorted(set(reading.lossy))))
    return ""


def _right(reading: Reading, inputs: int) -> tuple[float | None, ...]:
    if reading.value is None:
        return (None,) * (1 + inputs)
    with exactly():
        ends = [(nearest(low), nearest(high)) for low, high in reading.gradient]
        gradient = [low if low == high and not reading.infinite_slopes else None for low, high in ends]
        return (nearest(reading.value), *gradient)


def _lines(answer: Answer, reading: Reading, bounds: Sequence[Any]) -> list[Line]:
    """One line a number; one line in all for an engine that raised."""
    if answer.raised:
        # Within rounding of a singular point an engine may stand on it; elsewhere there is a number to be had.
        known = reading.value is not None and not reading.singular and mp.isfinite(reading.value_bound)
        known = known and all(mp.isfinite(b) for b in bounds)
        return [Line(answer.engine, "raised", answer.raised, None, math.nan, math.nan, not known)]
    found = [answer.value, *answer.gradient]
    names = ["value", *[f"∂/∂{n}" for n in INPUTS[: len(answer.gradient)]]]
    if reading.value is None:
        return [
            Line(answer.engine, q, _shown(x), None, math.nan, math.nan, True) for q, x in zip(names, found, strict=True)
        ]
    ends = [(reading.value, reading.value), *reading.gradient]
    limits = [reading.value_bound, *bounds]
    with exactly():
        return [_line(answer.engine, *four) for four in zip(names, found, ends, limits, strict=True)]


def _line(engine: str, quantity: str, found: Any, ends: tuple[Any, Any], bound: Any) -> Line:
    x = _exact(found)
    right = nearest(ends[0])
    unit = last_place(right) if math.isfinite(right) else math.nan
    off = mp.mpf("nan") if mp.isnan(x) else max(ends[0] - x, x - ends[1], mp.mpf(0))
    within = bool(mp.isinf(bound) or off <= bound or (math.isinf(right) and x == right))  # above the largest float
    several = nearest(ends[1]) != right
    return Line(
        engine, quantity, _shown(found), None if several else right, float(off / unit), float(bound / unit), within
    )


def _exact(x: Any) -> Any:
    return mp.mpf(x.numerator) / x.denominator if isinstance(x, Fraction) else mp.mpf(x)


def _shown(x: Any) -> str:
    return mp.nstr(x, 20) if isinstance(x, mp.mpf) else str(x) if isinstance(x, Fraction) else repr(float(x))


# -- the engines ------------------------------------------------------------------------------------------------------


def answers(expression: ScalarExpression, inputs: Sequence[float]) -> list[Answer]:
    """What every engine gives. An engine that raises has an answer that says so."""
    engines: list[tuple[str, Any, Callable[..., Any]]] = [
        ("Value on float", FLOAT, lambda: _by_value(expression, inputs, float)),
        ("Value on mpf", MPF, lambda: _by_mpf(expression, inputs)),
        ("Dual on float", FLOAT, lambda: _by_dual(expression, inputs)),
        ("array engine", FLOAT, lambda: _by_arrays(expression, inputs)),
        ("PyTorch", FLOAT, lambda: _by_torch(expression, inputs)),
    ]
    if expression.is_rational:
        engines.insert(1, ("Value on Fraction", EXACT_BUT_REFERENCE, lambda: _by_value(expression, inputs, Fraction)))
    found = []
    for name, roundoff, ask in engines:
        try:
            value, gradient = ask()
            found.append(Answer(name, roundoff, value, tuple(gradient)))
        except (EngineError, ArithmeticError, ValueError, RuntimeError) as error:
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"[:160]
            found.append(Answer(name, roundoff, raised=text))
    return found


def _by_value(expression: ScalarExpression, inputs: Sequence[float], kind: Callable[[float], Any]) -> tuple[Any, Any]:
    leaves = [Value(kind(x)) for x in inputs]
    y = expression(*leaves, constant=kind)
    y.backward()
    return y.data, [x.grad for x in leaves]


def _by_mpf(expression: ScalarExpression, inputs: Sequence[float]) -> tuple[Any, Any]:
    with mp.workdps(DIGITS):
        y, gradient = _by_value(expression, inputs, mp.mpf)
        return y, [mp.mpf(g) for g in gradient]


def _by_dual(expression: ScalarExpression, inputs: Sequence[float]) -> tuple[Any, Any]:
    runs = [expression(*[Dual(x, 1.0 if i == k else 0) for i, x in enumerate(inputs)]) for k in range(len(inputs))]
    return runs[0].data, [y.tangent for y in runs]


def _by_arrays(expression: ScalarExpression, inputs: Sequence[float]) -> tuple[Any, Any]:
    def function(*xs: Any) -> Any:
        return expression.nodes(xs, lambda name, *operands: getattr(ops, name)(*operands))[-1]

    with np.errstate(all="ignore"):
        y, gradient = value_and_grad(function, argnums=tuple(range(len(inputs))))(*inputs)
    return float(y), [float(g) for g in gradient]


def _by_torch(expression: ScalarExpression, inputs: Sequence[float]) -> tuple[Any, Any]:
    leaves = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in inputs]
    y = compiled(torch_source(expression))(*leaves)
    gradient = torch.autograd.grad(y, leaves, allow_unused=True)
    return float(y.detach()), [0.0 if g is None else float(g) for g in gradient]


def torch_source(expression: ScalarExpression) -> str:
    """The expression as a PyTorch function, in the registry's own spellings; one line a step."""
    names = list(INPUTS[: expression.inputs])
    lines = [f"def f({', '.join(names)}):"]
    for step in expression.steps:
        written = []
        for operand in given(step, names):
            if isinstance(operand, str):
                written.append(operand)
            elif step.name == "pow":
                written.append(number(operand))  # torch treats an exponent that is a plain number as a constant
            else:
                written.append(f"torch.tensor({number(float(operand))}, dtype=torch.float64)")
        spelling = PRIMITIVES[step.name].torch
        assert isinstance(spelling, str)
        name = f"n{len(names)}"
        lines.append(f"    {name} = {spelling.format(*written, args=', '.join(written))}")
        names.append(name)
    return "\n".join([*lines, f"    return {names[-1]}"]) + "\n"
