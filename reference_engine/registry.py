"""The registry: each primitive is declared once, and everything else looks it up in `PRIMITIVES`.

A declaration holds the NumPy forward, shape inference, the vector-Jacobian product written in primitives, how strong
zeros pass through it, how it rounds, its PyTorch spelling, how to draw inputs for it, and its source.
"""

from __future__ import annotations

import difflib
import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from .errors import EngineError, ShapeError, UnknownPrimitive
from .program import Variable

Array = np.ndarray[Any, Any]
Aval = tuple[tuple[int, ...], np.dtype[Any]]
FLOAT, COMPLEX, BOOL, INT = (np.dtype(t) for t in (np.float64, np.complex128, np.bool_, np.int64))


class Marker(enum.Enum):
    """Why an argument has no derivative rule. An absent entry is an error at import."""

    CONSTANT = "the output is piecewise constant in this argument, or the argument is not differentiable data"
    NOT_WRITTEN = "the derivative exists and its rule has not been written"
    DOES_NOT_EXIST = "there is no derivative with respect to this argument"


CONSTANT, NOT_WRITTEN, DOES_NOT_EXIST = Marker.CONSTANT, Marker.NOT_WRITTEN, Marker.DOES_NOT_EXIST

Rule = Callable[..., Any]
TANGENT = "tangent"  # asks for the rules that lose digits in forward mode
ELEMENTWISE, STRUCTURAL, GENERAL = "elementwise", "structural", "general"


@dataclass(frozen=True)
class Accumulation:
    """How an operation sums: `terms(*xs, **params)` is k, the number of terms of one output; `squares(*xs, **params)`
    is the sum of the squares of those terms; `chain` is how many terms the algorithm adds one after the other.
    `beyond(u, *xs, **params)`, where given, is the part of the error that is not linear in the unit roundoff u: what is
    left at data where all linear parts vanish. `length(*xs, **params)`, where given, is √squares without squaring, for
    terms whose squares leave the range of float64. `given`: the terms are entries of an argument as they are, so that
    the first of a chain needs no rounding. `stages(y, *xs, **params)`, where it is given, are the sums that a kernel
    rounds where it keeps them in the precision of its result: between those it sums in a longer one."""

    terms: Callable[..., int]
    squares: Callable[..., Array]
    chain: int = 512
    beyond: Callable[..., Array] | None = None
    length: Callable[..., Array] | None = None
    given: bool = False
    stages: Callable[..., Iterator[Array]] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Primitive:
    """One declaration. `rules` has one entry per argument, or is one callable `rule(i, g, y, *xs, **params)` when the
    number of arguments varies.

    kind: ELEMENTWISE rules are partial derivatives ∂y/∂x (a number or traced value); STRUCTURAL rules are transposes
    of a linear map with coefficients ≥ 0 (strong zeros pass through the same map); GENERAL rules are whole
    vector-Jacobian products.
    selects: per argument, a rule giving the Boolean of entries whose cotangent is *not* a strong zero (None: all).
    drops: (structural) some entries of the input may not reach the output; their cotangent is a strong zero.
    lossy: other correct formulas for the rules that lose digits (for example from a saved output), used only to tell
    lost accuracy from a wrong formula. lossy_tangent: the same where forward mode has a formula of its own.
    ulps: rounding error of one result in units of 0.4 unit roundoffs; 0 for data movement.
    torch: format string of the PyTorch spelling: {0}, {1}, ... arguments ({args}: all), {name} parameters; or a
    callable (names, params) -> str.
    view: the result may share memory with the first argument. ufunc: forward takes `out`.
    sites: the result is a choice among legitimate ones. draw: callable (draw, pool) -> (arguments, params) or None;
    see harness.strategies.
    """

    name: str
    forward: Callable[..., Any]
    infer: Callable[..., Any]
    rules: tuple[Rule | Marker | float, ...] | Rule
    kind: str
    source: str
    torch: str | Callable[..., str] | None = None
    selects: tuple[Rule | None, ...] | Rule | None = None
    lossy: tuple[Rule | Marker | float, ...] | None = None
    lossy_tangent: tuple[Rule | Marker | float, ...] | None = None
    ulps: float = 1.0
    accumulates: Accumulation | None = None
    integers: frozenset[int] = frozenset()
    drops: bool = False
    view: bool = False
    ufunc: bool = False
    draw: Any = None
    domain: tuple[str, ...] = ()
    sites: bool = False

    def rule(self, i: int, lossy: bool | str = False) -> Rule | Marker | float:
        """The rule of argument i. lossy: one that loses digits if there is one, that of forward mode for TANGENT."""
        rules = self._losing(lossy) or self.rules
        if callable(rules):
            return lambda *args, **params: rules(i, *args, **params)
        return rules[i]

    def _losing(self, lossy: bool | str) -> tuple[Rule | Marker | float, ...] | None:
        return (lossy == TANGENT and self.lossy_tangent) or (self.lossy if lossy else None)

    def select(self, i: int, lossy: bool | str = False) -> Rule | None:
        """The rule for what is not a strong zero. Lossy rules select nothing: they may round where they should not."""
        if self.selects is None or self._losing(lossy) is not None:
            return None
        if callable(self.selects):
            selects = self.selects
            return lambda *args, **params: selects(i, *args, **params)
        return self.selects[i]


