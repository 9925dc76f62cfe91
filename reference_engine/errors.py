"""Every error the engine raises, so that callers catch one family and read one kind of sentence.

A message has four parts, in this order: the operation, what was found (names = values), what is accepted, the next
step. Each class also inherits from the built-in that a NumPy user would expect.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class EngineError(Exception):
    """Any misuse of the reference engine."""


class ShapeError(EngineError, ValueError):
    """Shapes that do not fit an operation."""


class DtypeError(EngineError, TypeError):
    """A value of a type the operation does not take."""


class ParameterError(EngineError, ValueError):
    """A static parameter (axis, stride, ...) outside what the operation accepts."""


def several(operation: str, name: str, given: Any) -> list[Any]:
    """`given` as a list. Raises ParameterError where it is one thing and not several."""
    if not isinstance(given, Iterable) or isinstance(given, str):
        raise ParameterError(f"{operation}: {name}={given!r}; accepted is a sequence of them. Put it into a list.")
    return list(given)


class DerivativeError(EngineError, ArithmeticError):
    """A derivative that does not exist, for example with respect to an integer index."""


class UnknownPrimitive(EngineError, KeyError):
    """A primitive name that the registry does not hold."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ProgramError(EngineError, ValueError):
    """A Program that is not well formed, for example one read from a damaged JSON file."""
