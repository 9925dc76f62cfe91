"""`ScalarExpression`: arithmetic on single numbers with shared operands, and the hypothesis strategy that draws it.

It is written once and read by every engine: by `Value` and `Dual` on any type of number, by the array engine, by
PyTorch, by mpmath.
"""

from __future__ import annotations

import operator
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hypothesis import strategies as st

from ...reference_engine.errors import EngineError
from ...reference_engine.scalar import Value
from ..errors import UsageError
from .contents import SIMPLE

Operand = int | float  # an int is the number of an earlier node, a float is a constant
INPUTS = ("x", "y", "z")


@dataclass(frozen=True)
class Operation:
    """How an operation is written in Python, how tightly that binds, and how numbers with methods apply it."""

    text: str
    binds: int
    apply: Callable[..., Any]
    is_rational: bool = False

    @property
    def arity(self) -> int:
        return 2 if "{1}" in self.text else 1


SUM, PRODUCT, SIGN, POWER, WHOLE = range(5)  # how tightly a text binds; WHOLE needs no parentheses


def _chosen(name: str) -> Callable[[Any, Any], Any]:
    """max or min by the method of the operand that has one; a plain number has none."""
    return lambda a, b: getattr(a, name)(b) if hasattr(a, name) else getattr(b, name)(a)


# By the name of the primitive, simple ones first: hypothesis shrinks towards them.
OPERATIONS: dict[str, Operation] = {
    "add": Operation("{0} + {1}", SUM, operator.add, True),
    "multiply": Operation("{0} * {1}", PRODUCT, operator.mul, True),
    "negative": Operation("-{0}", SIGN, operator.neg, True),
    "subtract": Operation("{0} - {1}", SUM, operator.sub, True),
    "divide": Operation("{0} / {1}", PRODUCT, operator.truediv, True),
    "pow": Operation("{0} ** {1}", POWER, operator.pow, True),
    "abs": Operation("abs({0})", WHOLE, abs, True),
    "relu": Operation("relu({0})", WHOLE, operator.methodcaller("relu"), True),
    "maximum": Operation("max({0}, {1})", WHOLE, _chosen("max"), True),
    "minimum": Operation("min({0}, {1})", WHOLE, _chosen("min"), True),
    **{
        name: Operation(name + "({0})", WHOLE, operator.methodcaller(name))
        for name in ("exp", "log", "sqrt", "sin", "cos", "tan", "tanh", "sigmoid", "softplus", "erf")
    },
}


class Step(NamedTuple):
    """One operation: its name in OPERATIONS, and its operands."""

    name: str
    operands: tuple[Operand, ...]


@dataclass(frozen=True)
class ScalarExpression:
    """A function of 1 to 3 numbers: nodes 0, 1, … are the inputs, each step adds a node, the last one is the result.

    Constants are floats, which every type of number holds exactly; a whole exponent is given to all engines as an int.
    Raises UsageError for steps that do not fit.
    """

    inputs: int
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.inputs <= len(INPUTS) or not self.steps:
            self._refuse(f"{self.inputs} inputs and {len(self.steps)} steps", "1 to 3 inputs and a step or more")
        for number, (name, operands) in enumerate(self.steps):
            if name not in OPERATIONS or len(operands) != OPERATIONS[name].arity:
                self._refuse(f"{name!r} with {len(operands)} operands", f"{', '.join(OPERATIONS)}, as they are written")
            nodes = [o for o in operands if isinstance(o, int)]
            if not nodes or not all(0 <= o < self.inputs + number for o in nodes):
                self._refuse(
                    f"operands {operands} of step {number}", "earlier nodes by number, at least one, and floats"
                )

    def _refuse(self, found: str, accepted: str) -> None:
        raise UsageError(f"ScalarExpression: found {found}; accepted are {accepted}. Correct the steps.")

    @property
    def is_rational(self) -> bool:
        """Whether fractions go in and come out: + - * /, whole powers, relu, abs, max, min."""
        return all(map(is_rational, self.steps))

    def nodes(
        self, numbers: Sequence[Any], apply: Callable[..., Any], constant: Callable[[float], Any] = float
    ) -> list[Any]:
        """The value of every node, where apply(name, *operands) computes one and `constant` makes a number."""
        values = list(numbers)
        for step in self.steps:
            values.append(apply(step.name, *given(step, values, constant)))
        return values

    def __call__(self, *numbers: Any, constant: Callable[[float], Any] = float) -> Any:
        """The result for numbers with methods and operators, such as Value and Dual."""
        return self.nodes(numbers, applied, constant)[-1]

    def __str__(self) -> str:
        """Python source: shared nodes have a name, others stand where they are used."""
        uses = [o for s in self.steps for o in s.operands if isinstance(o, int)]
        names = iter(string.ascii_lowercase)
        texts: list[tuple[str, int]] = [(name, WHOLE) for name in INPUTS[: self.inputs]]
        lines = [f"def f({', '.join(INPUTS[: self.inputs])}):"]
        for name, operands in self.steps:
            written = _written(OPERATIONS[name], [texts[o] if isinstance(o, int) else _literal(o) for o in operands])
            if uses.count(len(texts)) > 1:
                shared = next(names)
                lines.append(f"    {shared} = {written[0]}")
                written = (shared, WHOLE)
            texts.append(written)
        return "\n".join([*lines, f"    return {texts[-1][0]}"])