class Registry(Mapping[str, Primitive]):
    """Read-only to everybody but `declare`; refuses duplicates and incomplete declarations."""

    def __init__(self) -> None:
        self._table: dict[str, Primitive] = {}
        self.view: Mapping[str, Primitive] = MappingProxyType(self._table)

    def declare(self, primitive: Primitive) -> Primitive:
        if primitive.name in self._table:
            raise EngineError(
                f"primitive {primitive.name!r}: declared twice; one declaration is accepted. Rename one of them."
            )
        if not primitive.source:
            raise EngineError(
                f"primitive {primitive.name!r}: source is empty; accepted is a textbook, paper or identity. Name one."
            )
        for i, rule in enumerate(() if callable(primitive.rules) else primitive.rules):
            if not (callable(rule) or isinstance(rule, (Marker, int, float))):
                raise EngineError(
                    f"primitive {primitive.name!r}: rule {i} is {rule!r}; accepted are a callable, a number, "
                    f"CONSTANT, NOT_WRITTEN, DOES_NOT_EXIST. Declare one."
                )
        self._table[primitive.name] = primitive
        return primitive

    def __getitem__(self, name: str) -> Primitive:
        try:
            return self._table[name]
        except KeyError:
            near = difflib.get_close_matches(name, self._table, 3)
            hint = f"Did you mean {', '.join(near)}?" if near else "List them with sorted(PRIMITIVES)."
            raise UnknownPrimitive(
                f"primitive {name!r}: not in the registry, which holds {len(self._table)}. {hint}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


PRIMITIVES = Registry()


def broadcast_shapes(operation: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """NumPy's broadcasting rule, with our own sentence when it does not hold."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        found = ", ".join(f"argument {i} has shape {s}" for i, s in enumerate(shapes))
        raise ShapeError(
            f"{operation}: {found}; accepted are shapes that broadcast (aligned from the right, equal or 1). "
            "Reshape one of them, or check which axis is the batch."
        ) from None


def elementwise_aval(name: str, boolean: bool = False) -> Callable[..., Aval]:
    def infer(*xs: Variable, **params: Any) -> Aval:
        shape = xs[0].shape if len(xs) == 1 else broadcast_shapes(name, *[x.shape for x in xs])
        dtype = BOOL if boolean else (COMPLEX if any(x.dtype == COMPLEX for x in xs) else FLOAT)
        return shape, dtype

    return infer


def same_dtype(x: Variable) -> np.dtype[Any]:
    """Result dtype of arithmetic that keeps its operand: Boolean and integer data count as float64."""
    return COMPLEX if x.dtype == COMPLEX else FLOAT


def markers(rules: Sequence[Any]) -> list[Marker]:
    return [rule for rule in rules if isinstance(rule, Marker)]
