"""A scalar expression from a Python function: run once on stand-ins that write down what is done with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

from ..errors import UsageError
from .scalar_expressions import OPERATIONS, ScalarExpression, Step


class _Number:
    """Stands for one node; every operation on it adds a step. Names of operations are those of `Value`."""

    __array_ufunc__ = None

    def __init__(self, steps: list[tuple[str, tuple[Any, ...]]], place: Any) -> None:
        self.steps, self.place = steps, place

    def _apply(self, name: str, *operands: Any) -> _Number:
        places = []
        for x in operands:
            if isinstance(x, _Number):
                places.append(x.place)
            elif isinstance(x, int | float) and math.isfinite(x):
                places.append(float(x))
            else:
                raise UsageError(
                    f"referee: the function meets {x!r} in {name}; accepted are its arguments and finite numbers. "
                    "Write it with these alone."
                )
        self.steps.append((name, tuple(places)))
        return _Number(self.steps, ("step", len(self.steps) - 1))

    def __getattr__(self, name: str) -> Callable[..., _Number]:
        name = {"max": "maximum", "min": "minimum"}.get(name, name)
        if name not in OPERATIONS:
            raise AttributeError(f"referee: {name!r} is no operation; accepted are {', '.join(OPERATIONS)}")
        return lambda *others: self._apply(name, self, *others)

    def __add__(self, other: Any) -> _Number:
        return self._apply("add", self, other)

    def __radd__(self, other: Any) -> _Number:
        return self._apply("add", other, self)

    def __sub__(self, other: Any) -> _Number:
        return self._apply("subtract", self, other)

    def __rsub__(self, other: Any) -> _Number:
        return self._apply("subtract", other, self)

    def __mul__(self, other: Any) -> _Number:
        return self._apply("multiply", self, other)

    def __rmul__(self, other: Any) -> _Number:
        return self._apply("multiply", other, self)

    def __truediv__(self, other: Any) -> _Number:
        return self._apply("divide", self, other)

    def __rtruediv__(self, other: Any) -> _Number:
        return self._apply("divide", other, self)

    def __pow__(self, other: Any) -> _Number:
        return self._apply("pow", self, other)

    def __rpow__(self, other: Any) -> _Number:
        return self._apply("pow", other, self)

    def __neg__(self) -> _Number:
        return self._apply("negative", self)

    def __pos__(self) -> _Number:
        return self

    def __abs__(self) -> _Number:
        return self._apply("abs", self)

    def _branch(self, *_: Any) -> NoReturn:
        raise UsageError(
            "referee: the function compares its arguments; accepted are functions without branches. Use max, min, abs "
            "or relu, or give the branch that is taken."
        )

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __bool__ = __float__ = _branch
    __hash__ = object.__hash__


def written_expression(fn: Callable[..., Any], inputs: int) -> ScalarExpression:
    """The expression that `fn` computes of `inputs` numbers (1 to 3), with the operations and methods of `Value`.

    Raises UsageError where fn is no function of so many numbers, branches on them, or does not depend on them.
    """
    if not callable(fn):
        raise UsageError(
            f"referee: expression is a {type(fn).__name__}; accepted is a ScalarExpression, or a function of numbers "
            "such as lambda x: x.sin() * x. Pass one."
        )
    steps: list[tuple[str, tuple[Any, ...]]] = []
    try:
        result = fn(*[_Number(steps, ("input", i)) for i in range(inputs)])
    except (TypeError, AttributeError) as error:
        raise UsageError(
            f"referee: the function stops with {type(error).__name__}: {error}; accepted are functions of {inputs} "
            "numbers, one for each input, with the operations and methods of Value. Correct it."
        ) from error
    if not isinstance(result, _Number):
        raise UsageError(
            f"referee: the function returned {result!r}; accepted is a number that depends on its arguments. Return "
            "one."
        )
    if result.place[0] == "input":
        result = result * 1.0
    last = result.place[1]

    def numbered(operand: Any) -> Any:
        kind, number = operand if isinstance(operand, tuple) else ("constant", operand)
        return number if kind in ("constant", "input") else inputs + number

    return ScalarExpression(
        inputs, tuple(Step(name, tuple(numbered(o) for o in operands)) for name, operands in steps[: last + 1])
    )