def given(step: Step, values: Sequence[Any], constant: Callable[[float], Any] = float) -> list[Any]:
    """The operands of a step as numbers; a whole exponent is an int, which leaves every type of number as it is."""
    numbers = [values[o] if isinstance(o, int) else constant(o) for o in step.operands]
    if step.name == "pow" and _whole(step.operands[1]):
        numbers[1] = int(step.operands[1])
    return numbers


def is_rational(step: Step) -> bool:
    """Whether the step makes a fraction of fractions."""
    return OPERATIONS[step.name].is_rational and (step.name != "pow" or _whole(step.operands[1]))


def applied(name: str, *operands: Any) -> Any:
    """The operation on numbers that have its operator or method."""
    return OPERATIONS[name].apply(*operands)


def _whole(o: Operand) -> bool:
    return isinstance(o, float) and o.is_integer()


def _literal(x: float) -> tuple[str, int]:
    return (str(int(x)) if x.is_integer() and abs(x) < 1e6 else repr(x)), WHOLE if x >= 0 else SIGN


def _written(operation: Operation, operands: Sequence[tuple[str, int]]) -> tuple[str, int]:
    """The text of an operation, with parentheses around operands that bind less tightly."""
    if operation.binds == WHOLE:
        return operation.text.format(*[text for text, _ in operands]), WHOLE
    written = []
    for place, (text, binds) in enumerate(operands):
        # Operators group from the left, ** from the right; a sign is set apart wherever it is not the first thing.
        later = place == 1 if operation.binds != POWER else place == 0
        loose = binds < operation.binds or (binds == operation.binds and later) or (binds == SIGN and place == 1)
        written.append(f"({text})" if loose else text)
    return operation.text.format(*written), operation.binds


class ScalarCase(NamedTuple):
    """An expression and the numbers at which it is differentiated: the arguments of `referee`."""

    expression: ScalarExpression
    inputs: tuple[float, ...]

    def __repr__(self) -> str:
        return f"{self.expression}\n# at {', '.join(f'{n} = {x!r}' for n, x in zip(INPUTS, self.inputs, strict=False))}"


LARGEST = 1e8  # no value of a drawn expression is greater
MOST = 8
GOING_ON = 7  # one draw in so many, and one, ends an expression
CONSTANTS = (*SIMPLE, 0.1, 4.0, -3.0)
_NUMBERS = st.one_of(
    st.sampled_from(SIMPLE),
    st.integers(-40, 40).map(lambda n: n / 8.0),
    st.floats(-20.0, 20.0, allow_subnormal=False),
)


def scalar_expressions(*, rational: bool = False, most: int = MOST) -> st.SearchStrategy[ScalarCase]:
    """Expressions with shared operands over one to three numbers, each defined at the numbers that come with it.

    rational: only + - * /, whole powers, relu, abs, max and min, which fractions go through. most: number of steps.
    Kinks, ties and infinite slopes are drawn; logarithms of 0 and the like are not. Shrinks towards few steps, `add`,
    one input and the numbers 1, 0, 2, ½.
    """
    return _cases(rational, most)


@st.composite
def _cases(draw: Any, rational: bool, most: int) -> ScalarCase:
    """Steps on nodes that nothing reads yet, newest first, or on any; what is left over is joined in the end."""
    numbers = [draw(_NUMBERS) for _ in range(draw(st.integers(1, len(INPUTS))))]
    values: list[float] = list(numbers)
    steps: list[Step] = []
    unused = dict.fromkeys(range(len(numbers)))

    def node() -> int:
        newest = [*reversed(unused), *(n for n in reversed(range(len(values))) if n not in unused)]
        return newest[draw(st.integers(0, min(2, len(newest) - 1)))]

    def keep(options: Sequence[Step]) -> None:
        possible = [(s, y) for s in options if (y := _defined(s, values, rational)) is not None]
        step, y = possible[draw(st.integers(0, len(possible) - 1))]
        for o in step.operands:
            if isinstance(o, int):  # the float 1.0 would be found as the node 1
                unused.pop(o, None)
        unused[len(values)] = None
        steps.append(step)
        values.append(y)

    # A draw before each step says whether there is one, so that hypothesis can delete a step in one piece.
    while len(steps) < most and (draw(st.integers(0, GOING_ON)) or not steps):
        first, place = node(), draw(st.integers(0, 2 * len(CONSTANTS)))
        if place >= len(CONSTANTS):
            pair: tuple[Operand, Operand] = (first, node())
        else:  # a constant stands to the right, or to the left
            pair = (first, CONSTANTS[place]) if draw(st.booleans()) else (CONSTANTS[place], first)
        keep([Step(name, pair if o.arity == 2 else (first,)) for name, o in OPERATIONS.items()])
    while len(unused) > 1:
        last, before = list(unused)[-1], list(unused)[-2]
        keep([Step(name, (before, last)) for name, o in OPERATIONS.items() if o.arity == 2])
    return ScalarCase(ScalarExpression(len(numbers), tuple(steps)), tuple(numbers))


def _defined(step: Step, values: Sequence[float], rational: bool) -> float | None:
    """The value of the step, if it is a number of moderate size there; max and min always are."""
    if rational and not is_rational(step):
        return None
    try:
        y = float(applied(step.name, *given(step, [Value(x) for x in values])).data)
    except (EngineError, OverflowError):
        return None
    return y if abs(y) <= LARGEST else None
